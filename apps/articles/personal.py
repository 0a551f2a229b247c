"""What a user has written."""

from apps.articles.models import Article
from apps.articles.services import articles_of_user_erase
from apps.practices.privacy.personal import PersonalData

PersonalData(
    name="articles",
    model=Article,
    user="author",
    fields=("id", "slug", "title", "body", "summary", "tags", "published_at", "created_at", "updated_at", "version"),
    erase=articles_of_user_erase,
)

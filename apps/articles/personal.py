"""The articles of a user, for the export of personal data and the deletion of accounts."""

from apps.articles.models import Article
from apps.articles.services import user_articles_erase
from apps.practices.privacy.personal import PersonalData

PersonalData(
    name="articles",
    model=Article,
    user="author",
    fields=("id", "slug", "title", "body", "summary", "tags", "published_at", "created_at", "updated_at", "version"),
    erase=user_articles_erase,
)

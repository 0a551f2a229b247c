"""What a user has noted."""

from apps.practices.database.personal import PersonalData
from tests.sample.models import Note, Remark

PersonalData(
    name="sample.notes",
    model=Note,
    user="owner",
    fields=("id", "title", "body", "published", "created_at", "updated_at", "version"),
)
PersonalData(
    name="sample.remarks",
    model=Remark,
    user="owner",
    fields=("id", "note", "text", "created_at"),
)

"""Personal data: notes and remarks."""

from apps.practices.privacy.personal import PersonalData
from tests.sample.models import Note, Remark
from tests.sample.services import notes_erase

PersonalData(
    name="sample.notes",
    model=Note,
    user="owner",
    fields=("id", "title", "body", "published", "created_at", "updated_at", "version"),
    erase=notes_erase,
)
PersonalData(
    name="sample.remarks",
    model=Remark,
    user="owner",
    fields=("id", "note", "text", "created_at"),
)

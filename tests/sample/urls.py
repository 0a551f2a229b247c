"""The routes of the service and of the sample."""

from django.urls import path

from project.urls import handler400, handler403, handler404, handler500
from project.urls import urlpatterns as _urlpatterns
from tests.sample.keys import KeyList
from tests.sample.remarks import NoteRemarks, RemarkDetail, RemarkList
from tests.sample.views import (
    NoteBroken,
    NoteBusy,
    NoteCensuses,
    NoteCounts,
    NoteDetail,
    NoteEffects,
    NoteList,
    NoteSlow,
)

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

urlpatterns = [
    path("api/v1/sample/notes", NoteList.as_view()),
    path("api/v1/sample/notes/slow", NoteSlow.as_view()),
    path("api/v1/sample/notes/busy", NoteBusy.as_view()),
    path("api/v1/sample/notes/broken", NoteBroken.as_view()),
    path("api/v1/sample/notes/counts", NoteCounts.as_view()),
    path("api/v1/sample/notes/censuses", NoteCensuses.as_view()),
    path("api/v1/sample/notes/effects", NoteEffects.as_view()),
    path("api/v1/sample/notes/<uuid:note_id>", NoteDetail.as_view()),
    path("api/v1/sample/notes/<uuid:note_id>/remarks", NoteRemarks.as_view()),
    path("api/v1/sample/keys", KeyList.as_view()),
    path("api/v1/sample/remarks", RemarkList.as_view()),
    path("api/v1/sample/remarks/<uuid:remark_id>", RemarkDetail.as_view()),
    *_urlpatterns,
]

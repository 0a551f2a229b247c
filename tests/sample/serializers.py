"""Notes and remarks in requests and responses."""

from rest_framework import serializers

from apps.practices.validation.fields import PlainTextField, ReferenceField, RichTextField
from apps.practices.validation.serializers import StrictSerializer
from tests.sample.models import BODY_LENGTH, TITLE_LENGTH, Note, Remark
from tests.sample.selectors import note_readable


class SampleNoteSerializer(serializers.ModelSerializer[Note]):
    """A note as the API shows it."""

    owner = serializers.UUIDField(source="owner_id")

    class Meta:
        model = Note
        fields = ("id", "title", "body", "owner", "published", "version", "created_at", "updated_at")


class SampleNoteWriteSerializer(StrictSerializer):
    """The fields of a note that a client writes."""

    title = PlainTextField(max_length=TITLE_LENGTH)
    body = RichTextField(max_length=BODY_LENGTH, allow_blank=True, required=False, default="")
    published = serializers.BooleanField(required=False, default=True)


class SampleRemarkSerializer(serializers.ModelSerializer[Remark]):
    """A remark as the API shows it."""

    note = serializers.UUIDField(source="note_id")
    owner = serializers.UUIDField(source="owner_id")

    class Meta:
        model = Remark
        fields = ("id", "note", "text", "owner", "created_at")


class SampleRemarkWriteSerializer(StrictSerializer):
    """The fields of a remark that a client writes. The note must be one that the client may read."""

    note = ReferenceField(Note, readable=note_readable)
    text = PlainTextField(max_length=TITLE_LENGTH)

"""The upload at the door: its form, its size, what it says it is and what it is, before anything is stored."""

import codecs
import csv
from typing import BinaryIO, cast

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from rest_framework import serializers

from apps.jobs.imports.formats import IMPORT_FORMATS, RECORD_BYTES, Columns, HeaderRefused, csv_header
from apps.jobs.imports.outcomes import OnConflict
from apps.practices.errors import BodyTooLarge, FieldError, ValidationProblem
from apps.practices.validation.bounds import Bounds
from apps.practices.validation.files import HEAD_BYTES, text_file_fault
from apps.practices.validation.serializers import StrictSerializer

IMPORT_BOUNDS = Bounds(body_bytes=lambda: settings.JOBS_IMPORT_MAX_BYTES + 64 * 1024, form_fields=10, files=1)

# What senders call such a file. A browser asks the desktop, which on Windows takes any CSV for a spreadsheet's.
_VAGUE = frozenset({"", "application/octet-stream", "text/plain"})
_DECLARED = {
    "csv": _VAGUE | {"text/csv", "application/csv", "text/comma-separated-values", "application/vnd.ms-excel"},
    "ndjson": _VAGUE | {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/json"},
}


class ImportParametersSerializer(StrictSerializer):
    """How to read the file, and what to do with rows that exist. Also the parameters of the job."""

    format = serializers.ChoiceField(choices=list(IMPORT_FORMATS), default="csv")
    on_conflict = serializers.ChoiceField(
        choices=[choice.value for choice in OnConflict],
        default=OnConflict.SKIP.value,
        help_text="A row whose key exists: skip it, update what is there, or reject the row.",
    )


class ImportForm(ImportParametersSerializer):
    """The multipart form of an import."""

    file = serializers.FileField(help_text="UTF-8; CSV with a header, or one JSON object a line.")


def upload_checked(*, file: UploadedFile, format: str, columns: Columns) -> UploadedFile:
    """Give the file back if it is worth a job.

    Raises ``BodyTooLarge`` (413) beyond JOBS_IMPORT_MAX_BYTES, and ``ValidationProblem`` (400) at ``/file`` for a part whose
    Content-Type is another format's (``content_type``), for a file that is no text or does not begin as its format does
    (``format``), and for a CSV file whose header is not that of the import (``header``). NDJSON has no header: each line
    speaks for itself.
    """
    limit = settings.JOBS_IMPORT_MAX_BYTES
    if (file.size or 0) > limit:
        raise BodyTooLarge(f"The file is larger than {limit} bytes.")
    declared = (file.content_type or "").partition(";")[0].strip().lower()
    if declared not in _DECLARED[format]:
        raise _refused("content_type", f"The file is sent as {declared[:100]}, to be read as {format}.")
    stream = cast(BinaryIO, file.file)
    _require_format(stream, format)
    if format == "csv":
        try:
            csv_header(_first_record(stream), columns)
        except HeaderRefused as error:
            raise _refused("header", f"The first line is not the header of this import: {error}") from error
    return file


def _require_format(stream: BinaryIO, format: str) -> None:
    """Refuse what is no text, or no JSON objects where those are expected; leave the stream at its start."""
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    kind = text_file_fault(head)
    if kind:
        raise _refused("format", f"The file is not UTF-8 text: it is {kind}.")
    if format == "ndjson" and not head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        raise _refused("format", "The file does not begin with a JSON object.")


def _refused(code: str, detail: str) -> ValidationProblem:
    return ValidationProblem(errors=[FieldError("/file", code, detail)])


def _first_record(stream: BinaryIO) -> list[str]:
    """Read the first line as CSV, and leave the stream at its start."""
    stream.seek(0)
    line = stream.readline(RECORD_BYTES)
    stream.seek(0)
    try:
        # A file with bare carriage returns is one line to readline.
        return next(csv.reader(line.decode("utf-8-sig").splitlines(), strict=True), [])
    except UnicodeDecodeError as error:
        raise HeaderRefused("the line is not UTF-8.") from error
    except csv.Error as error:
        raise HeaderRefused(f"the line is not CSV: {error}.") from error

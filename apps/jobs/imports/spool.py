"""The upload at the door: its form, its size, what it says it is and what it is, before anything is stored."""

import codecs
from typing import BinaryIO, cast

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from drf_spectacular.utils import OpenApiRequest
from rest_framework import serializers

from apps.jobs.imports.formats import IMPORT_FORMATS, Columns, HeaderRefused, csv_check_header
from apps.jobs.imports.outcomes import OnConflict
from apps.practices.errors import BodyTooLarge, FieldError, ValidationProblem
from apps.practices.validation.bounds import Bounds
from apps.practices.validation.files import HEAD_BYTES, text_file_fault, utf8_fault
from apps.practices.validation.serializers import StrictSerializer

IMPORT_BOUNDS = Bounds(body_bytes=lambda: settings.JOBS_IMPORT_MAX_BYTES + 64 * 1024, form_fields=10, files=1)

# What senders call text that is CSV or NDJSON, besides text/…: the file's bytes decide which it is. Neither NDJSON nor JSON Lines
# has a registered type; a browser asks the desktop, which on Windows with Excel takes any CSV for a spreadsheet's.
_DECLARED = frozenset(
    {
        "",
        "application/octet-stream",
        *(f"application/{name}" for name in ("csv", "x-csv", "vnd.ms-excel", "vnd.msexcel", "x-msexcel", "excel")),
        *(f"application/{name}" for name in ("json", "ndjson", "x-ndjson", "x-json-stream", "stream+json")),
        *(
            f"application/{name}"
            for name in ("jsonl", "x-jsonl", "jsonlines", "x-jsonlines", "json-lines", "x-json-lines")
        ),
    }
)
_SAVE_AS = (
    'In Excel, save it as "CSV UTF-8 (Comma delimited)"; elsewhere, choose the encoding UTF-8. Then send it again.'
)


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


# For `extend_schema(request=…)`: the document of the API says what the part is to be sent as.
IMPORT_REQUEST = {
    "multipart/form-data": OpenApiRequest(
        ImportForm, encoding={"file": {"contentType": "text/csv, application/x-ndjson"}}
    )
}


def upload_checked(*, file: UploadedFile, format: str, columns: Columns) -> UploadedFile:
    """Return the file if it is worth a job.

    Raises ``BodyTooLarge`` (413) beyond JOBS_IMPORT_MAX_BYTES, and ``ValidationProblem`` (400) at ``/file`` for a part whose
    Content-Type names something else than text (``content_type``), for a file that is no text or does not begin as its format
    does (``format``), that is not UTF-8 throughout (``encoding``), and for a CSV file whose header is not that of the import
    (``header``). NDJSON has no header: each line speaks for itself.
    """
    limit = settings.JOBS_IMPORT_MAX_BYTES
    if (file.size or 0) > limit:
        raise BodyTooLarge(f"The file is larger than {limit} bytes.")
    declared = (file.content_type or "").partition(";")[0].strip().lower()
    if declared not in _DECLARED and not declared.startswith("text/"):
        raise _refused("content_type", f"The file is sent as {declared[:100]}. Send {format} as {_EXAMPLE[format]}.")
    stream = cast(BinaryIO, file.file)
    for check in (_require_text, _require_utf8, _require_ndjson if format == "ndjson" else _require_csv):
        stream.seek(0)
        check(stream, columns)
    stream.seek(0)
    return file


_EXAMPLE = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


def _require_text(stream: BinaryIO, columns: Columns) -> None:
    kind = text_file_fault(stream.read(HEAD_BYTES))
    if kind:
        raise _refused("format", f"The file is not UTF-8 text: it is {kind}.{f' {_SAVE_AS}' if 'UTF-' in kind else ''}")


def _require_utf8(stream: BinaryIO, columns: Columns) -> None:
    fault = utf8_fault(stream)
    if fault:
        detail = (
            f"The file is not UTF-8: line {fault.line}, byte {fault.column} of it, is 0x{fault.byte:02X}. {_SAVE_AS}"
        )
        raise _refused("encoding", detail)


def _require_ndjson(stream: BinaryIO, columns: Columns) -> None:
    if not _begins_json(stream):
        raise _refused("format", "The file does not begin with a JSON object. Send CSV with format=csv.")


def _require_csv(stream: BinaryIO, columns: Columns) -> None:
    try:
        csv_check_header(stream, columns)
    except HeaderRefused as error:
        stream.seek(0)
        hint = " Send NDJSON with format=ndjson." if _begins_json(stream) else ""
        raise _refused("header", f"The first line is not the header of this import: {error}{hint}") from error


def _begins_json(stream: BinaryIO) -> bool:
    return stream.read(HEAD_BYTES).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")


def _refused(code: str, detail: str) -> ValidationProblem:
    return ValidationProblem(errors=[FieldError("/file", code, detail)])

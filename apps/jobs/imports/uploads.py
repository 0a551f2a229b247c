"""The upload of an import: its form, and the checks that run before a job exists."""

import codecs
from typing import BinaryIO, cast

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from drf_spectacular.utils import OpenApiRequest
from rest_framework import serializers

from apps.jobs.imports.formats import IMPORT_FORMATS, HeaderError, csv_check_header
from apps.jobs.imports.rows import Columns, OnConflict
from apps.practices.errors import BodyTooLarge, FieldError, ValidationProblem
from apps.practices.validation.bounds import Bounds
from apps.practices.validation.files import HEAD_BYTES, text_file_fault, utf8_fault
from apps.practices.validation.serializers import StrictSerializer

IMPORT_BOUNDS = Bounds(body_bytes=lambda: settings.JOBS_IMPORT_MAX_BYTES + 64 * 1024, form_fields=10, files=1)

_SAVE_AS = (
    'In Excel, save it as "CSV UTF-8 (Comma delimited)"; elsewhere, choose the encoding UTF-8. Then send it again.'
)


class ImportParametersSerializer(StrictSerializer):
    """The format of the file, and what to do with rows that exist. Also the parameters of the job."""

    format = serializers.ChoiceField(choices=list(IMPORT_FORMATS), default="csv")
    on_conflict = serializers.ChoiceField(
        choices=[choice.value for choice in OnConflict],
        default=OnConflict.SKIP.value,
        help_text="What to do with a row whose key exists: skip the row, update the record, or reject the row as an error.",
    )


class ImportForm(ImportParametersSerializer):
    """The multipart form of an import."""

    file = serializers.FileField(help_text="UTF-8: CSV with a header, or one JSON object per line.")


# For `extend_schema(request=…)`: OpenAPI names the types that the file can have.
IMPORT_REQUEST = {
    "multipart/form-data": OpenApiRequest(
        ImportForm, encoding={"file": {"contentType": "text/csv, application/x-ndjson"}}
    )
}


def upload_validate(*, file: UploadedFile, format: str, columns: Columns) -> UploadedFile:
    """Return the file if its bytes, whatever its name and Content-Type, are right.

    Raise ``BodyTooLarge`` (413) beyond JOBS_IMPORT_MAX_BYTES, and ``ValidationProblem`` (400) at ``/file``: not text or not of
    its format (``format``), not UTF-8 throughout (``encoding``), or without the import's header (``header``, CSV only).
    """
    limit = settings.JOBS_IMPORT_MAX_BYTES
    if (file.size or 0) > limit:
        raise BodyTooLarge(f"The file is larger than {limit} bytes. Split it into several files.")
    stream = cast(BinaryIO, file.file)
    for check in (_require_text, _require_utf8, _require_ndjson if format == "ndjson" else _require_csv):
        stream.seek(0)
        check(stream, columns)
    stream.seek(0)
    return file


def _require_text(stream: BinaryIO, columns: Columns) -> None:
    kind = text_file_fault(stream.read(HEAD_BYTES))
    if kind:
        hint = f" {_SAVE_AS}" if "UTF-" in kind else ""
        raise _invalid("format", f"The file is not UTF-8 text: it is {kind}.{hint}")


def _require_utf8(stream: BinaryIO, columns: Columns) -> None:
    fault = utf8_fault(stream)
    if fault:
        line, byte = fault
        raise _invalid("encoding", f"The file is not UTF-8: line {line} has the byte 0x{byte:02X}. {_SAVE_AS}")


def _require_ndjson(stream: BinaryIO, columns: Columns) -> None:
    if not _begins_json(stream):
        raise _invalid("format", "The file does not begin with a JSON object. To send CSV, set format=csv.")


def _require_csv(stream: BinaryIO, columns: Columns) -> None:
    try:
        csv_check_header(stream, columns)
    except HeaderError as error:
        stream.seek(0)
        hint = " To send NDJSON, set format=ndjson." if _begins_json(stream) else ""
        raise _invalid("header", f"The first line is not the header of this import: {error}{hint}") from error


def _begins_json(stream: BinaryIO) -> bool:
    return stream.read(HEAD_BYTES).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")


def _invalid(code: str, detail: str) -> ValidationProblem:
    return ValidationProblem(errors=[FieldError("/file", code, detail)])

"""The upload at the door: its form, its size, and a look at its first line before anything is stored."""

import csv
from typing import BinaryIO, cast

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from rest_framework import serializers

from apps.jobs.imports.formats import IMPORT_FORMATS, RECORD_BYTES, Columns, HeaderRefused, csv_header
from apps.jobs.imports.outcomes import OnConflict
from apps.practices.errors import BodyTooLarge, FieldError, ValidationProblem
from apps.practices.validation.serializers import StrictSerializer


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

    Raises ``BodyTooLarge`` (413) beyond JOBS_IMPORT_MAX_BYTES, ``ValidationProblem`` (400) for a CSV file whose header is not
    that of the import. NDJSON has no header: each line speaks for itself.
    """
    limit = settings.JOBS_IMPORT_MAX_BYTES
    if (file.size or 0) > limit:
        raise BodyTooLarge(f"The file is larger than {limit} bytes.")
    if format == "csv":
        try:
            csv_header(_first_record(cast(BinaryIO, file.file)), columns)
        except HeaderRefused as error:
            detail = f"The first line is not the header of this import: {error}"
            raise ValidationProblem(errors=[FieldError("/file", "header", detail)]) from error
    return file


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

"""Imports: rows are read within bounds, validated by a serializer, and stored in batches that can be resumed.

An app gives a serializer for one row and an upsert for a batch, such as ``ModelUpsert``.
"""

from apps.jobs.imports.formats import ImportMalformed
from apps.jobs.imports.model_upsert import ModelUpsert
from apps.jobs.imports.rows import Columns, ImportRow, ImportSpec, OnConflict, Outcome, Rejection
from apps.jobs.imports.run import import_run
from apps.jobs.imports.uploads import (
    IMPORT_BOUNDS,
    IMPORT_REQUEST,
    ImportForm,
    ImportParametersSerializer,
    upload_validate,
)

__all__ = [
    "IMPORT_BOUNDS",
    "IMPORT_REQUEST",
    "Columns",
    "ImportForm",
    "ImportMalformed",
    "ImportParametersSerializer",
    "ImportRow",
    "ImportSpec",
    "ModelUpsert",
    "OnConflict",
    "Outcome",
    "Rejection",
    "import_run",
    "upload_validate",
]

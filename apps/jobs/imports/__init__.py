"""What any import needs: rows read within bounds, one serializer for all of them, COPY staging, batches that can be resumed.

An app gives a serializer and one upsert: its own, or `ModelRows`.
"""

from apps.jobs.imports.formats import Columns, ImportMalformed
from apps.jobs.imports.outcomes import Import, OnConflict, Outcome, conflict
from apps.jobs.imports.rows import ImportRow, Rejection
from apps.jobs.imports.run import import_run
from apps.jobs.imports.spool import (
    IMPORT_BOUNDS,
    IMPORT_REQUEST,
    ImportForm,
    ImportParametersSerializer,
    upload_checked,
)
from apps.jobs.imports.staging import staged
from apps.jobs.imports.stored import ModelRows

__all__ = [
    "IMPORT_BOUNDS",
    "IMPORT_REQUEST",
    "Columns",
    "Import",
    "ImportForm",
    "ImportMalformed",
    "ImportParametersSerializer",
    "ImportRow",
    "ModelRows",
    "OnConflict",
    "Outcome",
    "Rejection",
    "conflict",
    "import_run",
    "staged",
    "upload_checked",
]

"""Exports: every row of a queryset as CSV or NDJSON, in batches that can be resumed, in constant memory.

An app gives the rows that the owner may see, and the columns of the file.
"""

from apps.jobs.exports.formats import EXPORT_FORMATS
from apps.jobs.exports.run import ExportParametersSerializer, ExportSpec, export_run

__all__ = ["EXPORT_FORMATS", "ExportParametersSerializer", "ExportSpec", "export_run"]

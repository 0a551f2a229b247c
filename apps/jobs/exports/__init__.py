"""What any export needs: every row of a queryset as CSV or NDJSON, in batches that can be resumed, in flat memory.

An app gives the rows that the owner may see, and the columns of the file.
"""

from apps.jobs.exports.formats import EXPORT_FORMATS
from apps.jobs.exports.parameters import ExportParametersSerializer
from apps.jobs.exports.run import Export, export_run

__all__ = ["EXPORT_FORMATS", "Export", "ExportParametersSerializer", "export_run"]

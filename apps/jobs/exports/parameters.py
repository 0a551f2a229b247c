"""What a client says about the file it wants; an app adds the filters of its list."""

from rest_framework import serializers

from apps.jobs.exports.formats import EXPORT_FORMATS
from apps.practices.validation.serializers import StrictSerializer


class ExportParametersSerializer(StrictSerializer):
    """Which file to write. Also the parameters of the job."""

    format = serializers.ChoiceField(
        choices=list(EXPORT_FORMATS),
        default="csv",
        help_text="csv for spreadsheets: a text that one could take for a formula begins with an apostrophe. ndjson is exact.",
    )

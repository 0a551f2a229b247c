"""The permission to view the operations page, which has no table, and the state of each alert."""

from django.db import models


class OperationsPage(models.Model):
    """A model without a table, to which Django attaches the page's permissions."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [("view_operations", "Can view the operations page")]

    def __str__(self) -> str:
        return "operations page"


class AlertState(models.Model):
    """The state of an alert, for the mails about it. Workers lock the row, so that one of them sends a mail."""

    name = models.CharField(max_length=50, primary_key=True)
    since = models.DateTimeField(null=True, db_comment="Since when its condition holds; null while it does not.")
    mailed_at = models.DateTimeField(null=True, db_comment="When the last mail said that it fires.")
    is_mailed = models.BooleanField(default=False, db_comment="Whether no mail has said yet that it ended.")

    class Meta:
        db_table_comment = "The state of each alert, kept for the mails about it."
        default_permissions = ()

    def __str__(self) -> str:
        return self.name

"""The permission to view the operations page. It has no table."""

from django.db import models


class OperationsPage(models.Model):
    """What Django's permissions are attached to."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [("view_operations", "Can view the operations page")]

    def __str__(self) -> str:
        return "operations page"

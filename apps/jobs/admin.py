"""Jobs in the admin, to look at."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.jobs.models import Job
from apps.jobs.selectors import job_row
from apps.jobs.serializers import progress


@admin.register(Job)
class JobAdmin(admin.ModelAdmin):
    """A list with state and progress. Nothing can be changed here: a row is the ledger's."""

    list_display = ("kind", "owner", "state", "progress", "attempts", "created_at", "finished_at")
    list_filter = ("state", "kind")
    list_select_related = ("owner",)
    ordering = ("-created_at", "-id")
    show_full_result_count = False
    exclude = ("parameters", "result", "checkpoint")

    @admin.display(description="progress")
    def progress(self, job: Job) -> str:
        """The share that is done, or the number when the whole is not known."""
        shown: dict[str, Any] = progress(job_row(job))
        return f"{shown['percent']} %" if shown["percent"] is not None else str(shown["done"])

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return False

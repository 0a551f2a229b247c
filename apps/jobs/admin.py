"""The admin of jobs: read, retry, cancel. Rows are never edited here."""

import json
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html

from apps.jobs.kinds import kind_named, kind_names, kinds
from apps.jobs.models import Job
from apps.jobs.monitoring import owner_by_email
from apps.jobs.serializers import job_problem, progress
from apps.jobs.services.bulk import jobs_cancel, jobs_retry
from apps.jobs.services.files import chunks_size
from apps.practices.observability.redaction import redact_text

CONTENTS = ("parameters_shown", "checkpoint_shown", "result_shown")  # submitted by owners, or produced for them
HEAVY = ("parameters", "checkpoint", "result", "problem", "error")
LOOKUPS = {"state__exact", "kind", "queue"}  # the query parameters of the filters


class KindFilter(admin.SimpleListFilter):
    """A filter by the registered kinds. To read the kinds from the table would scan all of it."""

    title = parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in kind_names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return queryset.filter(**{self.parameter_name: self.value()}) if self.value() else queryset


class QueueFilter(KindFilter):
    """A filter by the queues of the registered kinds."""

    title = parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(queue, queue) for queue in sorted({kind.queue for kind in kinds()})]


def _json_of(column: str) -> Callable[[Any, Job], str | None]:
    return admin.display(lambda _, job: _preformatted(getattr(job, column)), description=column)


@admin.register(Job)
class JobAdmin(admin.ModelAdmin):
    """A list with progress, and actions to retry and cancel.

    Staff with the permission to view jobs see state and errors, with secrets removed. Only superusers see parameters, checkpoints
    and results, because these may be personal.
    """

    list_display = (
        "kind",
        "owner_link",
        "state",
        "progress",
        "attempts_shown",
        "queue",
        "worker",
        "created_at",
        "finished_at",
    )
    list_filter = ("state", KindFilter, QueueFilter)
    list_select_related = ("owner",)
    ordering = ("-created_at", "-id")
    search_fields = ("pk",)  # shows the search box; get_search_results does the search
    search_help_text = "The id of a job, or the full e-mail address of an owner."
    show_full_result_count = False
    actions = ("retry", "cancel")
    fieldsets = (
        (None, {"fields": ("id", "kind", "owner_link", "state", "progress", "progress_message", "attempts_shown")}),
        ("Failure", {"fields": ("problem_shown", "error_shown")}),
        ("Times", {"fields": ("created_at", "run_at", "sent_at", "started_at", "finished_at")}),
        ("Claim", {"fields": ("worker", "runner", "fence", "leased_until", "heartbeat_at", "stop", "quarantined", "isolated")}),
        ("Files", {"fields": ("owner_files",)}),
        ("Origin", {"fields": ("queue", "start_tag", "request_id", "traceparent", "schedule", "scheduled_for")}),
    )  # fmt: skip

    class Media:
        css = {"all": ("jobs/admin.css",)}

    @admin.display(description="owner", ordering="owner__email")
    def owner_link(self, job: Job) -> str | None:
        """Return a link to the owner's account; None for a job of the service."""
        if job.owner is None:
            return None
        users = get_user_model()._meta
        link = reverse(f"admin:{users.app_label}_{users.model_name}_change", args=[job.owner_id])
        return format_html('<a href="{}">{}</a>', link, job.owner)

    @admin.display(description="progress")
    def progress(self, job: Job) -> str:
        """Return a progress bar, or the count if the total is unknown."""
        shown = progress(vars(job))
        percent = shown["percent"]
        if percent is None:
            return str(shown["done"])
        bar = '<progress class="job" max="100" value="{}" aria-label="progress"></progress> {} %'
        return format_html(bar, percent, percent)

    @admin.display(description="attempts", ordering="attempts")
    def attempts_shown(self, job: Job) -> str:
        kind = kind_named(job.kind)
        return f"{job.attempts} of {kind.attempts}" if kind else str(job.attempts)

    @admin.display(description="problem")
    def problem_shown(self, job: Job) -> str | None:
        """Return the problem as the owner reads it."""
        return _preformatted(job_problem(vars(job)))

    @admin.display(description="error")
    def error_shown(self, job: Job) -> str | None:
        """Return the last error, redacted like the log."""
        return format_html('<pre class="job">{}</pre>', redact_text(job.error)) if job.error else None

    @admin.display(description="files of the owner")
    def owner_files(self, job: Job) -> str | None:
        """Return how much of their quota the files of the owner use."""
        if job.owner_id is None:
            return None
        kept, most = chunks_size(owner_id=job.owner_id), settings.JOBS_FILES_PER_USER
        return f"{filesizeformat(kept)} of {filesizeformat(most)}"

    parameters_shown, checkpoint_shown, result_shown = map(_json_of, ("parameters", "checkpoint", "result"))

    def get_fieldsets(self, request: HttpRequest, obj: Job | None = None) -> Any:
        contents = (("Contents", {"fields": CONTENTS}),) if request.user.is_superuser else ()
        return (*self.fieldsets, *contents)

    def get_readonly_fields(self, request: HttpRequest, obj: Job | None = None) -> Any:
        return [name for _, options in self.get_fieldsets(request, obj) for name in options["fields"]]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        match = request.resolver_match
        listed = match is not None and match.url_name == "jobs_job_changelist"
        return super().get_queryset(request).defer(*HEAVY) if listed else super().get_queryset(request)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Allow only the filters. Django would accept any column, which could reveal hidden contents letter by letter."""
        return lookup in LOOKUPS

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Job], search_term: str
    ) -> tuple[QuerySet[Job], bool]:
        if not search_term:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(search_term.strip())), False
        except ValueError:
            owner = owner_by_email(search_term)
            return (queryset.none() if owner is None else queryset.filter(owner_id=owner.pk)), False

    def change_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        nothing_to_save = {"show_save": False, "show_save_and_continue": False}
        return super().change_view(request, *args, **{**options, "extra_context": nothing_to_save})

    def save_model(self, request: HttpRequest, obj: Job, form: Any, change: bool) -> None:
        """Save nothing. Django would write back every column as it was when the form was loaded."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return False

    @admin.action(description="Retry selected discarded jobs", permissions=["change"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        batches = list(jobs_retry(jobs=queryset, by=str(request.user.pk)))
        retried = [job_id for done in batches for job_id in done.changed]
        _log_actions(request, retried, "Retried.")
        self.message_user(request, f"Jobs that will run again: {len(retried)}.", messages.SUCCESS)

    @admin.action(description="Cancel selected unfinished jobs", permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        batches = list(jobs_cancel(jobs=queryset, by=str(request.user.pk)))
        cancelled = [job_id for done in batches for job_id in done.changed]
        asked = [job_id for done in batches for job_id in done.asked]
        _log_actions(request, [*cancelled, *asked], "Cancelled.")
        message = f"Jobs cancelled: {len(cancelled)}; running jobs that will stop at the next checkpoint: {len(asked)}."
        self.message_user(request, message, messages.SUCCESS)


def _log_actions(request: HttpRequest, ids: list[UUID], message: str) -> None:
    """Record the action and the user in the history of each job."""
    LogEntry.objects.log_actions(
        user_id=cast(UUID, request.user.pk),
        queryset=Job.objects.filter(pk__in=ids).only("pk", "kind"),
        action_flag=CHANGE,
        change_message=message,
    )


def _preformatted(value: Any) -> str | None:
    if value is None:
        return None
    return format_html('<pre class="job">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))

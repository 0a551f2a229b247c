"""The runbook in the admin: ``docs/operate.md`` as a page, to which the alerts on the operations page and in mails link."""

import re
from collections.abc import Iterator
from pathlib import Path

from django.contrib import admin
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.operations.alerts.table import ALERTS, RUNBOOK
from apps.operations.dashboard.views import VIEWS

ROOT = Path(__file__).resolve().parents[3]


@require_safe
@never_cache
@permission_required(VIEWS, raise_exception=True)
def runbook(request: HttpRequest) -> HttpResponse:
    """Return the section of every alert."""
    page = {
        **admin.site.each_context(request),
        "title": "What to do when an alert fires",
        "sections": list(_sections()),
    }
    return render(request, "admin/operations/runbook.html", page)


def _sections() -> Iterator[tuple[str, str, list[SafeString]]]:
    """Yield the anchor, the title and the paragraphs of each section."""
    text = (ROOT / RUNBOOK).read_text()
    written = {title: body for title, _, body in (part.partition("\n") for part in text.split("\n## "))}
    for alert in ALERTS:
        paragraphs = written.get(alert.title, "").strip().split("\n\n")
        yield alert.anchor, alert.title, [_html(paragraph) for paragraph in paragraphs]


def _html(paragraph: str) -> SafeString:
    """Return the HTML of a paragraph: bold words and code. Links within the documents become their text."""
    html: str = escape(" ".join(paragraph.split()))
    for markdown, tags in (
        (r"\*\*(.+?)\*\*", r"<b>\1</b>"),
        (r"`(.+?)`", r"<code>\1</code>"),
        (r"\[(.+?)\]\(.+?\)", r"\1"),
    ):
        html = re.sub(markdown, tags, html)
    return mark_safe(html)  # nosec B308 B703 # noqa: S308 - a file of the project, and escaped above

"""The operations page of the admin: who may open it, what it shows, and that it opens with Redis or PostgreSQL away."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client, override_settings

from apps.accounts.models import User
from apps.jobs.models import QueuePause
from apps.operations.dashboard import postgresql
from apps.practices.mechanisms import metrics_flusher, metrics_refusals, metrics_store
from apps.practices.mechanisms.metrics_numbers import field_of
from tests.apps.accounts.factories import PASSWORD, admin_sign_in, user_create
from tests.apps.operations.day import ROUTES, day_write, processes_write
from tests.apps.operations.pages import figures_of, rows_of
from tools.stack import Stack

pytestmark = pytest.mark.django_db
PAGE = "/admin/operations/"
SECTIONS = ["now", "requests", "processes", "cache", "limits", "jobs", "sign-ins", "mails", "database", "edge"]


def signed_in(user: User) -> Client:
    client = Client(headers={"accept": "text/html"})
    admin_sign_in(client, user)
    return client


@pytest.fixture
def root() -> Client:
    return signed_in(user_create(is_staff=True, is_superuser=True))


@pytest.fixture(scope="module", autouse=True)
def patient() -> Iterator[None]:
    """Wait for Redis for longer than the half second of a service: a page without plots would fail by chance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics_store, "TIMEOUT", 20)
        metrics_store.close()
        yield
    metrics_store.close()


@pytest.fixture(scope="module")
def day_prefix(patient: None, stack: Stack) -> Iterator[str]:
    """Write a day of metrics once, where the fixture that empties the caches does not look."""
    prefix = "a-day:metrics"
    with override_settings(OBSERVABILITY_METRICS_PREFIX=prefix):
        now = time.time()
        day_write(now=now)
        processes_write(now=now, alive_until=now + 3600)
        yield prefix
        metrics_flusher.shutdown()
        for key in metrics_store.client().scan_iter(f"{prefix}:*"):
            metrics_store.client().delete(key)


@pytest.fixture
def day(day_prefix: str, settings: Any) -> None:
    """Show the day."""
    settings.OBSERVABILITY_METRICS_PREFIX = day_prefix


def text_of(client: Client, query: str = "") -> str:
    answer = client.get(PAGE + query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_only_the_permission_opens_it(root: Client) -> None:
    allowed = signed_in(user_create(is_staff=True, permissions=("operations.view_operations",)))
    others = ("jobs.view_job", "jobs.pause_queue", "accounts.view_user")
    refused = signed_in(user_create(is_staff=True, permissions=others))
    no_staff = signed_in(user_create(permissions=("operations.view_operations",)))
    assert [client.get(PAGE).status_code for client in (root, allowed, refused, no_staff, Client())] == [
        200,
        200,
        403,
        302,
        302,
    ]
    for client in (no_staff, Client()):
        assert client.post(f"{PAGE}queues/default", {"action": "pause"}).status_code == 302
    assert not QueuePause.objects.exists()
    assert f'href="{PAGE}"' in allowed.get("/admin/").content.decode()
    assert PAGE not in refused.get("/admin/").content.decode()


def test_sections_of_a_day(root: Client, day: None) -> None:
    page = text_of(root, "?range=24h")
    assert re.findall(r'<section id="([\w-]+)"', page) == SECTIONS
    assert page.count("<svg role=") >= 10
    assert "style=" not in page.partition('<div id="sections">')[2], "the policy allows no inline styles"
    assert len(rows_of(page, "By route")) >= len(ROUTES)
    processes = [row for row in rows_of(page, "Processes that are alive") if "-" in row[0]]
    assert [row[0] for row in processes if row[1] == "v42"] == [
        "web web-1/101", "web web-2/102", "worker worker-1/103", "worker worker-2/104",
    ]  # fmt: skip
    assert rows_of(page, "Largest tables")
    assert rows_of(page, "By route")[0][6:8] == ["3.00", "6.00"], "statements and their time in a request"
    assert 'id="statement-durations-words"' in page
    assert [row[0] for row in rows_of(page, "By policy")][:2] == ["anon", "user"]
    assert [row[0] for row in rows_of(page, "Misses that did not build (single flight)")] == ["joined", "stale"]
    assert rows_of(page, "Circuit breakers that are open now") == [["broker", "2"]]
    assert figures_of(page, "mails")["Sent"] > 1000
    assert rows_of(page, "By kind")[0][0] == "accounts.mail"
    assert "v42" in page


def test_range_and_order_are_links_that_keep_each_other(root: Client, day: None) -> None:
    page = text_of(root, "?range=6h&sort=-p95")
    assert '<a href="?range=6h&amp;sort=-p95" aria-current="page">6h</a>' in page
    assert '<a href="?range=24h&amp;sort=-p95">24h</a>' in page
    assert 'href="?range=6h&amp;sort=-errors#requests"' in page
    assert 'href="?range=6h&amp;sort=p95#requests"' in page, "the column that it is sorted by turns round"
    p95 = [float(row[4].replace(",", "")) for row in rows_of(page, "By route")]
    assert p95 == sorted(p95, reverse=True)
    turned = rows_of(text_of(root, "?range=6h&sort=route"), "By route")
    paths = [row[0].partition(" ")[2] for row in turned]
    assert paths == sorted(paths)
    for query in ("?range=7h", "?sort=nothing", "?range=1h&range=x", "?view=x", "?foo=1"):
        text_of(root, query)


def test_who_was_refused_is_shown_to_link_where_users_may_be_seen(root: Client, settings: Any) -> None:
    settings.OBSERVABILITY_METRICS_PREFIX = "refused:metrics"
    viewer = signed_in(user_create(is_staff=True, permissions=("operations.view_operations",)))
    person = str(user_create().pk)
    now = time.time()
    metrics_store.add({field_of("shipshape_throttled_total", {"policy": "anon"}): 900}, {}, at=now)
    metrics_refusals.refusals_add({"anon": {"203.0.113.0": 700}, "user": {person: 3}}, at=now)
    try:
        page, plain = text_of(root), text_of(viewer)
    finally:
        for key in metrics_store.client().scan_iter("refused:metrics:*"):
            metrics_store.client().delete(key)
    expected = [["anon", "203.0.113.0", "700"], ["anon", "(others)", "200"], ["user", person, "3"]]
    assert rows_of(page, "Who was refused") == rows_of(plain, "Who was refused") == expected
    link = f'<a href="/admin/accounts/user/{person}/change/">{person}</a>'
    assert link in page
    assert person in plain
    assert link not in plain
    assert root.get(f"/admin/accounts/user/{person}/change/").status_code == 200


def test_plots_have_their_numbers_in_words_and_tables(root: Client, day: None) -> None:
    page = text_of(root, "?range=1h&view=tables")
    plot = page[page.index('<figure class="plot">') :].partition("</figure>")[0]
    title, words = re.findall(r'aria-labelledby="(rate-title) (rate-words)"', plot)[0]
    assert f'id="{title}"' in plot
    assert re.search(rf'<desc id="{words}">In a second, .* 2xx: latest [\d.]+, highest [\d.]+', plot)
    assert "release v42 at" in plot
    assert plot.count('<th scope="row">') == 60
    assert plot.count("<path class=") > 3
    assert "<table>" not in text_of(root, "?range=1h").partition('<figure class="plot">')[2].partition("</figure>")[0]


def test_fragment_is_the_sections_alone(root: Client, day: None) -> None:
    fragment = text_of(root, "?range=1h&fragment=")
    assert fragment.startswith("<section")
    assert "<html" not in fragment
    assert re.findall(r'<section id="([\w-]+)"', fragment) == SECTIONS


def test_a_day_of_fifty_routes_is_shown_quickly(root: Client, day: None) -> None:
    text_of(root, "?range=24h")
    used = []
    for _ in range(3):
        began = time.process_time()
        text_of(root, "?range=24h&fragment=")
        used.append(time.process_time() - began)
    assert min(used) < 1.5, "0.2 s on a quiet machine"


def test_page_opens_without_redis(root: Client, stack: Stack) -> None:
    root.get(PAGE)
    stack.servers["redis"].kill()
    try:
        page = text_of(root)
    finally:
        stack.restart("redis")
    assert "Redis does not answer." in page
    assert "<svg role=" not in page
    assert [row[0] for row in rows_of(page, "By route") if row[0] == f"GET {PAGE}"]
    assert len(rows_of(page, "Processes that are alive")) == 1
    assert rows_of(page, "Largest tables")


def test_a_failing_statement_is_reported_in_its_place(root: Client, monkeypatch: Any) -> None:
    slow = postgresql.Report(caption="Slow", sql="SELECT pg_sleep(5)", shown={"A": str}, empty="")
    wrong = postgresql.Report(caption="Wrong", sql="SELECT nothing FROM nowhere", shown={"A": str}, empty="")
    write = postgresql.Report(caption="Write", sql="CREATE TABLE written (a int)", shown={"A": str}, empty="")
    monkeypatch.setattr(postgresql, "REPORTS", (postgresql.REPORTS[0], slow, wrong, write, *postgresql.REPORTS[1:]))
    page = text_of(root)
    assert "did not finish this within half a second" in page
    assert "&quot;nowhere&quot; does not exist" in page
    assert "read-only transaction" in page
    assert rows_of(page, "Largest tables")


def test_queues_are_paused_by_their_permission(root: Client) -> None:
    viewer = signed_in(user_create(is_staff=True, permissions=("operations.view_operations", "jobs.change_job")))
    assert "Pause default" not in text_of(viewer)
    assert viewer.post(f"{PAGE}queues/default", {"action": "pause"}).status_code == 403
    assert not QueuePause.objects.exists()
    assert root.get(f"{PAGE}queues/default").status_code == 405
    assert root.post(f"{PAGE}queues/defualt", {"action": "pause"}).status_code == 404

    answer = root.post(f"{PAGE}queues/default", {"action": "pause", "range": "6h", "sort": "-p99"})
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{PAGE}?range=6h&sort=-p99#jobs")
    page = text_of(root)
    assert "The queue default is paused." in page
    assert "Resume default" in page
    assert rows_of(page, "Queues")[0][5].startswith("Paused for")
    assert rows_of(text_of(viewer), "Queues")[0][5].startswith("Paused for")
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == ("default", "The queue was paused.")
    root.post(f"{PAGE}queues/default", {"action": "pause"})
    assert LogEntry.objects.count() == 1, "nothing has changed"
    root.post(f"{PAGE}queues/default", {"action": "resume"})
    assert not QueuePause.objects.exists()
    root.post(f"{PAGE}queues/mail", {"action": "pause"})
    assert "no mail is sent" in text_of(root)


def test_pausing_needs_the_csrf_token(root: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = root.cookies
    assert strict.post(f"{PAGE}queues/default", {"action": "pause"}).status_code == 403
    assert not QueuePause.objects.exists()


def test_sign_ins_and_refused_guesses_are_counted(
    root: Client, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    settings.TOKENS_ATTEMPTS = 2
    before = figures_of(text_of(root), "sign-ins")
    person = user_create()
    with django_capture_on_commit_callbacks(execute=True):
        for password, status in ((PASSWORD, 200), ("wrong", 401), ("wrong", 401), ("wrong", 429)):
            body = {"email": person.email, "password": password}
            answer = Client().post("/api/v1/auth/login", body, content_type="application/json")
            assert answer.status_code == status
    after = figures_of(text_of(root), "sign-ins")
    assert {name: after[name] - before[name] for name in after} == {"Signed in": 1, "Failed": 2, "Refused guesses": 1}

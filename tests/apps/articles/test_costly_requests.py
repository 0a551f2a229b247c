"""Costly requests from many clients at once: the excess is refused, and reads go on.

Of forty searches for a phrase, only as many run at once as allowed; the others get 503 with Retry-After.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import partial
from urllib.parse import quote

import psycopg
import pytest

from tests.clients import problem
from tests.faults.submitters import WIDE, Owner
from tests.fleet import Answer, ask, fleet_running
from tests.noticed import Flood, unharmed
from tests.rounds import Rounds
from tools.fleet import Fleet
from tools.stack import Stack

LIST = "/api/v1/articles"
ROWS = 30_000
THREADS = 8
DEEP = {"title": "deep", "body": "<ul><li>" * 4_999}  # 40 KB
AT_ONCE = THREADS // 2  # searches of one process: settings/components/database.py
# Each row has both words of the phrase, but never next to each other.
FILL = """
    INSERT INTO articles_article (id, slug, title, body, summary, tags, published_at, created_at, updated_at, version)
    SELECT gen_random_uuid(), 'row-' || n, 'Row ' || n, repeat('red sails, a fox at sea. ', 40), '', '{{}}',
           now() - n * interval '1 minute', now(), now(), 1
    FROM generate_series(1, {rows}) AS n
"""


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[Fleet]:
    """Return two instances behind the edge, with many rows."""
    with fleet_running(stack, edge=True, WEB_CONCURRENCY="1", WEB_THREADS=str(THREADS), **WIDE) as fleet:
        with psycopg.connect(fleet.webs[0].environment["DATABASE_URL"], autocommit=True) as database:
            database.execute(FILL.format(rows=ROWS))
            database.execute("VACUUM ANALYZE articles_article")
        yield fleet


class Searching:
    """Search for the phrase with a different query each time, so that no cache answers."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._context = fleet, fleet.ssl_context()
        self._numbers = itertools.count()

    def __call__(self) -> Answer:
        text = quote(f'"red fox" -word{next(self._numbers)}')
        return ask(self._fleet.url, f"{LIST}?search={text}", context=self._context)


def test_forty_phrase_searches_leave_threads_free(fleet: Fleet, rounds: Rounds) -> None:
    search, page, context = Searching(fleet), f"{LIST}?limit=5", fleet.ssl_context()
    assert search().json()["results"] == []
    for flood in unharmed(fleet.url, page, lambda: Flood([search] * 40), rounds, context=context):
        assert set(flood.answers) == {200, 503}, flood.answers
        assert {problem(refusal) for refusal in flood.refusals} == {"too-many-searches"}
        assert all(int(refusal.headers["retry-after"]) >= 1 for refusal in flood.refusals)


def test_deep_html_blocks_no_other_request(fleet: Fleet, rounds: Rounds) -> None:
    context, page, body = fleet.ssl_context(), f"{LIST}?limit=5", json.dumps(DEEP).encode()
    headers = Owner(fleet).headers | {"Content-Type": "application/json"}
    post = partial(ask, fleet.url, LIST, method="POST", body=body, headers=headers, context=context)
    for flood in unharmed(fleet.url, page, lambda: Flood([post] * 20), rounds, context=context):
        assert set(flood.answers) == {400}, flood.answers


def test_allowed_number_of_searches_is_never_refused(fleet: Fleet) -> None:
    with Flood([Searching(fleet)] * AT_ONCE) as flood:
        pass
    assert set(flood.answers) == {200}, flood.answers
    assert flood.answers[200] >= AT_ONCE

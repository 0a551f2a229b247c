"""Clocks for tests on a slow machine: PostgreSQL's clock stops, and windows do not end during a test."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

_HELD = (
    "CREATE SCHEMA held",
    "SELECT set_config('held.at', clock_timestamp()::text, false)",
    "CREATE FUNCTION held.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE"
    " AS $$ SELECT current_setting('held.at')::timestamptz $$",
    "SET search_path = held, pg_catalog, public",
)


@contextmanager
def clock_held() -> Iterator[None]:
    """Stop `clock_timestamp()` for this connection, so that a refusal for a second lasts until the test is done."""
    with connection.cursor() as cursor:
        for statement in _HELD:
            cursor.execute(statement)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET search_path")
            cursor.execute("DROP SCHEMA held CASCADE")


def not_at_the_turn(every: int, *, seconds: int = 10) -> None:
    """Return when nothing that begins anew each so many seconds of the wall clock does so within the next few."""
    left = every - time.time() % every
    if left < seconds:
        time.sleep(left)

"""Database failures as problems: 503 or 504 with Retry-After, by SQLSTATE (PostgreSQL manual, appendix A), never 500.

Errors of our own, such as wrong SQL or a violated CHECK, are not mapped.
"""

from collections.abc import Iterator

import psycopg
from django.conf import settings
from django.db import DataError, IntegrityError, utils
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from apps.practices.database.conflicts import conflict_of_unique
from apps.practices.database.connections import CircuitOpen, ServerUnresponsive
from apps.practices.errors import Conflict, FieldError, Problem, TimedOut, Unavailable, ValidationProblem
from apps.practices.errors.mapping import problem_from
from apps.practices.observability.redaction import redact_text

Outcome = tuple[type[Problem], int, str]  # the problem, its Retry-After in seconds, its detail

_UNREACHABLE: Outcome = (Unavailable, 2, "The database cannot be reached.")
_BUSY: Outcome = (Unavailable, 1, "The database is busy.")
_READ_ONLY: Outcome = (Unavailable, 5, "The database is read-only at the moment.")
_SLOW: Outcome = (TimedOut, 2, "The database did not respond in time.")
_CONTENDED: Outcome = (Unavailable, 1, "Another request is changing the same data.")

# A whole SQLSTATE, or its first three or two characters (its class). The longest match wins.
_BY_SQLSTATE = {
    "08": _UNREACHABLE,  # connection exception
    "25006": _READ_ONLY,  # read-only transaction: a standby, or a primary that became one
    "25P03": _UNREACHABLE,  # idle in transaction for too long: the server closed the connection
    "25P04": _SLOW,  # transaction timeout
    "3D": _UNREACHABLE,  # no such database, as a PgBouncer reports it
    "40001": _CONTENDED,  # serialization failure
    "40P01": _CONTENDED,  # deadlock
    "53": _BUSY,  # insufficient resources: connections, memory, disk
    "55P03": _CONTENDED,  # lock not available within lock_timeout
    "57014": _SLOW,  # query cancelled: statement_timeout
    "57P": _UNREACHABLE,  # shutdown, crash, starting up, idle session ended
    "58": _UNREACHABLE,  # input or output of the server failed
}

# Foreign keys, unique and exclusion constraints: a concurrent write was first, or other rows refer to this one.
_CONFLICTS = frozenset({"23001", "23503", "23505", "23P01"})


def problem_for(exception: BaseException) -> Problem | None:
    """Return the problem for a database failure among ``exception`` and its causes, or None."""
    outcome = _outcome(exception)
    if outcome is None:
        return None
    problem, retry_after, detail = outcome
    return problem(detail, retry_after=retry_after)


def _outcome(exception: BaseException) -> Outcome | None:
    return next((outcome for error in _causes(exception) if (outcome := _outcome_of(error))), None)


def _causes(exception: BaseException) -> Iterator[BaseException]:
    """Return the exception and its causes, innermost first: Django's errors wrap psycopg's, which have the SQLSTATE."""
    chain: list[BaseException] = []
    error: BaseException | None = exception
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__
    return reversed(chain)


def _outcome_of(error: BaseException) -> Outcome | None:
    if isinstance(error, (PoolTimeout, TooManyRequests)):
        return _BUSY
    if isinstance(error, (PoolClosed, CircuitOpen, ServerUnresponsive)):
        return _UNREACHABLE
    state = getattr(error, "sqlstate", None)
    if isinstance(error, psycopg.Error) and state:
        return next((_BY_SQLSTATE[key] for key in (state, state[:3], state[:2]) if key in _BY_SQLSTATE), None)
    if isinstance(error, (psycopg.OperationalError, utils.OperationalError)):
        return _UNREACHABLE  # no SQLSTATE: the client could not connect, or its connection broke
    if isinstance(error, (psycopg.InterfaceError, utils.InterfaceError)) and "clos" in str(error):
        return _UNREACHABLE  # "the connection is closed": it broke earlier in this request
    return None


@problem_from.register(utils.Error)
@problem_from.register(psycopg.Error)
def _(exception: Exception) -> Problem | None:
    """Map class 54 here, which Django raises as OperationalError: an index entry or a text that is too large."""
    state = getattr(exception.__cause__, "sqlstate", None) or getattr(exception, "sqlstate", None) or ""
    return _out_of_range() if state.startswith("54") else problem_for(exception)


@problem_from.register
def _(_exception: DataError) -> Problem:
    """Map class 22: a value that validation accepted and PostgreSQL cannot store."""
    return _out_of_range()


@problem_from.register
def _(exception: IntegrityError) -> Problem | None:
    """Map constraints that a concurrent write can violate to 409. A violated CHECK is a bug."""
    sqlstate = getattr(exception.__cause__, "sqlstate", None)
    if sqlstate == "23505":
        return conflict_of_unique(exception.__cause__)
    return Conflict() if sqlstate in _CONFLICTS else problem_for(exception)


def _out_of_range() -> Problem:
    return ValidationProblem(errors=[FieldError("", "out_of_range", "A value is too large, or cannot be stored.")])


def outage_message(exception: BaseException) -> str | None:
    """Return one line for the user of a command if the server cannot be used, None for other failures.

    The line names the server, says why it cannot be used, and what to do.
    """
    errors = (one for one in _causes(exception) if isinstance(one, psycopg.OperationalError | utils.OperationalError))
    error = next(errors, None)
    is_refused = (getattr(error, "sqlstate", None) or "").startswith("28")  # an unknown user, a wrong password
    if error is None or not (is_refused or _outcome(exception) in (_UNREACHABLE, _BUSY)):
        return None
    database = settings.DATABASES["default"]
    where = f"{database['HOST'] or 'localhost'}:{database['PORT'] or 5432}"
    reason = redact_text(" ".join(str(error).split())).rstrip(".") or type(error).__name__
    advice = (
        "Start it with bin/dev in another terminal, or set DATABASE_URL in .env."
        if settings.ENVIRONMENT_NAME == "dev"
        else "Check DATABASE_URL, and that the server is running and reachable."
    )
    return f"Cannot use PostgreSQL at {where}: {reason}. {advice} Use --traceback for details."

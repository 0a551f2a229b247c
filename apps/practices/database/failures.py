"""What a failing database looks like from outside: 503 or 504 with Retry-After, by SQLSTATE, never 500.

Classes and codes: PostgreSQL manual, appendix A. What is not named here (a broken constraint, wrong SQL) is
nobody's outage, and stays what it is.
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

_AWAY = (Unavailable, 2, "The database cannot be reached.")
_BUSY = (Unavailable, 1, "The database is busy.")
_READ_ONLY = (Unavailable, 5, "The database takes no writes at the moment.")
_SLOW = (TimedOut, 2, "The database did not finish in time.")
_RIVAL = (Unavailable, 1, "Another request changed the same data at the same moment.")

# A whole code, or its first three or two characters (its class); the longest wins.
_BY_SQLSTATE = {
    "08": _AWAY,  # connection exception
    "25006": _READ_ONLY,  # read only transaction: a standby, or a primary that became one
    "25P03": _AWAY,  # idle in transaction too long: the server closed the connection
    "25P04": _SLOW,  # transaction timeout
    "3D": _AWAY,  # no such database: a PgBouncer found none where it was sent
    "40001": _RIVAL,  # serialization failure
    "40P01": _RIVAL,  # deadlock
    "53": _BUSY,  # insufficient resources: connections, memory, disk
    "55P03": _RIVAL,  # lock not available within lock_timeout
    "57014": _SLOW,  # query cancelled: statement_timeout
    "57P": _AWAY,  # shutdown, crash, starting up, idle session ended
    "58": _AWAY,  # the server's own input or output fails
}

# Foreign keys, unique and exclusion constraints: a concurrent write was faster, or the row is still referred to.
_CONFLICTS = frozenset({"23001", "23503", "23505", "23P01"})


def problem_for(exception: BaseException) -> Problem | None:
    """Give the problem that tells a client of a database failure in ``exception``; None when there is none in it.

    Django wraps psycopg's exceptions, so those that caused it are looked at too.
    """
    for error in _causes(exception):
        outcome = _outcome(error)
        if outcome is not None:
            problem, retry_after, detail = outcome
            return problem(detail, retry_after=retry_after)
    return None


def _causes(exception: BaseException) -> Iterator[BaseException]:
    """Give the exception and what caused it, innermost first: the cause knows the SQLSTATE."""
    chain: list[BaseException] = []
    error: BaseException | None = exception
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__
    return reversed(chain)


def _outcome(error: BaseException) -> tuple[type[Problem], int, str] | None:
    if isinstance(error, (PoolTimeout, TooManyRequests)):
        return _BUSY
    if isinstance(error, (PoolClosed, CircuitOpen, ServerUnresponsive)):
        return _AWAY
    state = getattr(error, "sqlstate", None)
    if isinstance(error, psycopg.Error) and state:
        return next((_BY_SQLSTATE[key] for key in (state, state[:3], state[:2]) if key in _BY_SQLSTATE), None)
    if isinstance(error, (psycopg.OperationalError, utils.OperationalError)):
        return _AWAY  # without a code it comes from the client: no connection, or one that broke
    if isinstance(error, (psycopg.InterfaceError, utils.InterfaceError)) and "clos" in str(error):
        return _AWAY  # "the connection is closed", "connection already closed": it broke earlier in this request
    return None


@problem_from.register(utils.Error)
@problem_from.register(psycopg.Error)
def _(exception: Exception) -> Problem | None:
    """Map class 54, which Django calls an outage, too: an index entry or a text larger than PostgreSQL accepts."""
    state = getattr(exception.__cause__, "sqlstate", None) or getattr(exception, "sqlstate", None) or ""
    return _out_of_range() if state.startswith("54") else problem_for(exception)


@problem_from.register
def _(_exception: DataError) -> Problem:
    """Map class 22: PostgreSQL cannot store a value that validation accepted, the client's mistake and a gap of ours."""
    return _out_of_range()


@problem_from.register
def _(exception: IntegrityError) -> Problem | None:
    """Map what no service expected: a lost race is a conflict, a violated CHECK is a bug."""
    sqlstate = getattr(exception.__cause__, "sqlstate", None)
    if sqlstate == "23505":
        return conflict_of_unique(exception.__cause__)
    return Conflict() if sqlstate in _CONFLICTS else problem_for(exception)


def _out_of_range() -> Problem:
    return ValidationProblem(errors=[FieldError("", "out_of_range", "A value is outside of what can be stored.")])


def outage_message(exception: BaseException) -> str | None:
    """Return one line for who ran a command: which server could not be used, why, and what to do; None for other failures."""
    errors = (one for one in _causes(exception) if isinstance(one, psycopg.OperationalError | utils.OperationalError))
    error = next(errors, None)
    is_refused = (getattr(error, "sqlstate", None) or "").startswith("28")  # an unknown user, a wrong password
    if error is None or not (is_refused or isinstance(problem_for(exception), Unavailable)):
        return None
    database = settings.DATABASES["default"]
    where = f"{database['HOST'] or 'localhost'}:{database['PORT'] or 5432}"
    reason = redact_text(" ".join(str(error).split())).rstrip(".") or type(error).__name__
    advice = (
        "Start it with bin/dev in another terminal, or set DATABASE_URL in .env to a server that runs."
        if settings.ENVIRONMENT_NAME == "dev"
        else "Check DATABASE_URL, and that the server runs and can be reached from here."
    )
    return f"PostgreSQL at {where} cannot be used: {reason}. {advice} --traceback shows more."

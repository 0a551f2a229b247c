"""Dates and times in the format of RFC 3339, in JSON, CSV and query strings.

Django's own parser also accepts week dates, digits of other scripts, times without an offset, and plain digits, which it reads
as a year.
"""

import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

from rest_framework import serializers

from apps.practices.validation.cleaning import QuickFailure, accepted
from apps.practices.validation.text import Fault

_FULL_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?:[01][0-9]|2[0-3]):[0-9]{2}):([0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-5][0-9])"
)
DATE_TIME_LENGTH = 64  # characters; RFC 3339 allows a fraction of any length


class StrictDateTimeField(QuickFailure, serializers.DateTimeField):
    """A moment, as `date-time` of RFC 3339, section 5.6: ``2026-01-31T12:00:00Z``, or with an offset. Code ``invalid``.

    ``T`` and ``Z`` may be lower case; an offset is required, and ``-00:00`` counts as UTC. A fraction is cut after
    microseconds. A leap second (``23:59:60`` in UTC) becomes the next second, as in PostgreSQL. The value is in UTC,
    from the year 1 to 9999.
    """

    is_pure = True
    default_error_messages = {"invalid": "Use an RFC 3339 date and time with an offset, such as 2026-01-31T12:00:00Z."}

    def to_internal_value(self, value: Any) -> datetime:
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value  # from Python: the admin, a job's parameters
        return accepted(self.outcome(value if isinstance(value, str) else ""))

    def outcome(self, text: str) -> datetime | Fault:
        """Return the moment, or why the text is refused."""
        found = _DATE_TIME.fullmatch(text) if len(text) <= DATE_TIME_LENGTH else None
        return (_moment(found) if found else None) or self.failure("invalid")


class StrictDateField(QuickFailure, serializers.DateField):
    """A day, as `full-date` of RFC 3339, section 5.6: ``2026-01-31``, from the year 1 to 9999. Code ``invalid``."""

    is_pure = True
    default_error_messages = {"invalid": "Use an RFC 3339 date, such as 2026-01-31."}

    def to_internal_value(self, value: Any) -> date:
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        return accepted(self.outcome(value if isinstance(value, str) else ""))

    def outcome(self, text: str) -> date | Fault:
        """Return the day, or why the text is refused."""
        found = _FULL_DATE.fullmatch(text)
        with suppress(ValueError):  # the day does not exist
            if found:
                return date(*map(int, found.groups()))
        return self.failure("invalid")


def _moment(found: re.Match[str]) -> datetime | None:
    """Return the matched time in UTC; None if it does not exist."""
    day, minute, second, fraction, zone = found.groups()
    is_leap = second == "60"
    text = f"{day}T{minute}:59{zone}" if is_leap else f"{day}T{minute}:{second}{fraction or ''}{zone}"
    try:
        moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
        if is_leap and (moment.hour, moment.minute) != (23, 59):
            return None
        return moment + timedelta(seconds=is_leap)
    except (ValueError, OverflowError):
        return None

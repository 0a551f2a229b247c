"""Dates and times are RFC 3339 in JSON, CSV and query strings."""

from __future__ import annotations

import datetime
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from apps.articles.imports import COLUMNS, ArticleRowSerializer
from apps.articles.serializers import ArticleWriteSerializer
from apps.jobs.imports.formats import CsvRows
from apps.practices.validation.dates import StrictDateField, StrictDateTimeField
from apps.practices.validation.rows import RowValidator

UTC = datetime.UTC
NOON = datetime.datetime(2026, 1, 31, 12, tzinfo=UTC)
TAKEN = {
    "2026-01-31T12:00:00Z": NOON,
    "2026-01-31t12:00:00z": NOON,
    "2026-01-31T14:30:00+02:30": NOON,
    "2026-01-31T12:00:00-00:00": NOON,
    "2026-01-31T12:00:00.1234567Z": NOON.replace(microsecond=123456),
    "2026-01-31T12:00:00.5Z": NOON.replace(microsecond=500000),
    "2016-12-31T23:59:60Z": datetime.datetime(2017, 1, 1, tzinfo=UTC),
    "2017-01-01T00:59:60+01:00": datetime.datetime(2017, 1, 1, tzinfo=UTC),
    "0001-01-01T00:00:00Z": datetime.datetime(1, 1, 1, tzinfo=UTC),
}
REFUSED = [
    "1712010112345",
    "2026-01-31",
    "2026-01-31T12:00:00",
    "2026-01-31 12:00:00Z",
    "2026-01-31T12:00Z",
    "2026-W05-6T12:00:00Z",
    "2026-031T12:00:00Z",
    "20260131T120000Z",
    "２０２６-01-31T12:00:00Z",  # noqa: RUF001 - full-width digits
    "2026-01-31T12:00:00,5Z",
    "2026-01-31T12:00:00.Z",
    "2026-01-31T12:00:00+2:00",
    "2026-01-31T12:00:00+0200",
    "2026-01-31T12:00:00+24:00",
    "2026-01-31T12:00:00+02:60",
    "2026-01-31T12:00:00Z\n",
    " 2026-01-31T12:00:00Z",
    "2026-02-30T12:00:00Z",
    "2026-01-31T24:00:00Z",
    "2026-01-31T12:00:60Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:60Z",
    "10000-01-01T00:00:00Z",
    f"2026-01-31T12:00:00.{'0' * 60}Z",
    "",
    1712010112345,
    True,
    [],
    {},
    datetime.datetime(2026, 1, 31),  # noqa: DTZ001 - without a zone, as Python might pass it
]


@pytest.mark.parametrize(("text", "moment"), TAKEN.items(), ids=repr)
def test_valid_date_times(text: str, moment: datetime.datetime) -> None:
    assert StrictDateTimeField().run_validation(text) == moment


@pytest.mark.parametrize("text", REFUSED, ids=repr)
def test_invalid_date_times(text: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        StrictDateTimeField().run_validation(text)
    assert refused.value.detail[0].code == "invalid"


@pytest.mark.parametrize("text", [text for text in REFUSED if text != ""], ids=repr)
def test_body_and_file_refuse_the_same(text: Any) -> None:
    body = ArticleWriteSerializer(data={"title": "a", "body": "b", "published_at": text})
    assert not body.is_valid()
    assert set(body.errors) == {"published_at"}
    if isinstance(text, str):
        file = io.BytesIO(f'title,body,published_at\na,b,"{text}"\n'.encode())
        [(_, _, raw)] = rows = CsvRows(file, COLUMNS)
        errors = RowValidator(ArticleRowSerializer(), is_text=True)(rows.cells(raw))
        assert [error.pointer for error in errors] == ["/published_at"]


@pytest.mark.parametrize(
    "text", ["20260131", "2026-W05-6", "2026-1-31", "2026-02-30", "２０２６-01-31", "0000-01-01", "2026-01-31T00:00:00Z", 5]  # noqa: RUF001 - full-width digits
)  # fmt: skip
def test_invalid_dates(text: Any) -> None:
    with pytest.raises(ValidationError):
        StrictDateField().run_validation(text)


@given(st.datetimes(timezones=st.just(UTC)), st.dates())
def test_date_time_in_a_response_can_be_sent(moment: datetime.datetime, day: datetime.date) -> None:
    for field, value in ((StrictDateTimeField(), moment), (StrictDateField(), day)):
        assert field.run_validation(field.to_representation(value)) == value

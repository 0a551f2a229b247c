"""Error responses are bounded: at most fifty short errors, and a note that there are more."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.test import Client
from rest_framework import serializers

from apps.articles.imports import COLUMNS, article_import
from apps.jobs.imports.formats import NdjsonRows
from apps.jobs.imports.rows import Rejection
from apps.jobs.imports.validation import RowChecker
from apps.practices.errors import FieldError, ValidationProblem
from apps.practices.errors.problems import DETAIL_LENGTH, ERRORS_SHOWN, POINTER_LENGTH
from apps.practices.validation.fields import BoundedIntegerField, BoundedListField
from apps.practices.validation.serializers import StrictSerializer
from tests.apps.accounts.factories import bearer, user_create
from tests.problems import assert_problem

MORE = f"Only the first {ERRORS_SHOWN} errors are listed; there are more."
ANSWER = 20_000  # bytes


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [
        pytest.param({f"key-{number}": number for number in range(19_900)}, id="unknown members"),
        pytest.param({"title": "a", "body": "b", "tags": list(range(19_900))}, id="members of a list that is too long"),
        pytest.param({"title": "a", "body": "b", "k" * 900_000: 1}, id="a long name"),
        pytest.param({"format": "f" * 900_000}, id="a long value"),
    ],
)
def test_many_body_errors_get_a_short_response(body: dict[str, Any]) -> None:
    path = "/api/v1/articles/exports" if "format" in body else "/api/v1/articles"
    response = Client().post(path, body, content_type="application/json", **bearer(user_create()))
    problem = assert_problem(response, 400, "validation")
    assert len(response.content) < ANSWER
    assert len(problem["errors"]) <= ERRORS_SHOWN
    assert problem["detail"].endswith(MORE) == (len(body) > 1_000)


@pytest.mark.django_db
def test_many_query_errors_get_a_short_response() -> None:
    response = Client().get("/api/v1/articles", {f"name-{number}": 1 for number in range(900)})
    problem = assert_problem(response, 400, "validation")
    assert len(problem["errors"]) == ERRORS_SHOWN
    assert problem["detail"].endswith(MORE)
    assert problem["errors"][0]["pointer"] == "?name-0"


def test_validation_stops_at_the_last_listed_error() -> None:
    """Validation stops for unknown names and for members of lists, nested or not."""
    read: list[Any] = []

    class Counted(BoundedIntegerField):
        def to_internal_value(self, data: Any) -> int:
            read.append(data)
            return super().to_internal_value(data)

    class Probe(StrictSerializer):
        values = BoundedListField(child=Counted(max_value=0), max_length=10_000)

    assert not Probe(data={"values": list(range(1, 10_000))}).is_valid()
    assert len(read) == ERRORS_SHOWN + 1
    read.clear()
    with pytest.raises(serializers.ValidationError) as refused:
        Probe().fields["values"].run_validation([0] * 10_001)
    assert refused.value.detail[0].code == "max_length"
    assert read == []


def test_error_texts_are_cut() -> None:
    problem = ValidationProblem(errors=[FieldError("/" + "k" * 10_000, "invalid", "d" * 10_000)])
    assert [(len(one.pointer), len(one.detail)) for one in problem.errors] == [(POINTER_LENGTH, DETAIL_LENGTH)]
    few = ValidationProblem(errors=[FieldError(f"/{n}", "invalid", "wrong") for n in range(ERRORS_SHOWN)])
    assert len(few.errors) == ERRORS_SHOWN
    assert "Only the first" not in few.detail


@pytest.mark.django_db
def test_errors_of_a_rejected_row_are_bounded() -> None:
    checker = RowChecker(NdjsonRows(io.BytesIO(), COLUMNS), article_import(owner=user_create()))
    many = {f"key-{number}" * 20: number for number in range(1_900)}
    for cells in (many, {"title": "a", "body": "b", "k" * 500_000: 1}):
        rejected = checker.check_row(json.dumps(cells).encode())
        assert isinstance(rejected, Rejection)
        assert len(json.dumps(rejected.document(1))) < ANSWER

"""Parameters of lists: validated once for equal ones, and refused by name."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import RequestFactory

from apps.accounts.models import User
from apps.practices.database import lists
from apps.practices.database.lists import ListQuery
from apps.practices.errors import ValidationProblem
from tests.sample.filters import NOTES
from tests.sample.models import Note
from tests.sample.selectors import note_list

PATH = "/api/v1/sample/notes"


@pytest.fixture
def validations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the parameters that were validated, since nothing was remembered."""
    NOTES._parsed_before.cache_clear()
    found: list[Any] = []
    validate = lists.parameters_validate
    monkeypatch.setattr(lists, "parameters_validate", lambda *given: (found.append(given), validate(*given))[1])
    return found


def parsed(path: str = PATH, **parameters: Any) -> ListQuery:
    return NOTES.parse(RequestFactory().get(path, parameters))


def test_equal_parameters_are_validated_once(db: None, validations: list[Any]) -> None:
    owner = User.objects.create(email="owner@example.com")
    Note.objects.bulk_create([Note(owner=owner, title="a") for _ in range(4)])
    start = parsed(title="a", limit="3")
    following = NOTES.read(start, note_list, **start.filters).next
    assert following is not None
    second = NOTES.parse(RequestFactory().get(following))
    assert parsed(title="a", limit="3") is start
    assert len(validations) == 2  # of the request, and of the reference, whose parameters are in another order
    third = NOTES.parse(RequestFactory().get(following))
    assert len(validations) == 2
    assert second == third
    assert (start.cursor, start.key) == (None, "limit=3&title=a&cursor=")
    assert second.cursor is not None
    assert second.key == urlsplit(following).query


def test_queries_of_other_values_and_paths_are_others(validations: list[Any]) -> None:
    made = [parsed(title="a"), parsed(title="b"), parsed(), parsed("/other", title="a"), parsed(title="a", limit="3")]
    assert len({(query.path, query.key) for query in made}) == len(made) == len(validations)
    assert len({query.binding for query in made[:4]}) == 4


def test_remembered_queries_cannot_be_changed(validations: list[Any]) -> None:
    with pytest.raises(TypeError):
        parsed(title="a").filters["title"] = "b"  # type: ignore[index]


def test_long_queries_are_not_remembered(validations: list[Any]) -> None:
    for number in range(NOTES._parsed_before.cache_info().maxsize + 10):
        parsed(title=f"{number} {'x' * 600}"[:200], fields=",".join(["id"] * 150))
    assert NOTES._parsed_before.cache_info().currsize == 0
    for number in range(NOTES._parsed_before.cache_info().maxsize + 10):
        parsed(title=str(number))
    assert NOTES._parsed_before.cache_info().currsize == NOTES._parsed_before.cache_info().maxsize


@pytest.mark.parametrize("cursor", ["", " ", "a\x00b", "é"])
def test_each_invalid_parameter_is_named_with_any_cursor(cursor: str, validations: list[Any]) -> None:
    for _ in range(2):  # errors are not remembered
        with pytest.raises(ValidationProblem) as raised:
            parsed(cursor=cursor, limit="0", other="1")
        pointers = {error.pointer for error in raised.value.errors}
        assert pointers == {"?limit", "?other", *(() if cursor == "é" else ("?cursor",))}


@pytest.mark.parametrize("text", ["a", ".", "a.b", "é", "W10.", f"{'x' * 300}.y"])
def test_other_texts_are_no_cursors(text: str) -> None:
    with pytest.raises(ValidationProblem) as raised:
        parsed(cursor=text)
    assert [error.code for error in raised.value.errors] == ["invalid"]

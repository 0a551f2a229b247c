"""Keyset lists: pages without gaps or repeats, signed cursors, and one query per page."""

import random
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.conf import settings
from django.core import signing
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import Client, RequestFactory, override_settings
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from rest_framework import serializers
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.practices.database.checks import ordering_errors
from apps.practices.database.declarations import Projected, Projection
from apps.practices.database.lists import Filter, KeysetList
from apps.practices.errors import ValidationProblem
from tests.problems import assert_problem
from tests.sample.filters import NOTES
from tests.sample.models import Note
from tests.sample.selectors import note_list

PATH = "/api/v1/sample/notes"


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create(email="owner@example.com")


@pytest.fixture
def notes(owner: User) -> list[Note]:
    """Return 60 notes, many with the same title and time, which differ only in their primary key."""
    random.seed(7)
    made = Note.objects.bulk_create([Note(owner=owner, title=random.choice("abc"), body="x") for _ in range(60)])
    now = timezone.now()
    for note in made:
        note.created_at = now.replace(microsecond=random.choice([1, 2, 3]))
    Note.objects.bulk_update(made, ["created_at"])
    return made


def read(reference: str) -> dict[str, Any]:
    """Read a page as the view does, without the rest of a request, since some tests read hundreds."""
    query = NOTES.parse(RequestFactory().get(reference))
    page = NOTES.read(query, note_list(**query.filters)).body()
    page["results"] = [{**row, "id": str(row["id"])} for row in page["results"]]
    return page


def walk(reference: str | None, step: str) -> list[list[str]]:
    """Return the ids on all pages from ``reference`` on."""
    pages = []
    while reference is not None:
        assert reference.startswith("/api/v1/sample/notes?")
        page = read(reference)
        pages.append([row["id"] for row in page["results"]])
        reference = page[step]
        assert len(pages) < 100
    return pages


@pytest.mark.parametrize("ordering", list(NOTES.orderings))
@pytest.mark.parametrize("limit", [1, 7, 60, 100])
def test_pages_return_every_row_once_both_ways(notes: list[Note], ordering: str, limit: int) -> None:
    expected = [str(pk) for pk in Note.objects.order_by(*NOTES.orderings[ordering]).values_list("pk", flat=True)]
    start = f"{PATH}?{urlencode({'limit': limit, 'ordering': ordering})}"
    pages = walk(start, "next")
    assert [row for page in pages for row in page] == expected
    assert all(len(page) == limit for page in pages[:-1])

    last = start
    while (following := read(last)["next"]) is not None:
        last = following
    back = walk(last, "previous")
    assert [row for page in reversed(back) for row in page] == expected


def test_inserts_neither_repeat_nor_skip_rows(notes: list[Note], owner: User) -> None:
    before = {str(note.pk) for note in notes}
    page = read(f"{PATH}?limit=10")
    seen = [row["id"] for row in page["results"]]
    while page["next"]:
        Note.objects.create(owner=owner, title="new")  # lands before everything read so far
        page = read(page["next"])
        seen += [row["id"] for row in page["results"]]
    assert len(seen) == len(set(seen))
    assert set(seen) == before


def test_empty_pages_lead_back(notes: list[Note]) -> None:
    first = read(f"{PATH}?limit=59")
    Note.objects.exclude(pk__in=[row["id"] for row in first["results"]]).delete()
    empty = read(first["next"])
    assert (empty["results"], empty["next"]) == ([], None)
    assert read(empty["previous"])["results"] == first["results"]


def test_pages_are_the_same_over_http(notes: list[Note]) -> None:
    first = Client().get(f"{PATH}?limit=59").json()
    assert [row["id"] for row in first["results"]] == [row["id"] for row in read(f"{PATH}?limit=59")["results"]]
    assert len(Client().get(first["next"]).json()["results"]) == 1


def test_references_keep_the_filters(notes: list[Note]) -> None:
    expected = set(Note.objects.filter(title="a").values_list("pk", flat=True))
    pages = walk(f"{PATH}?title=a&limit=3", "next")
    assert {row for page in pages for row in page} == {str(pk) for pk in expected}


def test_projection_reaches_the_sql(notes: list[Note], django_assert_num_queries: Any) -> None:
    query = NOTES.parse(RequestFactory().get(PATH, {"fields": "title,id", "limit": "2"}))
    with django_assert_num_queries(1) as queries:
        page = NOTES.read(query, Note.objects.all())
    assert [list(row) for row in page.results] == [["id", "title"]] * 2
    sql = queries.captured_queries[0]["sql"]
    assert '"body"' not in sql
    assert "LIMIT 3" in sql
    reference = read(f"{PATH}?fields=title,id&limit=2")["next"]
    assert parse_qs(urlsplit(reference).query)["fields"] == ["id,title"]


def test_a_page_is_one_query(notes: list[Note], django_assert_num_queries: Any) -> None:
    for limit in (1, 50):
        query = NOTES.parse(RequestFactory().get(PATH, {"limit": limit}))
        with django_assert_num_queries(1):
            NOTES.read(query, Note.objects.all())


def test_one_row_comparison_uses_the_index(notes: list[Note]) -> None:
    query = NOTES.parse(RequestFactory().get(PATH))
    following = NOTES.read(query, Note.objects.all()).next
    assert following is not None
    deep = NOTES.parse(RequestFactory().get(following))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        from django.test.utils import CaptureQueriesContext

        with CaptureQueriesContext(connection) as queries:
            NOTES.read(deep, Note.objects.all())
        cursor.execute(f"EXPLAIN {queries.captured_queries[-1]['sql']}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Scan using sample_note_created" in plan
    assert "Index Cond: (ROW(created_at, id) <" in plan
    assert "Sort" not in plan


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("limit=0", "?limit", "min_value"),
        ("limit=101", "?limit", "max_value"),
        ("limit=ten", "?limit", "invalid"),
        ("limit=5.0", "?limit", "invalid"),
        ("limit=%D9%A5", "?limit", "invalid"),
        ("limit=1&limit=2", "?limit", "repeated"),
        ("ordering=body", "?ordering", "invalid_choice"),
        ("fields=id,password", "?fields", "unknown"),
        ("fields=", "?fields", "blank"),
        ("colour=red", "?colour", "unknown"),
        ("title=%E2%80%AEx", "?title", "bidi"),
        ("cursor=nonsense", "?cursor", "invalid"),
        (f"cursor={'x' * 5000}", "?cursor", "invalid"),
    ],
)
def test_invalid_parameters_are_named(query: str, pointer: str, code: str) -> None:
    response = Client().get(f"{PATH}?{query}")
    assert_problem(response, 400, "validation")
    assert [(error["pointer"], error["code"]) for error in response.json()["errors"]] == [(pointer, code)]


def test_cursors_are_bound_and_signed(notes: list[Note]) -> None:
    following = read(f"{PATH}?title=a&limit=2")["next"]
    assert following is not None
    cursor = parse_qs(urlsplit(following).query)["cursor"][0]
    body, _, signature = cursor.rpartition(".")
    foreign = {
        "changed": {"title": "a", "cursor": f"{body[:-1]}{'y' if body.endswith('x') else 'x'}.{signature}"},
        "another filter": {"title": "b", "cursor": cursor},
        "no filter": {"cursor": cursor},
        "another ordering": {"title": "a", "ordering": "created_at", "cursor": cursor},
    }
    assert Client().get(PATH, {"title": "a", "limit": 50, "cursor": cursor}).status_code == 200
    for why, parameters in foreign.items():
        response = Client().get(PATH, parameters)
        assert response.status_code == 400, why
        assert response.json()["errors"][0]["pointer"] == "?cursor", why
    elsewhere = RequestFactory().get("/api/v1/elsewhere", {"title": "a", "cursor": cursor})
    with pytest.raises(ValidationProblem):
        NOTES.parse(elsewhere)
    with override_settings(SECRET_KEY="another key of another service, long enough to be one", SECRET_KEY_FALLBACKS=[]):
        assert Client().get(PATH, {"title": "a", "cursor": cursor}).status_code == 400


def test_cursors_survive_a_key_rotation(notes: list[Note]) -> None:
    old, new = settings.SECRET_KEY, "another key of this service, long enough to be one"
    following = read(f"{PATH}?limit=2")["next"]
    assert following is not None
    with override_settings(SECRET_KEY=new, SECRET_KEY_FALLBACKS=[old]):
        page = read(following)
        assert len(page["results"]) == 2
    with override_settings(SECRET_KEY=new, SECRET_KEY_FALLBACKS=[]):
        assert Client().get(following).status_code == 400
        assert len(read(page["previous"])["results"]) == 2  # made while both were known: signed with the new one


@pytest.mark.django_db
@pytest.mark.parametrize("values", [(), ("x",), (1, 2, 3), (None, None), ("2026-01-01T00:00:00Z", "no uuid"), ([], {})])
def test_cursors_of_other_columns_are_refused(values: tuple[Any, ...]) -> None:
    """Such as one from before the list's columns were changed."""
    query = NOTES.parse(RequestFactory().get(PATH))
    text = signing.Signer(salt=f"database.cursor:{query.binding}", sep=".").sign_object([0, 0, *values])
    response = Client().get(PATH, {"cursor": text})
    assert_problem(response, 400, "validation")
    assert response.json()["errors"][0]["pointer"] == "?cursor"


@pytest.mark.django_db
def test_cursors_with_nul_are_refused() -> None:
    assert_problem(Client().get(f"{PATH}?cursor=a.%00b"), 400, "malformed")


def test_deletes_skip_no_rows_backwards(notes: list[Note]) -> None:
    order = [str(pk) for pk in Note.objects.order_by(*NOTES.orderings[NOTES.default]).values_list("pk", flat=True)]
    page = read(f"{PATH}?limit=10")
    for _ in range(3):
        page = read(page["next"])
    Note.objects.filter(pk__in=[order[29], order[25], order[0]]).delete()
    back = [row for pages in reversed(walk(page["previous"], "previous")) for row in pages]
    assert back == [pk for pk in order[:30] if pk not in (order[29], order[25], order[0])]


def test_combinations_without_an_index_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeysetList, "declared", [])
    filters = {"title": serializers.CharField(), "owner": serializers.UUIDField()}
    orderings = {"-created_at": ("-created_at", "-id"), "title": ("title", "id")}
    declared = KeysetList(model=Note, orderings=orderings, fields={"id": "id"}, filters=filters)
    assert [error.id for error in ordering_errors(declared)] == ["database.E003"]  # owner
    assert "'owner', '-created_at', '-id'" in (ordering_errors(declared)[0].hint or "")

    def refused(query: str) -> tuple[str, str]:
        with pytest.raises(ValidationProblem) as raised:
            declared.parse(RequestFactory().get(f"/x?{query}"))
        [error] = raised.value.errors
        return error.pointer, error.code

    assert declared.parse(RequestFactory().get("/x?title=a&ordering=title")).filters == {"title": "a"}
    one = "00000000-0000-7000-8000-000000000000"
    assert refused(f"title=a&owner={one}") == ("?title", "unsupported")
    after = {"after": Filter(serializers.DateTimeField(), range="created_at")}
    ranged = KeysetList(model=Note, orderings=orderings, fields={"id": "id"}, filters=after)
    assert ordering_errors(ranged) == []
    assert (ranged.served("-created_at", ["after"]), ranged.served("title", ["after"])) == (True, False)
    declared = ranged
    assert refused("after=2026-01-01T00:00:00Z&ordering=title") == ("?ordering", "unsupported")
    with pytest.raises(ImproperlyConfigured, match=r"Wrap its field in Filter"):
        KeysetList(model=Note, orderings=orderings, fields={"id": "id"}, filters={"colour": serializers.CharField()})


def test_equal_queries_have_equal_keys() -> None:
    def key(**parameters: str) -> str:
        return NOTES.parse(RequestFactory().get(PATH, parameters)).key

    assert key(title="a", limit="5") == key(limit="5", title="a")
    assert key() == key(limit="25") == key(ordering="-created_at")
    assert key(fields="id,title") == key(fields="title,id")
    assert len({key(), key(limit="5"), key(title="a"), key(fields="id"), key(ordering="title")}) == 5


@pytest.mark.parametrize(
    ("declaration", "rule"),
    [
        ({"orderings": {"x": ("created_at", "-id")}}, "all must descend"),
        ({"orderings": {"x": ("created_at",)}}, "last column must be the primary key"),
        ({"orderings": {"x": ("nothing", "id")}}, "nothing"),
        ({"model": User, "orderings": {"x": ("groups", "id")}}, "not a column"),
        ({"filters": {"limit": serializers.CharField()}}, "Rename the filter limit"),
    ],
)
def test_wrong_declarations_are_refused(
    declaration: dict[str, Any], rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeysetList, "declared", [])
    with pytest.raises(ImproperlyConfigured, match=rule):
        KeysetList(**{"model": Note, "orderings": {"x": ("created_at", "id")}, "fields": {"id": "id"}, **declaration})


def test_nullable_columns_must_be_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeysetList, "declared", [])
    column = Note._meta.get_field("created_at")
    monkeypatch.setattr(column, "null", True)
    declaration: dict[str, Any] = {"model": Note, "orderings": {"x": ("created_at", "id")}, "fields": {"id": "id"}}
    with pytest.raises(ImproperlyConfigured, match="can be NULL"):
        KeysetList(**declaration)
    declared = KeysetList(**declaration, nonnull=("created_at",))
    query = declared.parse(RequestFactory().get("/"))
    with pytest.raises(ImproperlyConfigured, match="shape"):
        Projected("id", "title")
    assert query.ordering == "x"


def test_orderings_without_an_index_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeysetList, "declared", [])
    orderings = {"created_at": ("created_at", "id"), "-title": ("-title", "-id"), "version": ("version", "id")}
    declared = KeysetList(model=Note, orderings=orderings, fields={"id": "id"})
    (error,) = ordering_errors(declared)
    assert error.id == "database.E003"
    assert "'version'" in error.msg


def routes(patterns: list[Any], prefix: str = "/") -> list[str]:
    """Return every path of the URL map without parameters."""
    found = []
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found += routes(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and "<" not in path and "(" not in path:
            found.append(path)
    return found


def test_every_list_of_the_service_is_bounded(notes: list[Note]) -> None:
    """As an administrator, every API route that returns a list returns pages of at most the limit."""
    client = APIClient()
    client.force_authenticate(User.objects.create(email="root@example.com", is_staff=True, is_superuser=True))
    lists = []
    for path in routes(get_resolver().url_patterns):
        if not path.startswith("/api/v1/") or path.startswith(f"{PATH}/"):
            continue
        response = client.get(path)
        body = response.json() if response.status_code == 200 and response.content else None
        assert not isinstance(body, list), f"{path} answers with a bare, unbounded list"
        if not isinstance(body, dict) or not any(isinstance(value, list) for value in body.values()):
            continue
        lists.append(path)
        assert set(body) == {"results", "next", "previous"}, path
        assert len(client.get(path, {"limit": 1}).json()["results"]) <= 1, path
        assert client.get(path, {"limit": 101}).status_code == 400, path
        assert client.get(path, {"surprise": 1}).status_code == 400, path
    assert PATH in lists


def test_fields_may_have_any_name() -> None:
    fields = {
        'the "title"': Projected("title"),
        "it's\\": Projected("owner", "title", shape=dict),
        "id": Projected("id"),
    }
    projection = Projection(fields, order=["created_at", "id"])
    assert projection.columns == ("title", "owner", "id", "created_at")
    assert projection.shown([("a", 1, 2, 3), ("b", 4, 5, 6)]) == [
        {'the "title"': "a", "it's\\": {"owner": 1, "title": "a"}, "id": 2},
        {'the "title"': "b", "it's\\": {"owner": 4, "title": "b"}, "id": 5},
    ]
    assert Projection({"id": Projected("id")}, order=["id"]).shown([(7,)]) == [{"id": 7}]

"""caching, for signed-in readers: representations are cached, while token, session, permissions and limits are checked."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from django.test import Client
from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.models import EndReason, User
from apps.accounts.permissions import HasModelPermission
from apps.accounts.selectors.sessions import sessions_forget_all
from apps.accounts.services.sessions import sessions_end
from apps.accounts.services.users import user_deactivate
from apps.practices.caching import CachedResponse, tags_change, with_version
from apps.practices.errors import NotFound, Unavailable
from apps.practices.validation.fields import BoundedIntegerField
from apps.practices.validation.query import query_parameters
from apps.practices.validation.views import StrictView
from tests.apps.accounts.factories import bearer, user_create
from tests.problems import assert_problem

pytestmark = pytest.mark.django_db(transaction=True)
PERMITTED, OWN = "/api/v1/permitted", "/api/v1/own"


class Permitted(StrictView):
    """A list that all staff with the permission share."""

    permission_classes = (HasModelPermission,)
    permission_required = "accounts.view_user"
    query_parsers = {
        "GET": lambda request: query_parameters(
            request, {"page": BoundedIntegerField(), "other": BoundedIntegerField()}
        )
    }
    cached = CachedResponse(audience="permitted", ttl=30, stale=30, tags=("things",), parameters=("page",))
    runs: ClassVar[list[str]] = []
    answer: ClassVar[Any] = None

    def get(self, request: Request) -> Response:
        self.runs.append(request.path)
        if self.answer is not None:
            return self.answer(request)
        return with_version(Response({"run": len(self.runs), "query": self.query}), 7)


class Own(Permitted):
    """A page that each user has of their own."""

    permission_classes = (IsAuthenticated,)
    cached = CachedResponse(audience="user", ttl=30, tags=("own",), parameters=("page",))

    def get(self, request: Request) -> Response:
        self.runs.append(request.path)
        return Response({"for": str(request.user.pk), "may": request.user.has_perm("accounts.view_user")})


urlpatterns = [
    path("api/v1/permitted", Permitted.as_view()),
    path("api/v1/own", Own.as_view()),
    path("", include("project.urls")),
]


@pytest.fixture(autouse=True)
def routes(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    Permitted.runs.clear()
    Permitted.answer = None


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def staff() -> User:
    return user_create(is_staff=True, permissions=("accounts.view_user",))


def answering(answer: Any) -> None:
    Permitted.answer = staticmethod(answer)


def test_permitted_readers_share_a_representation(
    client: Client, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.TOKENS_CHECK_SECONDS = 60
    one, two = bearer(staff()), bearer(staff())
    client.get("/api/v1/users?limit=1", **two)  # checks the session and reads the permissions
    first = client.get(PERMITTED, **one)
    with django_assert_num_queries(0):
        second = client.get(PERMITTED, **two)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.content == second.content
    assert first["ETag"] == second["ETag"]
    assert second["ETag"].startswith('"7.')
    assert len(Permitted.runs) == 1
    assert first["Cache-Status"].startswith("app; fwd=uri-miss; stored")
    assert second["Cache-Status"].startswith("app; hit")
    assert second["Content-Type"] == first["Content-Type"] == "application/json"
    for response in (first, second):
        assert response["Cache-Control"] == "private, no-cache"
        assert {"Accept", "Authorization", "Cookie"} <= {name.strip() for name in response["Vary"].split(",")}
        assert response["Cache-Groups"]
        assert '"user"' in response["RateLimit"]


@pytest.mark.parametrize("path", [PERMITTED, OWN])
@pytest.mark.parametrize("loss", ["session", "account", "permission", "staff", "another", "nobody", "token"])
def test_who_may_not_read_gets_nothing(client: Client, loss: str, path: str) -> None:
    """Neither the representation nor a 304, which would tell that it has not changed."""
    user = staff()
    header = bearer(user)
    warm = client.get(path, **header)
    assert client.get(path, **header)["Cache-Status"].startswith("app; hit")
    Permitted.runs.clear()
    match loss:
        case "session":
            sessions_end(user_id=user.pk, reason=EndReason.OWNER, now=user.created_at)
        case "account":
            user_deactivate(user=user, now=user.created_at)
        case "permission":
            user.user_permissions.clear()
        case "staff":
            User.objects.filter(pk=user.pk).update(is_staff=False)
        case "another":
            header |= bearer(user_create())
        case "nobody":
            del header["HTTP_AUTHORIZATION"]
        case "token":
            header["HTTP_AUTHORIZATION"] += "x"
    sessions_forget_all()  # as after SESSION_CHECK_SECONDS
    answer, conditional = client.get(path, **header), client.get(path, HTTP_IF_NONE_MATCH=warm["ETag"], **header)
    status = {"session": 401, "account": 401, "nobody": 401, "token": 401}.get(loss, 403 if path == PERMITTED else 200)
    assert answer.status_code == status
    assert conditional.status_code == status or (loss, path) == ("staff", OWN)
    assert Permitted.runs == ([OWN] if status == 200 else []), "what was built under other rights is not served"
    assert warm.content not in answer.content or (loss, path) == ("staff", OWN), (
        "which shows nothing that staff alone may see"
    )


def test_each_user_has_their_own(client: Client) -> None:
    one, two = user_create(), user_create()
    for user in (one, two, one):
        assert client.get(OWN, **bearer(user)).json()["for"] == str(user.pk)
    assert len(Permitted.runs) == 2
    tags_change("own")
    assert client.get(OWN, **bearer(one))["Cache-Status"].startswith("app; fwd=uri-miss")


def test_change_is_visible_at_once(client: Client) -> None:
    header = bearer(staff())
    before = client.get(PERMITTED, **header).json()
    tags_change("things")
    assert client.get(PERMITTED, **header).json() != before


def test_unchanged_is_304_and_head_has_no_body(client: Client) -> None:
    header = bearer(staff())
    full = client.get(PERMITTED, **header)
    assert client.get(PERMITTED, HTTP_IF_NONE_MATCH=full["ETag"], **header).status_code == 304
    head = client.head(PERMITTED, **header)
    assert (head.content, head["Content-Length"]) == (b"", str(len(full.content)))
    assert len(Permitted.runs) == 1


def test_parameters_are_part_of_the_key_and_others_run_the_view(client: Client) -> None:
    header = bearer(staff())
    assert [client.get(f"{PERMITTED}?page={page}", **header).json()["query"] for page in (1, 2)] == [
        {"page": 1},
        {"page": 2},
    ]
    for _ in range(2):
        assert client.get(f"{PERMITTED}?page=1&other=2", **header)["Cache-Status"] == "app; fwd=bypass"
    assert_problem(client.get(f"{PERMITTED}?unknown=1", **header), 400, "validation", pointer="?unknown")


def test_view_that_looks_at_the_reader_is_not_shared(client: Client) -> None:
    uses = (
        lambda request: str(request.user.pk),
        lambda request: bool(request.user),
        lambda request: request.auth.session_id,
        lambda request: request.user == 1,
    )
    header = bearer(staff())
    for use in uses:
        answering(lambda request, use=use: Response({"for": use(request)}))
        assert_problem(client.get(PERMITTED, **header), 500, "internal-error")


def test_refusals_and_private_answers_are_not_cached(client: Client) -> None:
    header = bearer(staff())

    def missing(request: Request) -> Response:
        raise NotFound

    for answer, status in (
        (missing, 404),
        (lambda request: Response({"a": 1}, status=203), 203),
        (lambda request: Response({"a": 1}, headers={"Cache-Control": "no-store"}), 200),
        (lambda request: Response({"a": 1}, headers={"Set-Cookie": "a=1"}), 200),
    ):
        answering(answer)
        for _ in range(2):
            assert client.get(PERMITTED, **header).status_code == status
    assert len(Permitted.runs) == 8


def test_stale_representation_is_served_in_an_outage(client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(Permitted.cached, "ttl", 0.01)
    header = bearer(staff())
    good = client.get(PERMITTED, **header)

    def broken(request: Request) -> Response:
        raise Unavailable

    answering(broken)
    assert client.get(PERMITTED, **header).content == good.content
    tags_change("things")
    assert client.get(PERMITTED, **header).status_code == 503


def test_anonymous_middleware_does_not_serve_it(client: Client) -> None:
    """The shared cache of anonymous readers is before the checks, so it must not know these views."""
    client.get(PERMITTED, **bearer(staff()))
    answer = client.get(PERMITTED)
    assert_problem(answer, 401, "not-authenticated")
    assert not answer.has_header("Cache-Status")


def test_unknown_audience_is_refused() -> None:
    with pytest.raises(ValueError, match="permitted"):
        CachedResponse(audience="everyone", ttl=1, tags=())  # type: ignore[arg-type]

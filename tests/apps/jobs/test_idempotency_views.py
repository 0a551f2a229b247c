"""Idempotency-Key on views with unusual responses."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import Client, override_settings
from django.urls import path
from rest_framework import status
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

import project.urls
from apps.accounts.models import User
from apps.jobs.idempotency import idempotent
from apps.jobs.models import IdempotencyKey, Job
from apps.practices.errors import PermissionDenied
from tests.apps.accounts.factories import bearer
from tests.problems import assert_problem
from tests.repetitions import assert_repeated, send

pytestmark = pytest.mark.django_db


class Odd(APIView):
    """Respond as the path says, after storing a job that shows that the view ran."""

    permission_classes = (IsAuthenticated,)
    is_open = True

    @staticmethod
    def asked(_user: Any) -> None:
        if not Odd.is_open:
            raise PermissionDenied

    @idempotent(require=asked)
    def post(self, request: Request, kind: str) -> HttpResponseBase:
        Job.objects.create(kind=kind, owner_id=request.user.pk)
        if kind == "stream":
            return StreamingHttpResponse([b"1"])
        if kind == "refused":
            return Response({"refused": True}, status=status.HTTP_409_CONFLICT)
        if kind == "plain":
            return HttpResponse(b"plain", status=201, content_type="text/plain", headers={"X-Of-The-View": "1"})
        return Response(status=status.HTTP_204_NO_CONTENT)


class Open(Odd):
    permission_classes = ()  # type: ignore[assignment]  # shorter than the parent's


urlpatterns = [
    path("open/<str:kind>", Open.as_view()),
    path("odd/<str:kind>", Odd.as_view()),
    *project.urls.urlpatterns,
]
handler400, handler403 = project.urls.handler400, project.urls.handler403
handler404, handler500 = project.urls.handler404, project.urls.handler500
odd = override_settings(ROOT_URLCONF=__name__)


@odd
@pytest.mark.parametrize("kind", ["plain", "empty"])
def test_other_responses_are_replayed(owner: User, kind: str) -> None:
    first, again = (send(owner, f"/odd/{kind}") for _ in range(2))
    assert first.status_code == (201 if kind == "plain" else 204)
    assert_repeated(first, again)
    assert first.headers.get("Content-Type") == ("text/plain" if kind == "plain" else None)
    assert Job.objects.count() == 1


@odd
@pytest.mark.parametrize(("kind", "answered"), [("refused", 409), ("stream", 500)])
def test_unstorable_response_undoes_the_effect(owner: User, kind: str, answered: int) -> None:
    client = Client(raise_request_exception=False)
    answer = client.post(
        f"/odd/{kind}", "{}", content_type="application/json", **bearer(owner), HTTP_IDEMPOTENCY_KEY="k"
    )
    assert answer.status_code == answered
    assert (Job.objects.count(), IdempotencyKey.objects.count()) == (0, 0)


@odd
def test_key_needs_a_user(client: Client) -> None:
    answer = client.post("/open/plain", "{}", content_type="application/json", HTTP_IDEMPOTENCY_KEY="k")
    assert_problem(answer, 401, "not-authenticated")


@odd
def test_require_is_checked_on_a_replay(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    assert send(owner, "/odd/plain").status_code == 201
    monkeypatch.setattr(Odd, "is_open", False)
    assert_problem(send(owner, "/odd/plain"), 403, "permission-denied")
    assert_problem(send(owner, "/odd/plain", key=None), 403, "permission-denied")

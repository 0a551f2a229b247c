"""The middlewares of pages (sessions, CSRF, messages, the signed-in user) apply to the admin only."""

from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(hasattr(request, "session")))


urlpatterns = [
    path(address, page) for address in ("admin/thing", "administrators", "admin-export", "api/v1/admin/thing")
]


@pytest.mark.parametrize(
    ("address", "status", "has_session"),
    [
        ("/admin/thing", 403, "True"),
        ("/administrators", 200, "False"),
        ("/admin-export", 200, "False"),
        ("/api/v1/admin/thing", 200, "False"),
    ],
)
def test_only_admin_paths_are_pages(settings: Any, address: str, status: int, has_session: str) -> None:
    settings.ROOT_URLCONF = __name__
    client = Client(enforce_csrf_checks=True)
    assert client.post(address).status_code == status
    assert client.get(address).content.decode() == has_session


def test_other_requests_skip_all_page_middlewares_at_once(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ROOT_URLCONF = __name__
    client = Client()
    client.get("/administrators")  # loads the middlewares
    for name in ("PageCsrfMiddleware", "PageAuthenticationMiddleware", "PageMessageMiddleware"):
        monkeypatch.setattr(f"project.middleware.{name}.__call__", None)
    assert client.get("/administrators").status_code == 200
    with pytest.raises(TypeError):
        client.get("/admin/thing")

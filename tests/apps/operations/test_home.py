"""The home page of a deployment: a small page with links to the API's documents."""

from __future__ import annotations

import re

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


def test_home_page_and_its_links(client: Client, settings: object) -> None:
    settings.SITE_NAME = "Ships & <Co>"  # type: ignore[attr-defined]  # pytest-django's
    response = client.get("/")
    page = response.content.decode()
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<h1>Ships &amp; &lt;Co&gt;</h1>" in page
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert {"/api/docs", "/api/schema", "/problems"} <= set(links)
    for link in links:
        assert client.get(link).status_code == 200, link


def test_home_page_is_public_and_read_only(client: Client) -> None:
    response = client.get("/")
    assert response.headers["Cache-Control"] == "public, max-age=300"
    assert not response.cookies
    assert "Cookie" not in response.headers.get("Vary", "")
    head = client.head("/")
    assert (head.status_code, head.content, head.headers["Content-Type"]) == (
        200,
        b"",
        response.headers["Content-Type"],
    )
    assert client.post("/").status_code in (403, 405)


def test_home_page_has_no_inline_code(client: Client) -> None:
    response = client.get("/")
    policy = response.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert not re.search(rb"<script|<style|style=|\son\w+=", response.content)

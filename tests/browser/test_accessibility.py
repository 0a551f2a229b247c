"""Pages as axe judges them (WCAG 2.1, levels A and AA), in light and dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe

RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
# Not /api/docs: what axe finds there is the markup of Swagger UI.
OPEN = ["/", "/nowhere", "/problems", "/problems/not-found", "/account/reset-password", "/admin/login/"]
SIGNED_IN = [
    "/admin/",
    "/admin/accounts/user/",
    "/admin/accounts/user/add/",
    "/admin/jobs/job/",
    "/admin/password_change/",
]


def violations(page, path, context=None):
    """Return what axe finds on a page, or in a part of it, as `rule: elements` in one line each."""
    page.goto(path, wait_until="networkidle")
    found = Axe().run(page, context=context, options=RULES).response["violations"]
    return [f"{one['id']}: " + "; ".join(node["html"][:120] for node in one["nodes"][:5]) for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", OPEN)
def test_open_pages(page, path, scheme):
    page.emulate_media(color_scheme=scheme)
    assert violations(page, path) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_admin(page, administrator, scheme):
    page.emulate_media(color_scheme=scheme)
    administrator(page)
    assert {path: found for path in SIGNED_IN if (found := violations(page, path))} == {}

"""A real Chromium, headless, that speaks to a development service on this machine."""

from functools import partial

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.pictures import ARGUMENTS, administrator_sign_in
from tests.fleet import DEVELOPMENT, fleet_running


@pytest.fixture(scope="session")
def browser(chromium):
    """Return the browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def service(stack):
    """Start a development service: plain http, the welcome page, no edge."""
    with fleet_running(stack, edge=False, instances=1, **DEVELOPMENT) as fleet:
        yield fleet.webs[0]


def is_own(url: str) -> bool:
    """Return whether an address is this service's, or empty."""
    return url.startswith(("http://localhost:", "data:", "blob:http://localhost:"))


@pytest.fixture
def page(browser, service):
    """Return a page that collects the browser's complaints: policy violations, script errors, foreign addresses."""
    context = browser.new_context(base_url=service.url.replace("127.0.0.1", "localhost"))
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: None if is_own(request.url) else page.complaints.append(request.url))
    yield page
    context.close()


@pytest.fixture
def administrator(service):
    """Return a function that signs a page in to the admin as a new superuser."""
    return partial(administrator_sign_in, service=service)

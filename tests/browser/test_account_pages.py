"""The pages behind mailed links, opened in a browser from mails that a worker wrote, over https without a front end."""

import pytest

from tests.fleet import ask, fleet_running
from tests.mails import link_in, mails_in
from tests.processes import wait_until

EMAIL = "ada@example.com"
PASSWORD = "tide tables and lanterns"
NEW_PASSWORD = "harbour lights and fog horns"


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory):
    """Return the folder that mails are written to."""
    return tmp_path_factory.mktemp("mails")


@pytest.fixture(scope="module")
def fleet(stack, mailbox):
    with fleet_running(stack, worker=True, instances=1, EMAIL_URL=f"filemail://{mailbox}") as fleet:
        yield fleet


@pytest.fixture
def page(browser, fleet):
    """Return a page that collects the browser's complaints, and every address it was sent to."""
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.complaints, page.requests = [], []
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requests.append(request))
    yield page
    assert [request.url for request in page.requests if not request.url.startswith(f"{fleet.url}/")] == []
    context.close()


def post(fleet, path, body, status):
    answer = ask(fleet.url, f"/api/v1/auth/{path}", method="POST", body=body, context=fleet.ssl_context())
    assert answer.status == status, answer.content
    return answer


def mailed(mailbox, number):
    """Return the mail of that number, counted from 1, once the worker has sent it."""
    wait_until(lambda: len(mails_in(mailbox)) >= number, seconds=30, what=f"mail {number}")
    return mails_in(mailbox)[number - 1]


def test_an_account_is_proved_and_got_back_by_mailed_links(page, fleet, mailbox):
    post(fleet, "register", {"email": EMAIL, "password": PASSWORD}, 201)
    link = link_in(mailed(mailbox, 1))
    token = link.partition("#")[2]
    assert link.startswith(f"{fleet.url}/account/verify-email#")

    answer = page.goto(link)
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-robots-tag"] == "noindex, nofollow"
    assert answer.headers["cache-control"] == "no-store"
    assert "unsafe" not in answer.headers["content-security-policy"]
    page.get_by_role("button").wait_for()
    assert page.evaluate("location.href") == f"{fleet.url}/account/verify-email"
    assert not page.locator("#done").is_visible()  # looking at the page does nothing
    page.get_by_role("button").click()
    page.locator("#done").wait_for()
    assert [request.url for request in page.requests if token in request.url or token in str(request.headers)] == []

    page.goto(link)
    page.get_by_role("button").click()
    page.get_by_role("alert").wait_for()
    assert "Request a new one" in page.get_by_role("alert").inner_text()
    assert [complaint for complaint in page.complaints if "401" not in complaint] == []  # the browser's own line

    post(fleet, "password/reset", {"email": EMAIL}, 202)
    page.complaints.clear()
    page.goto(link_in(mailed(mailbox, 2)))
    page.get_by_label("New password").fill("Password2024!")
    page.get_by_role("button").click()
    page.get_by_role("alert").wait_for()
    assert "common" in page.get_by_role("alert").inner_text()
    page.get_by_label("New password").fill(NEW_PASSWORD)
    page.get_by_role("button").click()
    page.locator("#done").wait_for()
    assert not page.get_by_role("alert").is_visible()
    assert [complaint for complaint in page.complaints if "400" not in complaint] == []

    assert "password" in mailed(mailbox, 3)["Subject"]
    post(fleet, "login", {"email": EMAIL, "password": PASSWORD}, 401)
    signed_in = post(fleet, "login", {"email": EMAIL, "password": NEW_PASSWORD}, 200).json()
    headers = {"Authorization": f"Bearer {signed_in['access']}"}
    me = ask(fleet.url, "/api/v1/me", headers=headers, context=fleet.ssl_context()).json()
    assert me["email_verified"] is True

    body = {"email": "lovelace@example.com", "current_password": NEW_PASSWORD}
    answer = ask(fleet.url, "/api/v1/me", method="PATCH", body=body, headers=headers, context=fleet.ssl_context())
    assert answer.status == 200, answer.content
    page.goto(link_in(mailed(mailbox, 4)))
    page.get_by_role("button").click()
    page.locator("#done").wait_for()
    assert mailed(mailbox, 5)["To"] == EMAIL
    assert ask(fleet.url, "/api/v1/me", headers=headers, context=fleet.ssl_context()).json()["email"] == body["email"]


@pytest.mark.parametrize("name", ["verify-email", "reset-password", "change-email"])
def test_a_page_without_a_link_says_so(page, fleet, name):
    page.goto(f"{fleet.url}/account/{name}")
    page.get_by_role("alert").wait_for()
    assert not page.get_by_role("button").is_visible()
    assert page.locator("main").evaluate("element => getComputedStyle(document.body).maxWidth") == "512px"
    assert page.complaints == []

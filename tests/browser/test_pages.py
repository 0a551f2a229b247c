"""The service's pages in a browser: they work under the content security policy and load nothing from elsewhere."""

from tools.prove.practices import PRACTICES


def test_the_welcome_page_shows_the_thirteen(page):
    page.goto("/")
    assert page.locator("main ol > li").count() == len(PRACTICES)
    assert page.locator("header").evaluate("element => getComputedStyle(document.body).maxWidth") == "960px"
    assert page.complaints == []


def test_the_reference_lists_every_operation_and_tries_one(page):
    page.goto("/api/docs")
    page.locator("#operations-me-me_read").wait_for(timeout=30_000)
    page.locator("#operations-me-me_read .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute", exact=True).click()
    page.locator(".responses-table.live-responses-table .response-col_status", has_text="401").wait_for(timeout=30_000)
    # Nobody has signed in: the browser reports the 401 itself, and nothing else.
    assert [complaint for complaint in page.complaints if "401" not in complaint] == []


def test_the_admin_signs_in_and_shows_its_style(page, administrator):
    administrator(page)
    assert (
        page.locator("#header").evaluate("element => getComputedStyle(element).backgroundColor") != "rgba(0, 0, 0, 0)"
    )
    for link in page.locator("#content-main th a").all():
        address = link.get_attribute("href")
        answer = page.request.get(address)
        assert answer.status == 200, address
    assert page.complaints == []


def test_a_missing_page_is_a_page(page):
    answer = page.goto("/nowhere")
    assert answer.status == 404
    assert page.locator("h1").is_visible()
    # The browser reports the 404 itself; nothing else.
    assert [complaint for complaint in page.complaints if "404" not in complaint] == []

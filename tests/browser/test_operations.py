"""The operations page in a browser: accessible, on a phone, under the policy, refreshed in place, and without JavaScript."""

from tests.browser.pictures import day_fill
from tests.browser.test_accessibility import violations

PAGE = "/admin/operations/?range=1h"
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def test_operations_page(page, browser, service, administrator):
    day_fill(service, minutes=30, routes=6)
    administrator(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert violations(page, PAGE) == [], scheme
    assert violations(page, f"{PAGE}&view=tables", context="#limits") == []
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(PAGE)
    assert page.evaluate(WIDER) == 0, "the page scrolls sideways"
    assert page.locator("svg[role=img]").count() >= 10
    drawn = page.locator("svg[role=img] .line-1").first
    assert drawn.evaluate("line => getComputedStyle(line).stroke") != "none"

    page.clock.install()
    page.goto(PAGE)
    before = page.locator("#now time").get_attribute("datetime")
    page.locator("#jobs button").first.focus()
    jobs = page.locator("#jobs").element_handle()
    page.clock.run_for(11_000)
    page.wait_for_function("before => document.querySelector('#now time').dateTime !== before", arg=before)
    assert jobs.evaluate("section => section.isConnected"), "the section with the focus is left alone"
    page.get_by_role("button", name="Updates every 10 s").click()
    before = page.locator("#now time").get_attribute("datetime")
    page.clock.run_for(30_000)
    assert page.locator("#now time").get_attribute("datetime") == before, "updating is switched off"

    page.get_by_role("button", name="Pause default").click()
    page.get_by_text("The queue default is paused.").wait_for()
    assert page.url.endswith("?range=1h#jobs")
    page.get_by_role("button", name="Resume default").click()
    page.get_by_text("The queue default is resumed.").wait_for()
    assert page.complaints == []

    plain = browser.new_context(
        base_url=page.evaluate("location.origin"), storage_state=page.context.storage_state(), java_script_enabled=False
    )
    bare = plain.new_page()
    bare.goto(PAGE)
    assert not bare.get_by_role("button", name="Updates every 10 s").is_visible()
    bare.get_by_role("link", name="6h").click()
    bare.get_by_role("link", name="p95 ms").click()
    bare.get_by_role("link", name="Refresh").click()
    assert bare.url.endswith("?range=6h&sort=-p95")
    assert bare.locator("svg[role=img]").count() >= 10
    plain.close()

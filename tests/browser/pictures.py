"""Take the pictures of the operations page in docs/: `.venv/bin/python -m tests.browser.pictures`. Needs Chromium."""

import shutil
import subprocess
import sys
from uuid import uuid4

from playwright.sync_api import Page, sync_playwright

from tests.fleet import DEVELOPMENT, fleet_running
from tests.processes import ROOT
from tools.fleet import Service
from tools.stack import Stack

FOLDER = ROOT / "docs" / "operations"
PASSWORD = "a long phrase for the browser test"
# No look-ups at start, no sandbox (tests may run as root), nothing kept.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DAY = """
import django, sys, time
django.setup()
from tests.apps.operations.day import day_write, processes_write
day_write(now=time.time(), minutes=int(sys.argv[1]), routes=int(sys.argv[2]))
processes_write(now=time.time(), alive_until=time.time() + 3600)
"""


def day_fill(service: Service, *, minutes: int, routes: int) -> None:
    """Store numbers that are made up in the service's Redis."""
    command = [sys.executable, "-c", DAY, str(minutes), str(routes)]
    subprocess.run(command, cwd=ROOT, env=service.environment, check=True, timeout=120)


def administrator_sign_in(page: Page, service: Service) -> None:
    """Sign a page in to the admin as a new superuser."""
    email = f"root-{uuid4().hex[:8]}@example.com"
    subprocess.run(
        [sys.executable, "manage.py", "createsuperuser", "--noinput", "--email", email],
        cwd=ROOT,
        env={**service.environment, "DJANGO_SUPERUSER_PASSWORD": PASSWORD},
        check=True,
        timeout=60,
        capture_output=True,
    )
    page.goto("/admin/")
    page.fill("#id_username", email)
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")
    page.locator("#user-tools").wait_for(timeout=30_000)


def main() -> None:
    """Start a service, fill it with a day, and take the pictures."""
    FOLDER.mkdir(exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with (
        Stack.temporary() as stack,
        fleet_running(stack, edge=False, instances=1, worker=True, **DEVELOPMENT) as fleet,
        sync_playwright() as playwright,
    ):
        service = fleet.webs[0]
        day_fill(service, minutes=1440, routes=50)
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(base_url=service.url.replace("127.0.0.1", "localhost"))
        administrator_sign_in(page, service)
        for name, scheme, width, height in (
            ("light", "light", 1200, 1060),
            ("dark", "dark", 1200, 1060),
            ("phone", "light", 390, 1300),
        ):
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=scheme)
            page.goto("/admin/operations/?range=24h", wait_until="networkidle")
            page.screenshot(path=FOLDER / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()

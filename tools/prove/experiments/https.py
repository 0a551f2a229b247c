"""https: pages are redirected to https, API calls over http are refused, cookies are bound to the host."""

from tools.prove.sandbox import Result, Sandbox


def prove(sandbox: Sandbox) -> Result:
    """Send requests over TLS, over plain HTTP, and over plain HTTP forwarded by a misconfigured edge."""
    secure = sandbox.client().get("/admin/login/")
    plain = sandbox.client(sandbox.fleet.plain_url)
    page, call = plain.get("/problems/not-found"), plain.get("/api/v1/sample/notes")
    # Past the edge, as an edge that forwards plain HTTP would send it.
    behind = sandbox.client(sandbox.fleet.webs[0].url).get(
        "/api/v1/sample/notes", headers=sandbox.as_edge(scheme="http")
    )
    target = page.headers.get("Location", "nowhere")
    cookie = secure.headers.get("Set-Cookie", "")
    lasting = secure.headers.get("Strict-Transport-Security", "absent")
    return Result(
        did="requested a page over TLS, and a page and an API call over plain HTTP",
        saw=(
            f"over TLS {secure.status}, its certificate verified, HSTS {lasting!r}, cookie "
            f"{cookie.split('=')[0] or 'absent'!r}; over plain HTTP the page {page.status} to {target.partition('://')[0]}, "
            f"the call {call.status}, behind a misconfigured edge {behind.status}"
        ),
        passed=(
            secure.status == 200
            and "max-age=" in lasting
            and cookie.startswith("__Host-")
            and "Secure" in cookie
            and page.status in (301, 308)
            and target.startswith("https://")
            and call.status == behind.status == 403
            and behind.is_problem
        ),
    )

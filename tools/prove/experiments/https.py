"""https (134): pages are redirected, API calls in clear are refused, cookies are locked to the host."""

from tools.prove.ground import Evidence, Ground


def prove(ground: Ground) -> Evidence:
    """This function will ask over TLS, in clear, and as a client that only claims to be secure."""
    secure = ground.stranger().get("/admin/login/")
    plain = ground.stranger(ground.fleet.plain_url)
    page, call = plain.get("/problems/not-found"), plain.get("/api/v1/sample/notes")
    # And past the edge, as one that forwards http unasked would.
    behind = ground.stranger(ground.fleet.webs[0].url).get(
        "/api/v1/sample/notes", headers=ground.as_edge(scheme="http")
    )
    target = page.headers.get("Location", "nowhere")
    cookie = secure.headers.get("Set-Cookie", "")
    lasting = secure.headers.get("Strict-Transport-Security", "absent")
    return Evidence(
        did="asked for a page over TLS, and for a page and an API call in clear",
        saw=(
            f"TLS verified against the edge's authority, {secure.status}, HSTS {lasting!r}, cookie "
            f"{cookie.split('=')[0] or 'absent'!r}; the page in clear {page.status} to {target.partition('://')[0]}; "
            f"the call in clear {call.status}, behind a careless edge {behind.status}"
        ),
        holds=(
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

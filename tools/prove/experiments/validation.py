"""validation: bad input is refused with its location, HTML is stored clean."""

from tools.prove.sandbox import Result, Sandbox

DEPTH = 100_000
SCRIPT = '<p onclick="x()">Kept</p><script>alert(1)</script><a href="javascript:x()">link</a>'


def prove(sandbox: Sandbox) -> Result:
    """Send input that must be refused or cleaned, and read back what was stored."""
    client = sandbox.client()
    token = sandbox.account(client).access

    def write(**fields: object) -> tuple[int, list[str]]:
        answer = client.post(
            "/api/v1/sample/notes", {"title": "t", "body": "<p>b</p>", "published": False, **fields}, token=token
        )
        errors = answer.json().get("errors", []) if answer.is_problem else []
        return answer.status, [error["pointer"] for error in errors]

    def raw(body: bytes) -> int:
        return client.request("POST", "/api/v1/sample/notes", body=body, token=token).status

    unknown, null = write(owner="somebody"), write(title="a\x00b")
    deep = raw(b"[" * DEPTH + b"]" * DEPTH)
    large = raw(b'{"title": "' + b"x" * (3 * 1024 * 1024) + b'"}')
    endless = raw(b'{"title": 1e999}')
    twice = raw(b'{"title": "a", "title": "b", "body": "", "published": false}')
    stored = client.post(
        "/api/v1/sample/notes", {"title": "t", "body": SCRIPT, "published": False}, token=token
    ).json()["body"]
    clean = "Kept" in stored and not any(word in stored for word in ("script", "onclick", "javascript"))
    return Result(
        did="sent an unknown field, a NUL, JSON 100,000 deep, 3 MiB, a key twice, 1e999, and HTML with a script",
        saw=f"{unknown[0]} at {unknown[1]}, {null[0]} at {null[1]}, {deep}, {large}, {twice}, {endless}; stored {stored!r}",
        passed=(
            unknown == (400, ["/owner"])
            and null == (400, ["/title"])
            and (deep, large, twice, endless) == (400, 413, 400, 400)
            and clean
        ),
    )

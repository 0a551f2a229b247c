"""errors: every failure is a problem document with the request id, and leaks nothing internal."""

from tools.prove.sandbox import Result, Sandbox, wait_until

LEAKS = ("Traceback", "sesame", "apps/", "psycopg", "Exception")


def prove(sandbox: Sandbox) -> Result:
    """Cause eight different failures, the last one with PostgreSQL stopped."""
    client = sandbox.client()
    token = sandbox.account(client).access
    answers = {
        404: client.get("/api/v1/nowhere"),
        405: client.request("PATCH", "/api/v1/sample/notes", token=token, document={}),
        406: client.get("/api/v1/sample/notes", headers={"Accept": "image/png"}),
        415: client.request(
            "POST", "/api/v1/sample/notes", token=token, body=b"a=b", headers={"Content-Type": "text/csv"}
        ),
        400: client.request("POST", "/api/v1/sample/notes", token=token, body=b"{"),
        401: client.get("/api/v1/me"),
        500: client.get("/api/v1/sample/notes/broken"),
    }
    sandbox.stack.servers["postgresql"].stop()
    try:
        answers[503] = client.get("/api/v1/sample/notes/slow?seconds=0")
    finally:
        sandbox.stack.restart("postgresql")
    back = wait_until(lambda: client.get("/api/v1/sample/notes/slow?seconds=0").status == 200 or None, seconds=20)
    wrong = [f"{answer.status} for {status}" for status, answer in answers.items() if answer.status != status]
    bare = [status for status, answer in answers.items() if not answer.is_problem]
    leaks = [word for answer in answers.values() for word in LEAKS if word in answer.body.decode(errors="replace")]
    retry = answers[503].headers.get("Retry-After", "absent")
    return Result(
        did="caused eight failures, among them a bug in a view and a stopped PostgreSQL",
        saw=(
            f"statuses {sorted(answer.status for answer in answers.values())}, {len(answers) - len(bare)} of "
            f"{len(answers)} problem documents with their request id, leaks {leaks}, Retry-After {retry}; "
            f"answering again: {bool(back)}"
        ),
        passed=not wrong and not bare and not leaks and retry.isdigit() and bool(back),
    )

"""database (130): keyset pages without gap or repeat, bounded, projected; a statement that takes too long is cut off."""

from apps.operations.prove.client import Client
from apps.operations.prove.ground import Evidence, Ground

ROWS = 12
LIMIT = 5


def prove(ground: Ground) -> Evidence:
    """This function will walk a list page by page while it grows, then ask for too much and for too long."""
    client = ground.stranger()
    account = ground.account(client)
    titles = {_note(client, account.access, f"Row {number}") for number in range(ROWS)}
    seen: list[str] = []
    path: str | None = f"/api/v1/notes?limit={LIMIT}&fields=id,title"
    pages = 0
    shapes: set[tuple[str, ...]] = set()
    while path and pages < 100:
        page = client.get(path, token=account.access).json()
        seen += [row["id"] for row in page["results"]]
        shapes |= {tuple(row) for row in page["results"]}
        path = page["next"]
        pages += 1
        if pages == 1:
            _note(client, account.access, "Written during the walk")
    too_many = client.get("/api/v1/notes?limit=1000")
    too_long = client.get("/api/v1/notes/slow?seconds=12")
    missed, repeated = len(titles - set(seen)), len(seen) - len(set(seen))
    return Evidence(
        did=f"walked a growing list by {LIMIT}, asked for 1,000 rows, and for a statement of 12 s",
        saw=(
            f"{pages} pages, {missed} rows missed, {repeated} repeated, columns {sorted(shapes)}; limit=1000 is "
            f"{too_many.status}; the statement cut off after {too_long.seconds:.1f} s with {too_long.status}, "
            f"Retry-After {too_long.headers.get('Retry-After', 'absent')}"
        ),
        holds=(
            missed == repeated == 0
            and shapes == {("id", "title")}
            and too_many.status == 400
            and too_long.status in (503, 504)
            and "Retry-After" in too_long.headers
            and too_long.seconds < 11
        ),
    )


def _note(client: Client, token: str, title: str) -> str:
    answer = client.post("/api/v1/notes", {"title": title, "body": "<p>Row</p>", "published": True}, token=token)
    return str(answer.json()["id"])

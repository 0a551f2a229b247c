"""headers: every security header on every kind of response, and no access for foreign origins."""

from tools.prove.client import Answer
from tools.prove.sandbox import Result, Sandbox

WANTED = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "Referrer-Policy",
    "Cross-Origin-Opener-Policy",
    "Cross-Origin-Resource-Policy",
    "X-Permitted-Cross-Domain-Policies",
)
PATHS = (
    "/healthz",
    "/api/v1/sample/notes",
    "/api/v1/nowhere",
    "/nowhere",
    "/api/docs",
    "/admin/login/",
    "/problems/not-found",
)


def prove(sandbox: Sandbox) -> Result:
    """Request responses of every kind and look for missing headers."""
    client = sandbox.client()
    answers = {path: client.get(path) for path in PATHS}
    answers["POST /healthz"] = client.post("/healthz")
    missing = {f"{path}: {name}" for path, answer in answers.items() for name in _missing(answer)}
    foreign = client.get("/api/v1/sample/notes", headers={"Origin": "https://evil.example"})
    opened = "Access-Control-Allow-Origin" in foreign.headers
    policy = answers["/admin/login/"].headers.get("Content-Security-Policy", "absent")
    return Result(
        did=f"requested {len(answers)} responses of every kind (page, API, error, admin, health), and one from a foreign origin",
        saw=(
            f"{len(missing)} headers missing{': ' + ', '.join(sorted(missing)[:3]) if missing else ''}; "
            f"the admin's policy is {policy[:60]!r}…; foreign origin {'allowed' if opened else 'not allowed'}"
        ),
        passed=not missing and not opened,
    )


def _missing(answer: Answer) -> list[str]:
    lacking = [name for name in WANTED if name not in answer.headers]
    if "unsafe-" in answer.headers.get("Content-Security-Policy", ""):
        lacking.append("a policy without unsafe-*")
    return lacking + [name for name in ("X-Powered-By",) if name in answer.headers]

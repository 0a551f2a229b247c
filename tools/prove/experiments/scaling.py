"""scaling: two instances share the load and the state; killing one fails no request."""

from concurrent.futures import ThreadPoolExecutor

from tools.prove.sandbox import Result, Sandbox

READS = 40


def prove(sandbox: Sandbox) -> Result:
    """Sign in on one instance, use the token on the other, then kill an instance under load."""
    first, second = sandbox.fleet.webs
    marks = [len(web.lines()) for web in (first, second)]
    client = sandbox.client()
    account = sandbox.account(client)
    # Straight to the instances, with the edge's headers: neither shares memory with the other.
    known = [
        sandbox.client(web.url).get("/api/v1/me", token=account.access, headers=sandbox.as_edge()).status
        for web in (first, second)
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: client.get("/api/v1/me", token=account.access).status, range(READS))
        before = [next(answers) for _ in range(READS // 3)]
        first.kill()
        statuses = [*before, *answers]
    shares = [len(web.lines()) - mark for web, mark in zip((first, second), marks, strict=True)]
    first.start()
    failed = [status for status in statuses if status != 200]
    failures = f"{len(failed)} of {READS} reads failed" + (f": {failed}" if failed else "")
    return Result(
        did=f"signed in through the edge, used the token on each instance, killed one (SIGKILL) during {READS} parallel reads",
        saw=f"{known} from the two instances; {shares} log lines by instance; {failures}",
        passed=known == [200, 200] and min(shares) > 1 and not failed,
    )

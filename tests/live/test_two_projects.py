"""Two projects share a Redis, each with its own prefix, and neither sees anything of the other.

Each has its own Redis user, which may use only the keys and channels of its prefix. Redis refuses other keys and logs them,
however short they live.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
import redis

from tests.clients import Pages
from tests.faults.submitters import Owner
from tests.fleet import ask, fleet_running, path_replaced
from tests.processes import wait_until
from tools.fleet import Fleet
from tools.stack import Stack

DATABASE = "9"
PREFIXES = {"Alpha": "alpha-prod-localhost", "Beta & Sons": "beta-%26-sons-prod-localhost"}
ADMIN = "/admin/login/"


def _keys(store: redis.Redis) -> list[str]:
    return [key.decode() for key in store.scan_iter(count=1000)]


@pytest.fixture(scope="module")
def store() -> Iterator[redis.Redis]:
    """Start a Valkey for this test, with a user for each project."""
    with Stack.temporary(("redis",)) as stack:
        url = path_replaced(stack.state.urls["REDIS_URL"], DATABASE)
        with redis.Redis.from_url(url) as client:
            for number, prefix in enumerate(PREFIXES.values()):
                client.acl_setuser(
                    f"project-{number}",
                    enabled=True,
                    passwords=["+secret"],
                    keys=[f"{prefix}:*"],
                    channels=[f"{prefix}:*"],
                    commands=["+@all", "-@admin"],
                    reset=True,
                )
            yield client


@pytest.fixture(scope="module")
def projects(stack: Stack, store: redis.Redis) -> Iterator[list[Fleet]]:
    """Start two services with different names, databases and secrets, and low limits."""
    server = store.connection_pool.connection_kwargs
    with ExitStack() as opened:
        found = []
        for number, name in enumerate(PREFIXES):
            url = f"redis://project-{number}:secret@{server['host']}:{server['port']}/{DATABASE}"
            found.append(
                opened.enter_context(
                    fleet_running(
                        stack,
                        instances=1,
                        edge=False,
                        worker=True,
                        SITE_NAME=name,
                        REDIS_URL=url,
                        THROTTLE_ANON="10/15m",
                        THROTTLE_LOGIN="5/15m",
                    )
                )
            )
        yield found


def _tries_the_form(project: Fleet) -> int:
    """Return the status of an attempt to sign in to the admin: 200 shows the form again."""
    pages = Pages(project.url)
    pages.get(ADMIN)
    return pages.post(ADMIN, {"username": "nobody@example.com", "password": "wrong"})


def _metrics(project: Fleet) -> str:
    token = {"Authorization": f"Bearer {project.webs[0].environment['METRICS_TOKEN']}"}
    return ask(project.url, "/metrics", headers=token).content.decode()


def test_projects_share_no_data_limits_jobs_or_metrics(projects: list[Fleet], store: redis.Redis) -> None:
    first, second = projects
    owner, other = Owner(first), Owner(second)
    note = owner.ask("/api/v1/sample/notes", method="POST", body={"title": "Secret of the first"})
    assert note.status == 201, note.content

    # Answers and their tags.
    for source in ("app; fwd=uri-miss; stored", "app; hit"):
        listed = ask(first.url, "/api/v1/sample/notes?limit=1")
        assert listed.headers["cache-status"].startswith(source)
    found = ask(second.url, "/api/v1/sample/notes?limit=1")
    assert (found.json()["results"], found.headers["cache-status"].split(";")[1]) == ([], " fwd=uri-miss")

    # Limits: the API's and the form's.
    refused = {"X-Forwarded-For": "192.0.2.7"}
    assert [ask(first.url, "/api/v1/sample/notes", headers=refused).status for _ in range(11)][-1] == 429
    assert ask(second.url, "/api/v1/sample/notes", headers=refused).status == 200
    assert [_tries_the_form(first) for _ in range(6)][-1] == 429
    assert _tries_the_form(second) == 200

    # Jobs: the second's worker runs its own, and not those that wait for the first's.
    assert first.worker is not None
    assert second.worker is not None
    owner.wait(owner.submit(0.1), "succeeded")
    other.wait(other.submit(0.1), "succeeded")
    first.worker.stop()
    waiting = owner.submit(0.1)
    other.wait(other.submit(0.1), "succeeded")
    assert store.llen(f"{PREFIXES['Alpha']}:broker:default") == 1
    assert owner.job(waiting)["state"] == "queued"
    first.worker.start()
    owner.wait(waiting, "succeeded")
    assert waiting not in second.worker.log()

    # Metrics.
    wanted = 'http_route="/api/v1/sample/notes/busy"'
    assert ask(first.url, "/api/v1/sample/notes/busy?seconds=0").status == 200
    wait_until(lambda: wanted in _metrics(first), seconds=10, what="the first to count it")
    assert wanted not in _metrics(second)


def test_every_key_has_its_projects_prefix(projects: list[Fleet], store: redis.Redis) -> None:
    for project in projects:
        owner = Owner(project)
        owner.wait(owner.submit(0.1), "succeeded")
        _tries_the_form(project)
        ask(project.url, "/api/v1/sample/notes")
    keys = _keys(store)
    for prefix in PREFIXES.values():
        kinds = {key.removeprefix(f"{prefix}:").split(":")[0] for key in keys if key.startswith(f"{prefix}:")}
        assert {"1", "broker", "e", "l", "metrics", "t"} <= kinds
    assert [key for key in keys if not key.startswith(tuple(f"{prefix}:" for prefix in PREFIXES.values()))] == []
    assert store.acl_log() == [], "what Redis refused, being outside a project's prefix"


def test_redis_users_are_confined_to_their_prefix(projects: list[Fleet], store: redis.Redis) -> None:
    """Redis refuses other keys: otherwise the empty log above would prove nothing."""
    url = projects[0].webs[0].environment["REDIS_URL"]
    assert urlsplit(url).username == "project-0"
    with redis.Redis.from_url(url) as client:
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("metrics:prod:total")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.publish("/9.celeryev", "x")
    assert len(store.acl_log()) == 2
    store.acl_log_reset()

"""Measure the whole service over HTTP: requests a second, latency, processor time, statements and round trips of each work.

    python -m tools.benchmarks.http                          everything, as a table
    python -m tools.benchmarks.http --only me --only login   some works
    python -m tools.benchmarks.http --server granian         everything, by another server
    python -m tools.benchmarks.http --profile user-by-key    where the microseconds of one request go, in this process
    python -m tools.benchmarks.http --costs                  what each feature adds to a request, in this process
    python -m tools.benchmarks.http --docs                   everything, for docs/performance.md: some ten minutes
    python -m tools.benchmarks.http --users 10000 --rows 2000 --seconds 2      quick, for a first look

It starts PostgreSQL and Valkey with their data in --folder, and the Procfile's web process under settings.prod, with limits too
wide to matter. The tables are filled by SQL, once: 1,000,000 users take about a minute and 1.4 GB, and are kept for
the next run; delete the folder to remove them. The public list is the first that the OpenAPI document opens to everybody.
Without one, its works are left out.

Each work is first asked for a few requests one after another, which are counted: the statements in PostgreSQL
(pg_stat_statements) and the round trips to Redis of one request, the least of three rounds, so that what other threads do in
between is left out. Then it is asked over --connections connections for --seconds, by a client in its own process on one core.
Processor time is what the operating system counts for each process between before and after (psutil), in steps of 10 ms.

Compare runs on one machine, one after another: the load beside them is in the figures. --profile is repeatable to a few per
cent, and its numbers of Python calls and round trips exactly.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tools.fleet import ROOT, Fleet, database_migrate, production_environment
from tools.stack import Stack

from .client import Load, Plan
from .counters import Counters
from .data import progress
from .requests import application_load
from .works import NAMES, Work

CLIENT = [sys.executable, "-m", "tools.benchmarks.http.client"]
FILL = [sys.executable, "-m", "tools.benchmarks.http.data"]
COUNTED = 5  # requests of a round
ROUNDS = 3
WARM = 20
PROFILED = ("list-cached", "user-by-key")  # and their costs by feature
SERVERS = ("gunicorn", "granian")
_WIDE = "100000000/15m"


def main() -> int:
    """Measure, and print a table."""
    options = arguments()
    with Stack(options.folder) as stack:
        url = database(stack, options)
        environment = production_environment(
            database_url=url,
            redis_url=stack.state.urls["REDIS_URL"],
            THROTTLE_ANON=_WIDE,
            THROTTLE_USER=_WIDE,
            THROTTLE_ADDRESS=_WIDE,
            THROTTLE_LOGIN=_WIDE,
            ACCESS_TOKEN_MINUTES="60",  # noqa: S106 - not a password
            WEB_CONCURRENCY=str(options.processes),
        )
        progress("data: migrations")
        database_migrate(environment=environment)
        fill_apart(environment, options)
        os.environ.update(environment | {"PROCESS_KIND": "web"})
        application_load(options.folder / "profile.log")
        run = measured(stack, url, environment, options)
    if options.json:
        options.json.write_text(json.dumps(run, indent=1) + "\n")
    from .report import costs_table, docs_write, profile_lines, table

    print(
        "\n".join(
            [*table(run), *costs_table(run), *(line for profile in run["profiles"] for line in profile_lines(profile))]
        )
    )
    if options.docs:
        docs_write(run)
        progress("docs/performance.md is written")
    return 0


def arguments() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000, metavar="N", help="users in the database (1,000,000)")
    parser.add_argument("--rows", type=int, default=200_000, metavar="N", help="rows of the public list (200,000)")
    parser.add_argument("--only", action="append", default=[], choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--profile", action="append", default=[], choices=NAMES, metavar="NAME", help="profile a work")
    parser.add_argument("--seconds", type=float, default=10, metavar="S", help="of each work, and of a profile (10)")
    parser.add_argument("--connections", type=int, default=16, metavar="N", help="of the client (16)")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="web processes (2)")
    parser.add_argument(
        "--server", action="append", default=[], choices=SERVERS, metavar="NAME", help="gunicorn (default) or granian"
    )
    parser.add_argument("--sessions", type=int, default=200, metavar="N", help="of the staff who reads users (200)")
    parser.add_argument("--costs", action="store_true", help="what each feature adds to a request")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was seen to a file")
    parser.add_argument("--docs", action="store_true", help="write the figures and charts of docs/performance.md")
    parser.add_argument("--folder", type=Path, default=ROOT / "var/benchmarks/http", help="keeps the data")
    options = parser.parse_args()
    is_apart = (options.profile or options.costs) and not options.only and not options.docs
    options.works = [] if is_apart else options.only or list(NAMES)
    if options.docs:
        options.profile = options.profile or list(PROFILED)
        options.costs = True
    options.server = options.server or list(SERVERS if options.docs else SERVERS[:1])
    return options


def database(stack: Stack, options: argparse.Namespace) -> str:
    """Return the URL of the database for this many rows; create it if it is missing, and load pg_stat_statements."""
    progress(f"stack: PostgreSQL and Valkey in {options.folder}")
    with psycopg.connect(stack.state.urls["DATABASE_URL"], autocommit=True) as connection:
        preloaded = connection.execute("SHOW shared_preload_libraries").fetchone()
        if "pg_stat_statements" not in (preloaded or [""])[0]:
            connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
            connection.execute("ALTER SYSTEM SET shared_buffers = '512MB'")
            connection.execute("ALTER SYSTEM SET max_wal_size = '4GB'")
            stack.restart("postgresql")
    name = f"bench_{options.users}_{options.rows}"
    url = stack.state.urls["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return url.rpartition("/")[0] + f"/{name}"


def fill_apart(environment: dict[str, str], options: argparse.Namespace) -> None:
    """Fill the database in a process whose statements have no bound, unlike those of a web process."""
    command = [*FILL, str(options.users), str(options.rows), str(options.folder / "fill.log")]
    subprocess.run(  # noqa: S603 - argv is constant but for numbers and a path
        command, cwd=ROOT, env=environment | {"PROCESS_KIND": "command"}, check=True
    )


def measured(stack: Stack, url: str, environment: dict[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """Measure the works and the profiles, and return everything that was seen."""
    import redis

    from .costs import costs
    from .data import public_list, sign_in
    from .profiling import profiled
    from .report import machine
    from .works import works

    public = public_list()
    if public is None:
        progress("No list is open to everybody: the works of a public list are left out.")
    people = sign_in(sessions=options.sessions)
    progress("data: requests")
    names = list(dict.fromkeys([*options.works, *options.profile, *(PROFILED if options.costs else ())]))
    made = {work.name: work for work in works(people, public, names)}
    with redis.Redis.from_url(stack.state.urls["REDIS_URL"]) as client:
        client.flushall()  # what an earlier run, and the making of the requests, have left in the cache
    run: dict[str, Any] = {
        "machine": machine(),
        "data": {"users": options.users, "rows": options.rows, "public_list": public},
        "client": {"seconds": options.seconds, "connections": options.connections, "web_processes": options.processes},
        "works": [],
        "profiles": [],
        "costs": {},
    }
    wanted = [made[name] for name in options.works if name in made]
    for server in options.server if wanted else ():
        progress(f"server: {server}")
        with Fleet(environment=environment | {"WEB_SERVER": server}, instances=1, edge=False) as fleet:
            counters = Counters(stack=stack, fleet=fleet, database_url=url)
            run["machine"]["servers"] = counters.versions()
            for work in wanted:
                if not work.once or server == options.server[0]:
                    run["works"].append({"server": server} | work_measured(work, fleet, counters, options))
            counters.close()
    for name in options.profile:
        if name in made:
            progress(f"profile {name}: {options.seconds:g} s")
            run["profiles"].append(profiled(made[name], seconds=options.seconds))
    for name in PROFILED if options.costs else ():
        if name in made:
            progress(f"costs of {name}")
            run["costs"][name] = costs(made[name], turns=max(1, round(options.seconds)))
    run["machine"]["load_after"] = os.getloadavg()[0]
    return run


def work_measured(work: Work, fleet: Fleet, counters: Counters, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one work and return its figures, each of one request unless its name says otherwise."""
    requests = [request.raw() for request in work.requests]
    sent = 0

    def send(*, connections: int = 1, seconds: float = 600, limit: int | None = None) -> Load:
        nonlocal sent
        turned = requests[sent % len(requests) :] + ([] if work.once else requests[: sent % len(requests)])
        plan = Plan(
            port=fleet.webs[0].port or 0,
            requests=turned,
            connections=min(connections, work.connections or connections),
            seconds=seconds,
            limit=limit,
        )
        load = drive_apart(plan)
        sent += load.requests
        if load.refused:
            raise SystemExit(f"{work.name}: {load.statuses}. The first of them:\n{load.refused}")
        return load

    send(connections=4, limit=WARM)
    rounds = []
    for _ in range(ROUNDS):
        before = counters.snapshot()
        send(limit=COUNTED)
        rounds.append(counters.snapshot().since(before))
    memory, before = counters.memory(), counters.snapshot()
    left = len(requests) - sent if work.once else None
    load = send(connections=options.connections, seconds=options.seconds, limit=left)
    added = counters.snapshot().since(before)
    fewest = min(rounds, key=lambda round_: round_.statements.total())
    cpu = {kind: seconds / load.requests * 1e6 for kind, seconds in added.cpu.items()}
    after = counters.memory()
    grown = f"{memory['web']:.1f} to {after['web']:.1f} MiB in {load.requests:,} requests"
    progress(
        f"{work.name}: {load.requests / load.seconds:,.0f}/s, p50 {load.p50_ms:.1f} ms, web {cpu['web']:,.0f} µs, {grown}"
    )
    return {
        "name": work.name,
        "what": work.what,
        "request": f"{work.requests[0].method} {work.requests[0].path.partition('?')[0]}",
        "requests_per_second": load.requests / load.seconds,
        "cpu_us": cpu,
        "queries": fewest.queries / COUNTED,
        "statements": fewest.statements.total() / COUNTED,
        "redis_trips": min(round_.reads for round_ in rounds) / COUNTED,
        "redis_commands": min(round_.commands.total() for round_ in rounds) / COUNTED,
        "memory_before_mib": memory,
        "memory_mib": after,
        "sql": {text: number / COUNTED for text, number in fewest.statements.most_common()},
        **asdict(load),
    }


def drive_apart(plan: Plan) -> Load:
    """Run the client in a process of its own and return what it saw."""
    ran = subprocess.run(  # noqa: S603 - argv is constant
        CLIENT, input=json.dumps(asdict(plan)), capture_output=True, text=True, cwd=ROOT, check=False
    )
    if ran.returncode:
        raise SystemExit(f"The client failed: {ran.stderr[-2000:]}")
    return Load(**json.loads(ran.stdout))


if __name__ == "__main__":
    sys.exit(main())

"""What the service's processes and its two servers count: processor time, memory, statements, round trips."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg
import redis

from tools.fleet import Fleet
from tools.stack import Stack

KINDS = ("web", "postgresql", "redis")
# Statements that bound a transaction or a session. They are counted as statements, but ask nothing of a table.
_CONTROL = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET|RESET|DISCARD|SHOW|SELECT set_config)\b", re.I)
_MIB = 1024**2


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Counters at one moment. ``cpu``: seconds by kind of process. ``statements``: executions by normalised SQL."""

    cpu: dict[str, float]
    statements: Counter[str]
    reads: int
    commands: Counter[str]

    def since(self, before: "Snapshot") -> "Snapshot":
        """Return what has been added since ``before``."""
        return Snapshot(
            cpu={kind: self.cpu[kind] - before.cpu[kind] for kind in self.cpu},
            statements=self.statements - before.statements,
            reads=self.reads - before.reads,
            commands=self.commands - before.commands,
        )

    @property
    def queries(self) -> int:
        """Statements that ask something of a table."""
        return sum(number for sql, number in self.statements.items() if not _CONTROL.match(sql))


class Counters:
    """The counters of a running service.

    Statements are counted by pg_stat_statements, in the service's database only. Round trips to Redis are its
    ``total_reads_processed``: a pipeline and a script are one each, the commands in them are in ``commands``.
    """

    def __init__(self, *, stack: Stack, fleet: Fleet, database_url: str) -> None:
        self._roots = {
            "web": [web.pid for web in fleet.webs],
            "postgresql": [stack.state.pids["postgresql"]],
            "redis": [stack.state.pids["redis"]],
        }
        parts = psycopg.conninfo.conninfo_to_dict(database_url)
        self._database = parts["dbname"]
        self._sql = psycopg.connect(database_url, dbname="postgres", autocommit=True)
        self._sql.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        self._redis = redis.Redis.from_url(stack.state.urls["REDIS_URL"])
        self._redis.ping()  # opens the connection, so that its greeting comes before every snapshot
        self._own_reads = 0

    def close(self) -> None:
        """Close the connections."""
        self._sql.close()
        self._redis.close()

    def snapshot(self) -> Snapshot:
        """Return the counters. Those of Redis leave out this call's own requests."""
        reads = int(self._info("stats")["total_reads_processed"]) - self._own_reads
        found = self._info("commandstats")
        commands = {name.removeprefix("cmdstat_"): facts["calls"] for name, facts in found.items()}
        commands.pop("info", None)
        rows = self._sql.execute(
            "SELECT s.query, sum(s.calls)::bigint FROM pg_stat_statements(true) s JOIN pg_database d ON d.oid = s.dbid "
            "WHERE d.datname = %s GROUP BY s.query",
            [self._database],
        )
        return Snapshot(
            cpu={kind: sum(map(_cpu, pids)) for kind, pids in self._roots.items()},
            statements=Counter(dict(rows.fetchall())),
            reads=reads,
            commands=Counter(commands),
        )

    def memory(self) -> dict[str, float]:
        """Return MiB: the largest web process (RSS), all of PostgreSQL (PSS, shared memory once), Redis (RSS)."""
        webs = [process for pid in self._roots["web"] for process in psutil.Process(pid).children()]
        postmaster = psutil.Process(*self._roots["postgresql"])
        servers = [postmaster, *postmaster.children(recursive=True)]
        return {
            "web": max(process.memory_info().rss for process in webs) / _MIB,
            "postgresql": sum(map(_pss, servers)) / _MIB,
            "redis": psutil.Process(*self._roots["redis"]).memory_info().rss / _MIB,
        }

    def versions(self) -> dict[str, str]:
        """Return the versions of the two servers."""
        info: dict[str, Any] = self._redis.info("server")
        name = info.get("server_name", "redis")
        return {
            "postgresql": self._sql.info.parameter_status("server_version") or "",
            name: info.get(f"{name}_version") or info["redis_version"],
        }

    def _info(self, section: str) -> dict[str, Any]:
        self._own_reads += 1
        found: dict[str, Any] = self._redis.info(section)
        return found


def _cpu(pid: int) -> float:
    """Return the seconds of a process, of its children, and of those that have ended (user and system)."""
    root = psutil.Process(pid)
    own = root.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in root.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0

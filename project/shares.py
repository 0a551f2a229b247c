"""Even shares of an instance's connections for its gunicorn processes.

All processes accept from one socket. The kernel wakes all of them for a new connection, and the first to run takes it: of 32
connections that an edge keeps open, one process may get every one. Here a process that has more connections than another leaves
new ones to it for a few milliseconds; not longer, so that no connection depends on a process that is stuck. If it has more than
twice as many, it also closes some after their responses, so that they come back: a new process has none at first.

The processes see each other's numbers in shared memory, created before the fork (docs/decisions/0133-even-shares.md).
"""

import mmap
import time

WAIT_SECONDS = 0.002  # for which new connections are left to other processes; an idle one needs a tenth of it
WAITS = 5  # one after the other, until another process has accepted a connection
CLOSE_SECONDS = 0.01  # between two connections that are closed because another process has fewer
_SEATS = 128  # processes of an instance, including those that stop
_ABSENT = 2**31 - 1  # connections of a seat without a process
_memory = memoryview(mmap.mmap(-1, 8 * _SEATS)).cast("i")
_connections, _accepted = _memory[:_SEATS], _memory[_SEATS:]
_free = list(range(_SEATS))  # used by the main process alone, which starts all others
for _seat in _free:
    _connections[_seat] = _ABSENT


class Share:
    """The share of one process. The main process creates it before the fork, and leaves it once the process has ended."""

    def __init__(self) -> None:
        self._seat = _free.pop(0) if _free else None
        self._seen = 0  # connections that other processes had accepted when this one last waited
        self._waits = 0
        self._closes_at = 0.0

    def leave(self) -> None:
        """Withdraw from sharing: others leave no connections to this process, and it leaves all to them."""
        if self._seat is not None:
            _connections[self._seat] = _ABSENT
            _free.append(self._seat)
            self._seat = None

    def update(self, connections: int, *, accepted: int = 0) -> None:
        """Publish how many connections this process has, and count those that it has just accepted."""
        if self._seat is not None:
            _connections[self._seat] = connections
            _accepted[self._seat] = (_accepted[self._seat] + accepted) & _ABSENT

    def must_wait(self) -> bool:
        """Return whether this process leaves the next connection to another one for WAIT_SECONDS: it has a quarter more."""
        own, least = self._own(), min(_connections)
        if own <= least + least // 4:
            return False
        self._waits = self._waited() + 1
        return self._waits <= WAITS

    def must_close(self) -> bool:
        """Return whether a connection is closed after its response, because another process has less than half as many."""
        now = time.monotonic()
        if now < self._closes_at:
            return False
        self._closes_at = now + CLOSE_SECONDS
        return self._own() > 2 * (min(_connections) + 1) and self._waited() <= WAITS

    def _own(self) -> int:
        return _ABSENT if self._seat is None else _connections[self._seat]

    def _waited(self) -> int:
        """Return how often this process has waited since another one accepted a connection."""
        seen = sum(_accepted) - (0 if self._seat is None else _accepted[self._seat])
        if seen != self._seen:
            self._seen, self._waits = seen, 0
        return self._waits

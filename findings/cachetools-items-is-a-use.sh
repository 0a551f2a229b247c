#!/bin/sh
# cachetools 8.0.2, CPython 3.11. Two things that the words of the documentation do not suggest:
# - Looking through an LRUCache with items() or values() is a use of every entry, since both fetch each value by its key. After a
#   sweep, the entry that leaves next is the first one in the order of the walk, even if it was the one used last before. keys() and
#   iterating the cache itself change nothing.
# - cached(..., lock=...) holds the lock for the look-up and the store, not for the call: threads that miss at the same moment all
#   call the function. Only cached(..., condition=...) lets the others wait for the first one's result.
#
# Output seen, 2026-11-30:
#   3 entries, "a" used last, a fourth put in: left out "b"; after a walk over items(): left out "a"
#   8 threads that miss together call the function: with lock= 8 times, with condition= 1 time
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cachetools==8.0.2
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import threading
import time

from cachetools import LRUCache, TTLCache, cached


def left_out(walk):
    """Return the key that makes room for a fourth one, with or without a walk over the items before."""
    cache = LRUCache(3)
    for key in "abc":
        cache[key] = key
    cache["a"]
    if walk:
        list(cache.items())
    cache["d"] = "d"
    return (set("abc") - set(cache)).pop()


def calls(**how):
    """Return how often 8 threads that miss at the same moment call the function."""
    count, barrier = [], threading.Barrier(8)

    @cached(TTLCache(1, 60), **how)
    def read():
        count.append(1)
        time.sleep(0.5)
        return 1

    def run():
        barrier.wait()
        read()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(count)


quiet, walked = left_out(walk=False), left_out(walk=True)
print(f'3 entries, "a" used last, a fourth put in: left out "{quiet}"; after a walk over items(): left out "{walked}"')
locked, waited = calls(lock=threading.Lock()), calls(condition=threading.Condition())
print(f"8 threads that miss together call the function: with lock= {locked} times, with condition= {waited} time")
sys.exit(0 if (quiet, walked, waited) == ("b", "a", 1) and locked > 1 else "cachetools behaves otherwise now.")
PYTHON

#!/bin/sh
# redis-py 8.1.0: the database in a URL is whatever digits its path leaves, and no path is refused. redis://host/abc is
# database 0 without a word, and redis://host/1/2 is database 12: the slashes are dropped before the number is read. A
# mistyped path connects, to another database than the one that was meant.
#
# Output seen, 2026-11-30:
#   /3    database 3
#   /abc  database 0
#   /1/2  database 12
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import redis


def database_of(url):
    return redis.Redis.from_url(url).connection_pool.connection_kwargs.get("db", 0)


seen = []
for path in ("/3", "/abc", "/1/2"):
    url = f"redis://127.0.0.1:1{path}"
    seen.append(database_of(url))
    print(f"{path:<5} database {seen[-1]}")
sys.exit(0 if seen == [3, 0, 12] else "redis-py reads such paths in another way now.")
PYTHON

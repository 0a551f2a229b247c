#!/bin/sh
# django-redis 7.0.0 and Django 5.2.19: two CACHES with the same LOCATION share one connection pool, whatever their OPTIONS say,
# since pools are kept by URL alone. The alias that a process uses first decides for both. A second alias with a short timeout
# for requests may therefore wait 30 s, or the one for a nightly job give up after 0.1 s, from one process to the next.
#
# Output seen, 2026-11-30:
#   used first: job
#   job asks for socket_timeout 30, gets 30
#   request asks for socket_timeout 0.1, gets 30
#   one pool for both: True
#   used first: request
#   request asks for socket_timeout 0.1, gets 0.1
#   job asks for socket_timeout 30, gets 0.1
#   one pool for both: True
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check django==5.2.19 django-redis==7.0.0
cat >"$folder/timeouts.py" <<'PYTHON'
import sys

from django.conf import settings

WANTED = {"job": 30, "request": 0.1}
settings.configure(
    CACHES={
        alias: {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "redis://127.0.0.1:6379/0",
            "OPTIONS": {"SOCKET_TIMEOUT": seconds},
        }
        for alias, seconds in {**WANTED, "default": 5}.items()
    }
)
from django_redis import get_redis_connection

# No connection is opened: a client and its pool are made, and nothing is sent.
pools = {alias: get_redis_connection(alias).connection_pool for alias in sys.argv[1:]}
for alias, pool in pools.items():
    print(f"{alias} asks for socket_timeout {WANTED[alias]}, gets {pool.connection_kwargs['socket_timeout']}")
print(f"one pool for both: {len({id(pool) for pool in pools.values()}) == 1}")
PYTHON
for order in "job request" "request job"; do
    echo "used first: ${order% *}"
    "$folder/venv/bin/python" "$folder/timeouts.py" $order | tee -a "$folder/seen"
done
[ "$(grep -c "one pool for both: True" "$folder/seen")" = 2 ] || { echo "django-redis keeps these pools apart now." >&2; exit 1; }

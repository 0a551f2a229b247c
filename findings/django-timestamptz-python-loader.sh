#!/bin/sh
# Django 5.2.19 with psycopg 3.3.9 and psycopg-binary 3.3.9: reads timestamptz columns with a loader written in Python, though
# psycopg's C speedups are installed and used for every other type. Django registers a subclass of psycopg's Python loader
# (django.db.backends.postgresql.psycopg_any) so that values carry the connection's time zone, and a Python subclass hides
# the C one. Lists with two or three times a row spend most of their loading there.
#
# Output seen, 2026-11-30:
#   timestamptz: django.db.backends.postgresql.psycopg_any.register_tzloader.<locals>.SpecificTzLoader (Python)
#   date: psycopg_binary._psycopg.DateLoader (C)
#   one value: 3.3 µs, by psycopg's own loader 0.2 µs
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check django==5.2.19 psycopg==3.3.9 psycopg-binary==3.3.9
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from timeit import repeat
from zoneinfo import ZoneInfo

import psycopg
from psycopg import adapters
from psycopg.pq import Format

from django.conf import settings

settings.configure()
from django.db.backends.postgresql.psycopg_any import get_adapters_template  # noqa: E402

assert psycopg.pq.__impl__ == "binary", psycopg.pq.__impl__
UTC = ZoneInfo("UTC")
template = get_adapters_template(True, UTC)
oid = {name: adapters.types[name].oid for name in ("timestamptz", "date")}
loader = {name: template.get_loader(oid[name], Format.TEXT) for name in oid}
plain = adapters.get_loader(oid["timestamptz"], Format.TEXT)
for name, found in loader.items():
    written = "Python" if "load" in vars(found) or not found.__module__.startswith("psycopg_binary") else "C"
    print(f"{name}: {found.__module__}.{found.__qualname__} ({written})")
value = b"2026-11-30 06:00:00.123456+00"
times = {}
for name, cls in (("django", loader["timestamptz"]), ("psycopg", plain)):
    load = cls(oid["timestamptz"]).load
    load(value)
    times[name] = min(repeat(lambda: load(value), number=20_000, repeat=5)) / 20_000
print(f"one value: {times['django'] * 1e6:.1f} µs, by psycopg's own loader {times['psycopg'] * 1e6:.1f} µs")
in_python = not loader["timestamptz"].__module__.startswith("psycopg_binary")
in_c = loader["date"].__module__.startswith("psycopg_binary") and plain.__module__.startswith("psycopg_binary")
sys.exit(0 if in_python and in_c else "Django or psycopg loads these types in another way now.")
PYTHON

#!/bin/sh
# Django 5.2.19: reading a setting runs a Python function each time. LazySettings caches a value in its __dict__ after the first
# read ("Return the value of a setting and cache it in self.__dict__"), which suggests a plain attribute from then on, but
# it inherits LazyObject.__getattribute__, and that is called before any __dict__ is looked at. In a hot loop, read it once.
#
# Output seen, 2026-11-30:
#   settings.DEBUG, cached in __dict__: True; 1,000 reads call 1,000 Python functions
#   the same attribute of a plain object: 1,000 reads call 0 Python functions
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check django==5.2.19
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from types import SimpleNamespace

from django.conf import settings

settings.configure()


def calls(read):
    """Return how many Python functions 1,000 calls of read() call in turn."""
    counted = []

    def count(frame, event, argument):
        if event == "call" and frame.f_code is not read.__code__:
            counted.append(frame.f_code.co_name)

    sys.setprofile(count)
    for _ in range(1000):
        read()
    sys.setprofile(None)
    return len(counted)


plain = SimpleNamespace(DEBUG=settings.DEBUG)
cached = "DEBUG" in object.__getattribute__(settings, "__dict__")
lazy, direct = calls(lambda: settings.DEBUG), calls(lambda: plain.DEBUG)
print(f"settings.DEBUG, cached in __dict__: {cached}; 1,000 reads call {lazy:,} Python functions")
print(f"the same attribute of a plain object: 1,000 reads call {direct:,} Python functions")
sys.exit(0 if cached and lazy >= 1000 and direct == 0 else "Settings are read in another way now.")
PYTHON

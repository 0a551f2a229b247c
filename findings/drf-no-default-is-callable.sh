#!/bin/sh
# Django REST framework 3.18.3 and Django 5.2.19: the default of a field that has none is a class, `empty` and `NOT_PROVIDED`,
# not an object. So `callable(field.default)`, the obvious test for a default that must be called, is true for a field without
# one, and the call gives an instance that is no value: no error, and a row that is refused later, far from here.
#
# Output seen, 2026-11-30:
#   CharField() of a serializer: callable is True, and calling it makes: empty
#   CharField() of a model: callable is True, and calling it makes: NOT_PROVIDED
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check django==5.2.19 djangorestframework==3.18.3
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from django.conf import settings

settings.configure()
import django

django.setup()
from django.db import models
from rest_framework import serializers

found = {
    "CharField() of a serializer": serializers.CharField().default,
    "CharField() of a model": models.CharField().default,
}
for name, default in found.items():
    made = type(default()).__name__ if callable(default) else "nothing"
    print(f"{name}: callable is {callable(default)}, and calling it makes: {made}")
sys.exit(0 if all(map(callable, found.values())) else "These defaults cannot be called any more.")
PYTHON

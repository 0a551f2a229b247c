#!/bin/sh
# Django REST framework 3.18.3: ListField(max_length=…) validates every item before it looks at the length, so the limit does
# not bound the work, and if an item is wrong the length is not reported at all. A list of serializers (many=True) with the
# same max_length looks at the length first, and validates none.
#
# Output seen, 2026-11-30, lists of 1,000 with max_length=3:
#   ListField: 1,000 items validated, then: max_length
#   ListField, one item wrong: 1,000 items validated, then: invalid
#   many=True: 0 items validated, then: max_length
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check django==5.2.19 djangorestframework==3.18.3
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import django
from django.conf import settings

settings.configure()
django.setup()
from rest_framework import serializers

validated = []


class Number(serializers.IntegerField):
    def to_internal_value(self, data):
        validated.append(data)
        return super().to_internal_value(data)


class Numbers(serializers.Serializer):
    numbers = serializers.ListField(child=Number(), max_length=3)


class Row(serializers.Serializer):
    number = Number()


def codes(errors):
    """Return the codes in nested errors."""
    if isinstance(errors, dict):
        return set().union(*map(codes, errors.values()))
    return {error.code for error in errors}


cases = {
    "ListField": Numbers(data={"numbers": list(range(1000))}),
    "ListField, one item wrong": Numbers(data={"numbers": ["x", *range(999)]}),
    "many=True": Row(data=[{"number": number} for number in range(1000)], many=True, max_length=3),
}
answers = []
for name, serializer in cases.items():
    validated.clear()
    assert not serializer.is_valid()
    answers.append((len(validated), *codes(serializer.errors)))
    print(f"{name}: {len(validated):,} items validated, then: {', '.join(codes(serializer.errors))}")
expected = [(1000, "max_length"), (1000, "invalid"), (0, "max_length")]
sys.exit(0 if answers == expected else "DRF looks at the length at another time now.")
PYTHON

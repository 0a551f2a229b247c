#!/bin/sh
# drf-spectacular 0.30.0 (Django 5.2.19, djangorestframework 3.18.3): an OpenApiSerializerFieldExtension that adds to the
# default schema of its field, by the call that the class's docstring gives for it, says null twice of a field with
# allow_null=True in OpenAPI 3.1. The inner call adds "null" to the type, the outer one adds it again; a type's names must be
# unique (JSON Schema 2020-12, validation, 6.1.1), and its own validate_schema does not notice. Without the extension, or with
# OpenAPI 3.0's nullable, it is said once.
#
# Output seen, 2026-11-30:
#   3.0.3  without the extension {'type': 'string', 'nullable': True}, with it {'type': 'string', 'nullable': True}
#   3.1.0  without the extension {'type': ['string', 'null']}, with it {'type': ['string', 'null', 'null']}
#   its own validate_schema takes the 3.1.0 document; valid JSON Schema: False
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    drf-spectacular==0.30.0 Django==5.2.19 djangorestframework==3.18.3
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import django
from django.conf import settings
from django.urls import path

settings.configure(
    INSTALLED_APPS=["rest_framework", "drf_spectacular"],
    ROOT_URLCONF="__main__",
    REST_FRAMEWORK={"DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema"},
    SPECTACULAR_SETTINGS={"OAS_VERSION": "3.1.0"},
)
django.setup()

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from rest_framework import generics, serializers


class TitleField(serializers.CharField):
    pass


class TitleExtension(OpenApiSerializerFieldExtension):
    target_class = TitleField

    def map_serializer_field(self, auto_schema, direction):
        return auto_schema._map_serializer_field(self.target, direction, bypass_extensions=True)


class Book(serializers.Serializer):
    subtitle = serializers.CharField(allow_null=True)
    title = TitleField(allow_null=True)


class Books(generics.RetrieveAPIView):
    queryset = []
    serializer_class = Book


urlpatterns = [path("book", Books.as_view())]
seen = []
for version in ("3.0.3", "3.1.0"):
    spectacular_settings.OAS_VERSION = version
    document = SchemaGenerator(patterns=urlpatterns).get_schema(request=None, public=True)
    book = document["components"]["schemas"]["Book"]["properties"]
    print(f"{version}  without the extension {book['subtitle']}, with it {book['title']}")
    seen.append((book["subtitle"], book["title"]))
validate_schema(document)
try:
    Draft202012Validator.check_schema(book["title"])
    valid = True
except SchemaError:
    valid = False
print(f"its own validate_schema takes the 3.1.0 document; valid JSON Schema: {valid}")
once = {"type": "string", "nullable": True}
expected = [(once, once), ({"type": ["string", "null"]}, {"type": ["string", "null", "null"]})]
sys.exit(0 if seen == expected and not valid else "drf-spectacular says null of such a field in another way.")
PYTHON

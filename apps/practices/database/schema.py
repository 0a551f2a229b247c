"""The OpenAPI description of lists."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers

from apps.practices.database.cursors import MAX_LENGTH
from apps.practices.validation.schema import text_schema

LIMIT_DEFAULT = 25
LIMIT_MAX = 100
# The position and its signature, as `cursors.cursor_encode` writes them.
_CURSOR = {"type": "string", "maxLength": MAX_LENGTH, "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}$"}

_FILTER_SCHEMAS: list[tuple[type[serializers.Field[Any, Any, Any, Any]], dict[str, Any]]] = [
    (serializers.BooleanField, {"type": "boolean"}),
    (serializers.IntegerField, {"type": "integer"}),
    (serializers.UUIDField, {"type": "string", "format": "uuid"}),
    (serializers.DateTimeField, {"type": "string", "format": "date-time"}),
    (serializers.DateField, {"type": "string", "format": "date"}),
]


def page_of(serializer: type[serializers.BaseSerializer[Any]]) -> serializers.Serializer[Any]:
    """Return the schema of a page of ``serializer``: ``results``, ``next`` and ``previous``."""
    name = serializer.__name__.removesuffix("Serializer")
    about = "Path and query of that page. Use it as it is. null if there is no such page."
    return inline_serializer(
        name=f"{name}Page",
        fields={
            "results": serializer(many=True),
            "next": serializers.CharField(allow_null=True, help_text=about),
            "previous": serializers.CharField(allow_null=True, help_text=about),
        },
    )


def list_parameters(
    *,
    orderings: Sequence[str],
    fields: Sequence[str],
    filters: Mapping[str, serializers.Field[Any, Any, Any, Any]],
    heavy: Sequence[str] = (),
) -> list[OpenApiParameter]:
    """Return the query parameters of a list: those of every list, and its filters. The first ordering is the default."""
    return [
        OpenApiParameter(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
            description="The number of rows in a page.",
        ),
        OpenApiParameter(
            "cursor", _CURSOR, description="The start of the page, from the next or previous of another page."
        ),
        OpenApiParameter("ordering", str, enum=list(orderings), default=orderings[0]),
        OpenApiParameter(
            "fields",
            _fields_schema(fields),
            description=f"The fields to return, separated by commas: {', '.join(fields)}."
            + (f" Default: all but {' and '.join(heavy)}. With these, a page may have fewer rows." if heavy else ""),
        ),
        *(
            OpenApiParameter(name, _filter_schema(field), description=str(field.help_text or ""))
            for name, field in filters.items()
        ),
    ]


def _fields_schema(fields: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of ``fields``."""
    one = f"({'|'.join(fields)})"
    return {"type": "string", "maxLength": 1000, "pattern": f"^{one}(,{one})*$"}


def _filter_schema(field: serializers.Field[Any, Any, Any, Any]) -> dict[str, Any]:
    """Return the JSON schema of a filter's values."""
    schema = next((schema for kind, schema in _FILTER_SCHEMAS if isinstance(field, kind)), {"type": "string"})
    bounds = {"maxLength": "max_length", "minLength": "min_length", "minimum": "min_value", "maximum": "max_value"}
    found = {name: getattr(field, option, None) for name, option in bounds.items()}
    choices = {"enum": list(field.choices)} if isinstance(field, serializers.ChoiceField) else {}
    bounds_found = {name: bound for name, bound in found.items() if bound is not None}
    return {**schema, **choices, **text_schema(field), **bounds_found}


def describe_rows(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Limit pages to LIMIT_MAX rows and make the fields of a row optional. A postprocessing hook of drf-spectacular.

    A row in a page of ``X`` is the component ``XRow``, with the same properties, none of them required. ``X`` is removed if
    nothing else refers to it.
    """
    schemas: dict[str, Any] = result.get("components", {}).get("schemas", {})
    for page in [schema for name, schema in schemas.items() if name.endswith("Page")]:
        rows = page.get("properties", {}).get("results", {})
        name = rows.get("items", {}).get("$ref", "").rpartition("/")[2]
        if name in schemas:
            whole = {key: deepcopy(value) for key, value in schemas[name].items() if key != "required"}
            schemas[f"{name}Row"] = whole
            page["properties"]["results"] = {
                **rows,
                "items": {"$ref": f"#/components/schemas/{name}Row"},
                "maxItems": LIMIT_MAX,
            }
            if f"#/components/schemas/{name}" not in _references(result):
                del schemas[name]
    return result


def _references(node: Any) -> set[str]:
    """Return every ``$ref`` below a node of the document."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    found = {node["$ref"]} if isinstance(node, dict) and isinstance(node.get("$ref"), str) else set()
    return found.union(*map(_references, children))

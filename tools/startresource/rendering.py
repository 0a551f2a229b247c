"""The files of a resource, from the templates beside this module."""

from functools import cache
from pathlib import Path
from typing import Any

from django.template import Context, Engine, Template

from tools.startresource.pieces import (
    field_code,
    fresh,
    in_json,
    in_python,
    in_scenario,
    index_name,
    indexes,
    orderings,
)
from tools.startresource.specification import FieldSpec, Resource

TEMPLATES = Path(__file__).parent / "templates"
MODULES = ("models", "selectors", "services", "serializers", "filters", "permissions", "views", "urls", "admin")
REFUSED = {  # text that is refused, by type
    "int": '"many"',
    "decimal": '"much"',
    "date": '"yesterday"',
    "datetime": '"yesterday"',
    "uuid": '"x"',
    "email": '"nobody"',
    "url": '"ftp://example.com"',
    "bigint": "2**70",
    "choice": '"nothing"',
    "slug": '"no slug"',
}


def rendered(resource: Resource) -> dict[str, str]:
    """Return the text of each file by its path in the project, for an app with only this resource."""
    context = Context(_values(resource), autoescape=False)
    app, tests = f"apps/{resource.label}", f"tests/apps/{resource.label}"
    modules = (
        *("__init__", "apps", *MODULES),
        *(["personal"] if resource.owner else []),
        *(["imports", "exports", "file_views", "tasks"] if resource.has_jobs else []),
    )
    files = {f"{app}/{name}.py": name for name in modules}
    files |= {
        f"{tests}/scenario.py": "scenario",
        f"{tests}/operations.txt": "operations",
        f"{tests}/test_{resource.plural}.py": "test",
        **({f"{tests}/test_{resource.plural}_jobs.py": "test_jobs"} if resource.has_jobs else {}),
    }
    found = {path: _template(name).render(context) for path, name in files.items()}
    return {**found, f"{app}/migrations/__init__.py": "", f"{tests}/__init__.py": ""}


@cache
def _template(name: str) -> Template:
    return Engine(dirs=[str(TEMPLATES)]).get_template(f"{name}.txt")


def _values(resource: Resource) -> dict[str, Any]:
    codes = [field_code(resource, spec) for spec in resource.fields]
    is_confined = bool(resource.owner) and not resource.is_public
    filters = [code for code in codes if code.is_filter]
    texts = [code for code in codes if code.is_present]
    parameters = [
        *("limit", "cursor", "fields", "ordering"),
        *([resource.owner] if resource.owner and not is_confined else []),
    ]
    can_conflict = any(spec.unique for spec in resource.fields)
    labels = sorted({spec.target.label for spec in resource.fields if spec.target} - {resource.label})
    return {
        "resource": resource,
        "label": resource.label,
        "Label": resource.label.title().replace("_", ""),
        "Model": resource.model,
        "entity": resource.entity,
        "words": resource.entity.replace("_", " "),
        "a": "an" if resource.entity[0] in "aeiou" else "a",
        "plural": resource.plural,
        "plural_words": resource.plural.replace("_", " "),
        "path": resource.path,
        "CONST": resource.entity.upper(),
        "LIST": resource.plural.upper(),
        "owner": resource.owner,
        "deleted_with_user": resource.owner
        or any(spec.target and spec.target.deleted_with_user for spec in resource.fields),
        "owner_optional": resource.owner_optional,
        "is_public": resource.is_public,
        "has_jobs": resource.has_jobs,
        "key": next((spec.name for spec in resource.fields if spec.unique), None),
        "is_confined": is_confined,
        "codes": codes,
        "choices": [code for code in codes if code.spec.choices],
        "relations": [code for code in codes if code.spec.target],
        "filters": filters,
        "name": next((code.name for code in texts), None),
        "orderings": list(orderings(resource).items()),
        "indexes": indexes(resource, codes),
        "present": [
            (code.name, index_name(f"{resource.label}_{resource.entity}_{code.name}_present")) for code in texts
        ],
        "unique": [
            (code.name, index_name(f"{resource.label}_{resource.entity}_{code.name}_unique"))
            for code in codes
            if code.spec.unique
        ],
        "parameters": tuple(parameters + [code.name for code in filters]),
        "filter_names": parameters[4:] + [code.name for code in filters],
        "conflicts": "409, " if can_conflict else "",
        "scenario": _scenario(resource, labels),
        "table": _table(resource),
        "test": _test(resource),
    }


def _scenario(resource: Resource, labels: list[str]) -> dict[str, Any]:
    own = any(spec.target and spec.target.label == resource.label for spec in resource.fields)
    varies = any(spec.target or spec.unique for spec in resource.fields)

    def body(number: int, fields: tuple[FieldSpec, ...]) -> list[tuple[str, str]]:
        return [(spec.name, _member(spec, number, own=resource.label)) for spec in fields]

    given = [(spec.name, in_python(spec, 1).replace(f"{resource.label}_scenario.", "")) for spec in resource.fields]
    return {
        "labels": labels,
        "own": own,
        "lambda": "lambda owner: " if varies else "",
        "arguments": given,
        "header": ",".join(spec.name for spec in resource.fields),
        "create": body(2, resource.fields),
        "replace": body(3, resource.fields),
        "update": body(4, resource.fields[:1]),
    }


def _member(spec: FieldSpec, number: int, *, own: str) -> str:
    if spec.target:
        return f"str({in_scenario(spec).replace(f'{own}_scenario.', '')}.pk)"
    if spec.unique and spec.type == "uuid":
        return "str(uuid4())"
    return fresh(spec) if spec.unique else repr(in_json(spec, number))


def _table(resource: Resource) -> list[str]:
    """Return the rows of the table of access rules."""
    base, thing = f"/api/v1/{resource.path}", f"/api/v1/{resource.path}/{{id}}"
    permission = {
        action: f"{resource.label}.{action}_{resource.model.lower()}" for action in ("view", "add", "change", "delete")
    }
    anybody = "200 401 200 200 200 200 200"
    signed_in = "401 401 {0} {0} {0} {0} {0}"
    if not resource.owner:
        read, lists = (anybody, anybody) if resource.is_public else (signed_in.format(200),) * 2
        viewing, create, creating = "-", "401 401 403 403 403 201 201", permission["add"]
        write = "401 401 403 403 403 {0} {0}"
    else:
        create, creating = signed_in.format(201), "-"
        if resource.is_public:
            read, lists, viewing, write = anybody, anybody, "-", "401 401 403 {0} 403 {0} {0}"
        else:
            read, lists, viewing = "401 401 404 200 404 200 200", signed_in.format(200), permission["view"]
            write = "401 401 404 {0} 404 {0} {0}"
    name, on = resource.plural, resource.entity
    jobs = [
        f"{name}_import POST {base}/imports - {creating} {create.replace('201', '202')}",
        f"{name}_export POST {base}/exports - - {signed_in.format(202)}",
    ]
    return [
        *(jobs if resource.has_jobs else []),
        f"{name}_list GET {base} - {viewing} {lists}",
        f"{name}_create POST {base} - {creating} {create}",
        f"{name}_read GET {thing} {on} {viewing} {read}",
        f"{name}_replace PUT {thing} {on} {permission['change']} {write.format(200)}",
        f"{name}_update PATCH {thing} {on} {permission['change']} {write.format(200)}",
        f"{name}_delete DELETE {thing} {on} {permission['delete']} {write.format(204)}",
    ]


def _test(resource: Resource) -> dict[str, Any]:
    required = [spec for spec in resource.fields if not spec.optional and spec.type != "bool"]
    wrong = [(spec.name, REFUSED[spec.type]) for spec in resource.fields if spec.type in REFUSED]
    wrong += [
        (spec.name, f'"x" * {(spec.length or 0) + 1}') for spec in resource.fields if spec.type in ("str", "text")
    ]
    wrong += [(spec.name, '"a\\u0000b"') for spec in resource.fields if spec.type in ("str", "text", "html")]
    wrong += [(spec.name, "str(UUID(int=0))") for spec in resource.fields if spec.target and spec.target.key == "UUID"]
    return {
        "required": [spec.name for spec in required],
        "wrong": wrong,
        "html": next((spec.name for spec in resource.fields if spec.type == "html"), None),
        "change": resource.fields[0].name,
        "change_type": resource.fields[0].type,
        "filters": [spec for spec in resource.fields if spec.kind.is_filter],
        "bools": [spec.name for spec in resource.fields if spec.type == "bool"],
        "unique": [spec.name for spec in resource.fields if spec.unique],
    }

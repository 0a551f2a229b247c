"""A resource's fields as pieces of Python, ready for the templates."""

from dataclasses import dataclass
from hashlib import sha256

from tools.startresource.specification import FieldSpec, Resource

INDEX_NAME = 30  # characters, Django's maximum
SORTED_LENGTH = 500  # no order by longer text: an index entry of PostgreSQL has at most 2,700 bytes


@dataclass(frozen=True, kw_only=True)
class FieldCode:
    """The code for one field in the generated modules."""

    spec: FieldSpec
    name: str
    constant: str
    length: int | None
    length_code: str
    model: str
    write: str
    read: str
    column: str
    annotation: str
    default: str
    choices_name: str
    is_present: bool  # a text that is never empty
    is_filter: bool
    is_heavy: bool  # long: lists show it only on request
    filter_field: str
    filter_annotation: str
    optional_filter: str  # the same, in the parameters of an export
    reference: str  # of a relation: only the id, without a lookup


def field_code(resource: Resource, spec: FieldSpec) -> FieldCode:
    """Return the code for one field."""
    kind, target = spec.kind, spec.target
    constant = f"{resource.entity}_{spec.name}_length".upper()
    choices = f"{resource.model}{''.join(word.title() for word in spec.name.split('_'))}"
    # The fixed length of a type is not written.
    length = spec.length if spec.type in ("str", "text", "html", "slug") else None
    values = {"length": constant if length else spec.length, "digits": spec.digits, "places": spec.places}
    model, write, read = (code.format(**values, choices=choices) for code in (kind.model, kind.write, kind.read))
    annotation, filter_annotation, filter_field = kind.annotation, kind.annotation, write.replace("default=False", "")
    if target is not None:
        filter_annotation = target.key
        model = _called(
            model,
            f'"{target.label}.{target.model}"',
            f"on_delete=models.{_on_delete(spec)}",
            f'related_name="{_related(resource, spec)}"',
        )
        if not (resource.owner and not resource.is_public):
            model = _called(model, "db_index=False")
        write = _called(write, target.model, f"readable={target.readable}")
        read = "serializers.UUIDField()" if target.key == "UUID" else "serializers.IntegerField()"
        filter_field = (
            "CanonicalUUIDField()" if target.key == "UUID" else "BoundedIntegerField(min_value=1, max_value=2**63 - 1)"
        )
        annotation = target.model
    default = ""
    if spec.optional and kind.is_text:
        model, default = _called(model, "blank=True", 'default=""'), '""'
        write, read = _called(write, "allow_blank=True", 'default=""'), _called(read, "allow_blank=True")
    elif spec.optional:
        model, default = _called(model, "null=True", "blank=True"), "None"
        write, read = _called(write, "allow_null=True", "default=None"), _called(read, "allow_null=True")
        annotation = annotation if annotation == "Any" else f"{annotation} | None"
    elif spec.type == "bool":
        default = "False"
    described = f'help_text="Those with this {spec.name.replace("_", " ")}."'
    return FieldCode(
        spec=spec,
        name=spec.name,
        constant=constant,
        length=length,
        length_code=f"{length or 0:_}",
        model=model,
        write=write,
        read=read,
        column=f"{spec.name}_id" if target else spec.name,
        annotation=annotation,
        default=default,
        choices_name=choices,
        is_present=kind.is_text and not spec.optional and spec.type != "choice",
        is_filter=kind.is_filter,
        is_heavy=spec.type in ("text", "html", "json"),
        filter_field=_called(filter_field, described),
        filter_annotation=filter_annotation,
        optional_filter=_called(filter_field, "allow_null=True", "default=None", described),
        reference=_called(filter_field, "allow_null=True", "default=None") if spec.optional else filter_field,
    )


def _on_delete(spec: FieldSpec) -> str:
    """Return the rule for a row whose target is deleted. It must not prevent the deletion of an account."""
    if spec.target is None or not spec.target.deleted_with_user:
        return "PROTECT"
    return "SET_NULL" if spec.optional else "CASCADE"


def orderings(resource: Resource) -> dict[str, tuple[str, ...]]:
    """Return the orders of the list: creation, first line of text, numbers and dates."""
    texts = [spec for spec in resource.fields if spec.type == "str"]
    names = ["created_at"]
    for spec in resource.fields:
        sortable = spec.kind.is_ordered and not spec.optional and (spec.length or 0) <= SORTED_LENGTH
        if sortable and (spec.type != "str" or spec is texts[0]):
            names.append(spec.name)
    columns: dict[str, tuple[str, ...]] = {"-created_at": ("-created_at", "-id"), "created_at": ("created_at", "id")}
    for name in names[1:]:
        columns[name], columns[f"-{name}"] = (name, "id"), (f"-{name}", "-id")
    return columns


def indexes(resource: Resource, codes: list[FieldCode]) -> list[tuple[list[str], str]]:
    """Return columns and name of the index for each order, and for each filter in the default order."""
    scope = [resource.owner] if resource.owner and not resource.is_public else []
    newest = ["-created_at", "-id"]
    found = [([*scope, *newest], "created")]
    for name, columns in orderings(resource).items():
        if not name.startswith("-") and name != "created_at":
            found.append(([*scope, *columns], name))
    filters = [code.name for code in codes if code.is_filter]
    if resource.owner and not scope:
        filters.insert(0, resource.owner)
    found += [([*scope, name, *newest], f"{name}_new") for name in filters]
    words = [word for _, word in found]
    # A field may have one of these names; the later index then gets its position in its name.
    words = [f"{word}_{at}" if word in words[:at] else word for at, word in enumerate(words)]
    names = [index_name(f"{resource.label}_{resource.entity}_{word}") for word in words]
    return [(columns, name) for (columns, _), name in zip(found, names, strict=True)]


def index_name(name: str) -> str:
    """Return a name cut to the length that Django allows, made unique by a digest."""
    if len(name) <= INDEX_NAME:
        return name
    return f"{name[: INDEX_NAME - 7].rstrip('_')}_{sha256(name.encode()).hexdigest()[:6]}"


def in_json(spec: FieldSpec, number: int) -> object:
    """Return value ``number`` of a field as in a JSON body."""
    value = spec.kind.sample(number)
    match spec.type:
        case "choice":
            return spec.choices[number % len(spec.choices)]
        case "decimal":
            return f"{number}.{'0' * spec.places}" if spec.places else str(number)
    return value


def in_python(spec: FieldSpec, number: int) -> str:
    """Return value ``number`` of a field as a Python expression; for a unique field, one that is always new."""
    if spec.target is not None:
        return in_scenario(spec)
    if spec.unique:
        return fresh(spec)
    return spec.kind.python.format(value=in_json(spec, number))


def fresh(spec: FieldSpec) -> str:
    """Return an expression whose value is always new."""
    return spec.kind.fresh.format(length=min(spec.length or 32, 32))


def in_scenario(spec: FieldSpec) -> str:
    """Return the expression that makes the target row in a scenario."""
    target = spec.target
    assert target is not None  # only called for relations
    return f"{target.label}_scenario.OBJECTS[{target.sample!r}](owner)"


def _called(code: str, *arguments: str) -> str:
    """Return the text of a call with further arguments."""
    inside = ", ".join(arguments)
    body = code[:-1].rstrip(", ")
    return f"{body}{inside})" if body.endswith("(") else f"{body}, {inside})"


def _related(resource: Resource, spec: FieldSpec) -> str:
    """Return the related name; none if two relations to the same model would share it."""
    same = [other for other in resource.fields if other.refers_to == spec.refers_to]
    return "+" if len(same) > 1 else resource.plural

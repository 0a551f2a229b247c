"""The command line of startresource: a resource and its fields, or the reason why it is refused."""

import inspect
import keyword
import re
import sys
from dataclasses import dataclass
from typing import Any

from django.db import models
from rest_framework import serializers

from tools.startresource.kinds import KINDS, UNIQUE, Kind

GRAMMAR = (
    "name:type or name:type:argument. Append ? for an optional field, ! for a unique one (unique for each owner if only "
    "owners can read)"
)
LISTS = frozenset({"limit", "cursor", "ordering", "fields"})
KEPT = frozenset(
    {"id", "pk", "version", "created_at", "updated_at", "objects", "seen", "self", "expected", "changes", "given"}
)
# Lower-case names that the generated modules use.
MODULES = frozenset({"models", "serializers", "settings", "timezone", "uuid7", "forms", "admin", "transaction"})
_TAKEN_BY_FIELDS = frozenset(
    {*inspect.signature(serializers.Field.__init__).parameters, *vars(serializers.Serializer())}
)


class Refused(Exception):
    """A resource that cannot be generated. The text says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The target of a relation: a model of one of your apps, and the object that tests use."""

    label: str
    model: str
    entity: str
    key: str  # "UUID" or "int"
    sample: str  # key in OBJECTS of that app's scenario.py
    deleted_with_user: bool  # whether its rows are deleted with their owner's account

    @property
    def module(self) -> str:
        return f"apps.{self.label}.models"

    @property
    def selectors(self) -> str:
        return f"apps.{self.label}.selectors"

    @property
    def readable(self) -> str:
        """The selector that returns the rows that a viewer may read."""
        return f"{snake(self.model)}_readable"


@dataclass(frozen=True, kw_only=True)
class FieldSpec:
    """One requested field."""

    name: str
    type: str
    optional: bool = False
    unique: bool = False
    length: int | None = None
    digits: int = 12
    places: int = 2
    choices: tuple[str, ...] = ()
    refers_to: str = ""
    target: Target | None = None

    @property
    def kind(self) -> Kind:
        return KINDS[self.type]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One requested resource. ``owner`` is the field of a row's owner, if there is one."""

    label: str
    model: str
    plural: str
    is_public: bool
    fields: tuple[FieldSpec, ...]
    owner: str | None = None
    owner_optional: bool = False
    extends: bool = False  # whether its app exists already
    has_jobs: bool = False  # whether it has imports and exports

    @property
    def entity(self) -> str:
        return snake(self.model)

    @property
    def path(self) -> str:
        return self.plural.replace("_", "-")


def snake(name: str) -> str:
    """Return a name in snake case: ``order_line`` for ``OrderLine``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def plural_of(word: str) -> str:
    """Return the regular English plural; ``--plural`` is for irregular ones."""
    if re.search(r"[^aeiou]y$", word):
        return f"{word[:-1]}ies"
    return f"{word}es" if re.search(r"(s|x|z|ch|sh)$", word) else f"{word}s"


def parse(*, name: str, fields: list[str], is_public: bool, plural: str | None, has_jobs: bool = False) -> Resource:
    """Return the resource on the command line; raise ``Refused``."""
    label, _, model = name.partition(".")
    _check_name(name, label, model)
    owner, specs = None, []
    owner_optional = False
    for text in fields:
        spec = _field(text)
        if spec.type == "user":
            if owner:
                raise Refused(f"{text}: {owner} is already the owner. Write a second relation to users by hand.")
            owner, owner_optional = spec.name, spec.optional
        else:
            specs.append(spec)
    names = [*([owner] if owner else []), *(spec.name for spec in specs)]
    plural = plural or plural_of(snake(model))
    _check_entity(label, model, plural)
    _check_names(names, entity=snake(model), plural=plural)
    if not specs:
        raise Refused("A resource needs at least one field other than its owner, such as title:str.")
    if has_jobs:
        _check_file(specs)
    return Resource(
        label=label,
        model=model,
        plural=plural,
        is_public=is_public,
        fields=tuple(specs),
        owner=owner,
        owner_optional=owner_optional,
        has_jobs=has_jobs,
    )


def _check_name(name: str, label: str, model: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,29}", label) or not re.fullmatch(r"[A-Z][A-Za-z0-9]{0,39}", model):
        raise Refused(
            f"{name}: write app.Model, such as shop.Product. The app is in lower case (up to 30 characters), the model in "
            "CamelCase (up to 40)."
        )
    if keyword.iskeyword(label) or "__" in label or label.endswith("_"):
        raise Refused(
            f"{label}: this is not a usable module name. Choose another, such as {label.strip('_').replace('__', '_')}s."
        )
    if re.match(r"Test([A-Z0-9]|$)", model):
        raise Refused(f"{name}: pytest collects classes named {model} as tests. Choose another name.")
    if label in sys.stdlib_module_names:
        raise Refused(f"{label}: a module of Python's standard library has this name. Choose another.")


def _check_entity(label: str, model: str, plural: str) -> None:
    """Refuse a model whose name, or plural, cannot be the name of a variable."""
    better = f"{label.title().replace('_', '')}{model}"
    for word in (model, snake(model)):
        if keyword.iskeyword(word):
            raise Refused(
                f"{label}.{model}: {word} is a Python keyword, and the code needs it as a variable. "
                f"Choose another name, such as {label}.{better}."
            )
    if keyword.iskeyword(plural):
        raise Refused(
            f"--plural {plural}: this is a Python keyword. Choose another word, such as {plural_of(snake(better))}."
        )


def _check_names(names: list[str], *, entity: str, plural: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", plural) or "__" in plural or plural == entity:
        raise Refused(f"--plural {plural}: choose a lower-case word other than {entity}, such as {plural_of(entity)}.")
    for name in names:
        if names.count(name) > 1:
            raise Refused(f"{name}: two fields have this name.")
        if f"{name}_id" in names:
            raise Refused(f"{name}_id: the relation {name} has a column of this name. Rename one of them.")
        if name in (entity, plural):
            raise Refused(f"{name}: the resource itself has this name. Choose another.")


def _check_file(specs: list[FieldSpec]) -> None:
    """Refuse fields that imports and exports do not support."""
    for spec in specs:
        if spec.type == "json":
            raise Refused(
                f"{spec.name}: imports and exports do not support json. Leave out --jobs, or write the import by hand."
            )
        if spec.name in ("context", "file", "format", "on_conflict"):
            raise Refused(f"{spec.name}: imports and exports have a parameter of this name. Choose another.")


def _field(text: str) -> FieldSpec:
    """Return one field; raise ``Refused``."""
    bare = text.rstrip("?!")
    name, _, rest = bare.partition(":")
    kind, *arguments = rest.split(":")
    marks = text[len(bare) :]
    _check_field_name(name)
    if kind not in KINDS and kind != "user":
        raise Refused(f"{text}: there is no type {kind!r}. Write {GRAMMAR}. Types: {', '.join(KINDS)}, user.")
    optional, unique = "?" in marks, "!" in marks
    if unique and (optional or kind not in UNIQUE):
        raise Refused(f"{text}: ! is only for {', '.join(UNIQUE)}, and not together with ?.")
    if optional and kind in ("bool", "choice"):
        raise Refused(f"{text}: leave the ? out. A bool defaults to false. For a choice, add a word for none.")
    try:
        return FieldSpec(name=name, type=kind, optional=optional, unique=unique, **_arguments(kind, arguments))
    except (TypeError, ValueError) as error:
        raise Refused(f"{text}: {error}") from error


def _check_field_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name) or "__" in name or name.endswith("_"):
        raise Refused(f"{name!r}: use lower-case letters, digits and single underscores, at most 50 characters.")
    if keyword.iskeyword(name):
        raise Refused(f"{name}: this is a Python keyword. Choose another name, such as {name}_name.")
    if name in KEPT or name in MODULES:
        raise Refused(f"{name}: every resource has or uses this name. Choose another.")
    if name in LISTS:
        raise Refused(f"{name}: every list has a query parameter of this name. Choose another.")
    if hasattr(models.Model, name):
        raise Refused(f"{name}: Django's models have a method of this name. Choose another.")
    if hasattr(serializers.Serializer, name) or name in _TAKEN_BY_FIELDS:
        raise Refused(f"{name}: serializers have an attribute of this name. Choose another.")


def _arguments(kind: str, arguments: list[str]) -> dict[str, Any]:
    """Return the arguments of a type; raise ``ValueError`` with the reason."""
    readers = {"decimal": _digits, "choice": _choices, "fk": _reference}
    if kind in readers:
        return readers[kind](arguments)
    if not arguments:
        return {} if kind == "user" else {"length": KINDS[kind].length}
    if kind in ("str", "text", "html", "slug") and len(arguments) == 1 and arguments[0].isdecimal():
        length = int(arguments[0])
        if not 8 <= length <= KINDS[kind].longest:
            raise ValueError(f"choose a length of 8 to {KINDS[kind].longest}")
        return {"length": length}
    raise ValueError(f"{kind} does not take {':'.join(arguments)!r}")


def _digits(arguments: list[str]) -> dict[str, Any]:
    if not arguments:
        return {}
    numbers = [int(one) for one in arguments if one.isdecimal()]
    if len(numbers) != len(arguments) or len(numbers) != 2 or not numbers[1] < numbers[0] <= 30:
        raise ValueError(
            "write decimal:digits:places, such as decimal:12:2, with at most 30 digits and at least one before the point"
        )
    return {"digits": numbers[0], "places": numbers[1]}


def _choices(arguments: list[str]) -> dict[str, Any]:
    words = tuple(re.split(r"[,|]", ":".join(arguments)))
    if len(set(words)) != len(words) or len(words) < 2:
        raise ValueError("a choice needs at least two different words: choice:open,done")
    if not all(re.fullmatch(r"[a-z][a-z0-9_]{0,49}", word) and not word.endswith("_") for word in words):
        raise ValueError("write the words of a choice in lower-case letters, digits and underscores")
    return {"choices": words, "length": max(map(len, words))}


def _reference(arguments: list[str]) -> dict[str, Any]:
    if len(arguments) != 1 or not re.fullmatch(r"\w+\.\w+", arguments[0]):
        raise ValueError("name the model that it refers to: fk:shop.Category")
    return {"refers_to": arguments[0]}

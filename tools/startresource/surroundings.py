"""A resource held against what the project has: apps, models, routes, the schema's names."""

from __future__ import annotations

import ast
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from django.apps import apps
from django.contrib.auth import get_user_model
from django.urls import Resolver404, resolve
from drf_spectacular.generators import SchemaGenerator

from apps.operations.catalogue import WORDS
from apps.practices.privacy.personal import deleted_with_user
from tools.startresource.registration import yours
from tools.startresource.specification import FieldSpec, Refused, Resource, Target

_KEYS = {"UUIDField": "UUID", "AutoField": "int", "BigAutoField": "int", "SmallAutoField": "int"}
_OURS = frozenset({*WORDS, "practices", "project", "settings", "tests", "apps", "sample", "tools"})


def settled(resource: Resource, *, root: Path, contracts: str) -> Resource:
    """Give the resource with its relations found, and knowing whether its app is there. Raises ``Refused``."""
    mine = yours(contracts)
    extends = _extends(resource, root=root, mine=mine)
    _check_names(resource)
    fields = tuple(_related(spec, root=root, mine=mine) for spec in resource.fields)
    return replace(resource, fields=fields, extends=extends)


def _extends(resource: Resource, *, root: Path, mine: list[str]) -> bool:
    """Say whether the resource goes into an app of yours. Raises ``Refused`` for a name that something else has."""
    label = resource.label
    if label in mine and apps.is_installed(f"apps.{label}"):
        if any(model.__name__ == resource.model for model in apps.get_app_config(label).get_models()):
            raise Refused(f"{label}.{resource.model}: this model exists. Change it in apps/{label}/, by hand.")
        return True
    if (
        label in mine
        or apps.is_installed(f"apps.{label}")
        or label in {config.label for config in apps.get_app_configs()}
    ):
        raise Refused(f"{label}: an installed app, or a line in pyproject.toml, has this name. Choose another.")
    if label in _OURS:
        raise Refused(f"{label}: a practice or a folder of the project has this name. Choose another.")
    for folder in (root / "apps" / label, root / "tests" / "apps" / label):
        if _holds_files(folder):
            raise Refused(
                f"{folder.relative_to(root)} exists. Nothing is overwritten: move it away, or choose another name."
            )
    return False


def _holds_files(folder: Path) -> bool:
    """Say whether there is anything to lose: git leaves what Python compiled when it takes an app away."""
    return any(path.is_file() and path.parent.name != "__pycache__" for path in folder.rglob("*"))


def _check_names(resource: Resource) -> None:
    """Refuse addresses and names of the OpenAPI document that are taken."""
    for path in (f"/api/v1/{resource.path}", f"/api/v1/{resource.path}/{'0' * 8}-0000-0000-0000-{'0' * 12}"):
        try:
            resolve(path)
        except Resolver404:
            continue
        raise Refused(f"{path} is somebody's address already. Say --plural with another word.")
    schemas = SchemaGenerator().get_schema(request=None, public=True)["components"]["schemas"]
    names = {f"{resource.model}{end}" for end in ("", "Write", "WriteRequest", "Page", "Row")} | {resource.model}
    if taken := sorted(names & set(schemas)):
        raise Refused(f"{resource.model}: the OpenAPI document has a {taken[0]}. Choose another name.")


def _related(spec: FieldSpec, *, root: Path, mine: list[str]) -> FieldSpec:
    """Find what a field refers to."""
    if not spec.refers_to:
        return spec
    label, _, name = spec.refers_to.partition(".")
    try:
        model = apps.get_model(label, name)
    except LookupError as error:
        raise Refused(
            f"{spec.name}: there is no model {spec.refers_to}. Start that resource first, or see ./manage.py showmigrations."
        ) from error
    if model is get_user_model():
        raise Refused(
            f"{spec.name}: say {spec.name}:user for the one whose it is. Who may name other users is yours to write."
        )
    if label not in mine:
        raise Refused(
            f"{spec.name}: {spec.refers_to} is no model of an app of yours ({', '.join(mine) or 'none yet'}): write this by hand."
        )
    kind = model._meta.pk.get_internal_type()
    if kind not in _KEYS:
        raise Refused(f"{spec.name}: the key of {spec.refers_to} is a {kind}; only UUIDs and numbers are written here.")
    entity = model._meta.model_name or ""
    target = Target(
        label=label,
        model=model.__name__,
        entity=entity,
        key=_KEYS[kind],
        sample=_sample(root / "tests" / "apps" / label / "scenario.py", entity, field=spec.name),
        deleted_with_user=deleted_with_user(model),
    )
    if not hasattr(import_module(target.selectors), target.readable):
        raise Refused(
            f"{spec.name}: apps/{label}/selectors.py has no {target.readable}(viewer). A client may refer to what it may "
            f"read, no more: write that function, which returns those rows, as docs/add-a-resource.md shows it."
        )
    return replace(spec, target=target)


def _sample(scenario: Path, entity: str, *, field: str) -> str:
    """Name the object of an app's scenario that is such a model: the one of its name, else the first."""
    tree = ast.parse(scenario.read_text()) if scenario.exists() else ast.Module([], [])
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Dict)
            and ast.unparse(node.targets[0]) == "OBJECTS"
        ):
            keys = [
                key.value for key in node.value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
            ]
            named = [key for key in keys if key.replace("_", "") == entity]
            if keys:
                return (named or keys)[0]
    raise Refused(
        f"{field}: tests/apps/{scenario.parent.name}/scenario.py has no OBJECTS to take a {entity} from. Add one first."
    )

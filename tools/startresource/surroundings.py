"""The check of a resource against the project: apps, models, routes, names in the OpenAPI document."""

import ast
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from django.apps import apps
from django.contrib.auth import get_user_model
from django.urls import Resolver404, resolve
from drf_spectacular.generators import SchemaGenerator

from apps.practices.privacy.personal import deleted_with_user
from tools.prove.practices import WORDS
from tools.startresource.registration import yours
from tools.startresource.specification import FieldSpec, Refused, Resource, Target

_KEYS = {"UUIDField": "UUID", "AutoField": "int", "BigAutoField": "int", "SmallAutoField": "int"}
_OURS = frozenset({*WORDS, "practices", "project", "settings", "tests", "apps", "sample", "tools"})


def settled(resource: Resource, *, root: Path, contracts: str) -> Resource:
    """Return the resource with its relations resolved and ``extends`` set; raise ``Refused``."""
    mine = yours(contracts)
    extends = _extends(resource, root=root, mine=mine)
    _check_names(resource)
    fields = tuple(_related(spec, root=root, mine=mine) for spec in resource.fields)
    return replace(resource, fields=fields, extends=extends)


def _extends(resource: Resource, *, root: Path, mine: list[str]) -> bool:
    """Return whether the resource extends one of your apps; raise ``Refused`` for a name that is taken."""
    label = resource.label
    if label in mine and apps.is_installed(f"apps.{label}"):
        if any(model.__name__ == resource.model for model in apps.get_app_config(label).get_models()):
            raise Refused(f"{label}.{resource.model}: this model exists. Change it by hand in apps/{label}/.")
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
                f"{folder.relative_to(root)} exists and is not overwritten. Move it away, or choose another name."
            )
    return False


def _holds_files(folder: Path) -> bool:
    """Return whether a folder has files other than compiled ones, which git leaves behind when it removes an app."""
    return any(path.is_file() and path.parent.name != "__pycache__" for path in folder.rglob("*"))


def _check_names(resource: Resource) -> None:
    """Refuse addresses, and names in the OpenAPI document, that are taken."""
    for path in (f"/api/v1/{resource.path}", f"/api/v1/{resource.path}/{'0' * 8}-0000-0000-0000-{'0' * 12}"):
        try:
            resolve(path)
        except Resolver404:
            continue
        raise Refused(f"{path} is already in use. Choose another word with --plural.")
    schemas = SchemaGenerator().get_schema(request=None, public=True)["components"]["schemas"]
    names = {f"{resource.model}{end}" for end in ("", "Write", "WriteRequest", "Page", "Row")} | {resource.model}
    if taken := sorted(names & set(schemas)):
        raise Refused(f"{resource.model}: the OpenAPI document already has a {taken[0]}. Choose another name.")


def _related(spec: FieldSpec, *, root: Path, mine: list[str]) -> FieldSpec:
    """Return the field with its target; raise ``Refused``."""
    if not spec.refers_to:
        return spec
    label, _, name = spec.refers_to.partition(".")
    try:
        model = apps.get_model(label, name)
    except LookupError as error:
        raise Refused(
            f"{spec.name}: there is no model {spec.refers_to}. Create that resource first, or check its name."
        ) from error
    if model is get_user_model():
        raise Refused(f"{spec.name}: write {spec.name}:user for the owner. Write relations to other users by hand.")
    if label not in mine:
        raise Refused(
            f"{spec.name}: {spec.refers_to} is not a model of one of your apps ({', '.join(mine) or 'none yet'}). "
            "Write this relation by hand."
        )
    kind = model._meta.pk.get_internal_type()
    if kind not in _KEYS:
        raise Refused(f"{spec.name}: the key of {spec.refers_to} is a {kind}. Only UUIDs and numbers are supported.")
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
            f"{spec.name}: apps/{label}/selectors.py has no {target.readable}(viewer). Clients can only refer to rows that they "
            f"may read. Write that function, which returns those rows, as docs/add-a-resource.md shows."
        )
    return replace(spec, target=target)


def _sample(scenario: Path, entity: str, *, field: str) -> str:
    """Return the name of an object of the model in an app's scenario: the one of that name, else the first."""
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
    raise Refused(f"{field}: tests/apps/{scenario.parent.name}/scenario.py has no {entity} in OBJECTS. Add one first.")

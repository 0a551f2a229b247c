"""Details of conflicts (409): the field whose value is taken, and the rows that prevent a deletion.

They contain no values. Models and numbers of rows are only named if the caller may see these rows.
"""

import re
from collections import defaultdict
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Model, ProtectedError, RestrictedError

from apps.practices.errors import Conflict, FieldError
from apps.practices.errors.mapping import problem_for_viewer
from apps.practices.privacy.personal import personal_data

# PostgreSQL's detail of SQLSTATE 23505: Key (slug, owner_id)=(…) already exists. The words may be translated.
_KEY = re.compile(r"\((.{1,1000}?)\)=\(")


def conflict_of_unique(error: BaseException | None) -> Conflict:
    """Return a conflict that names the fields of the violated unique constraint (psycopg's UniqueViolation), where known."""
    diagnosis = getattr(error, "diag", None)
    key = _KEY.search(getattr(diagnosis, "message_detail", None) or "")
    models = [one for one in apps.get_models() if one._meta.db_table == getattr(diagnosis, "table_name", None)]
    names = _writable_fields(models[0], set(re.findall(r"\w+", key[1]))) if key and models else []
    if not names:
        return Conflict()
    if len(names) == 1:
        detail, explanation = "This value is already in use.", f"The {names[0]} is already in use."
    else:
        listed = " and ".join(names)
        detail = explanation = f"This combination of {listed} is already in use."
    return Conflict(explanation, errors=[FieldError(f"/{name}", "unique", detail) for name in names])


def _writable_fields(model: type[Model], columns: set[str]) -> list[str]:
    """Return the names of the fields of these columns, without the owner, which no request body contains."""
    fields = [field for field in model._meta.concrete_fields if field.column in columns]
    return [one.name for one in fields if one.related_model is not get_user_model()]


@problem_for_viewer.register(ProtectedError)
@problem_for_viewer.register(RestrictedError)
def conflict_of_references(error: ProtectedError | RestrictedError, viewer: Any) -> Conflict:
    """Return a conflict that says how many rows of which models refer to a row and prevent its deletion.

    It counts the rows that ``viewer`` may see: all of a model if they have its "view" or "change" permission, otherwise
    those declared as theirs (``PersonalData``).
    """
    held: dict[type[Model], set[Any]] = defaultdict(set)
    for row in error.protected_objects if isinstance(error, ProtectedError) else error.restricted_objects:
        held[type(row)].add(row.pk)
    counts = {model: _visible_count(model, keys, viewer=viewer) for model, keys in held.items()}
    names = [
        f"{count} {model._meta.verbose_name if count == 1 else model._meta.verbose_name_plural}"
        for model, count in sorted(counts.items(), key=lambda pair: pair[0]._meta.label)
        if count
    ]
    if not names:
        return Conflict("This cannot be deleted: something that you may not see refers to it.")
    verb = "refers" if sum(counts.values()) == 1 else "refer"
    return Conflict(f"This cannot be deleted: {', '.join(names)} {verb} to it. Delete or change them first.")


def _visible_count(model: type[Model], keys: set[Any], *, viewer: Any) -> int:
    label = model._meta.app_label
    names = (f"{label}.{action}_{model._meta.model_name}" for action in ("view", "change"))
    if viewer is None or not viewer.is_authenticated:
        return 0
    if any(map(viewer.has_perm, names)):
        return len(keys)
    own: set[Any] = set()
    for declared in personal_data():
        if declared.model is model and declared.fields:
            own |= set(
                model._base_manager.filter(pk__in=keys, **{declared.user: viewer.pk}).values_list("pk", flat=True)
            )
    return len(own)

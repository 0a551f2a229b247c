"""What a conflict (409) tells: which field another row has the value of, and what still refers to a row.

No value of a row is in it. Names of models and numbers of rows are, of those that the caller may see.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Model, ProtectedError, RestrictedError

from apps.practices.errors import Conflict, FieldError
from apps.practices.errors.mapping import problem_for_viewer
from apps.practices.privacy.personal import personal_data

# PostgreSQL's detail of a 23505: Key (slug, owner_id)=(…) already exists. The words may be translated, the shape is not.
_KEY = re.compile(r"\((.{1,1000}?)\)=\(")


def conflict_of_unique(error: BaseException | None) -> Conflict:
    """Return a conflict that names the fields of the violated unique constraint (psycopg's UniqueViolation), where known."""
    diagnosis = getattr(error, "diag", None)
    key = _KEY.search(getattr(diagnosis, "message_detail", None) or "")
    models = [one for one in apps.get_models() if one._meta.db_table == getattr(diagnosis, "table_name", None)]
    names = _written(models[0], set(re.findall(r"\w+", key[1]))) if key and models else []
    if not names:
        return Conflict()
    detail = "Another one has this value." if len(names) == 1 else f"Another one has this {' and '.join(names)}."
    return Conflict(
        f"There is one with the same {' and '.join(names)} already.",
        errors=[FieldError(f"/{name}", "unique", detail) for name in names],
    )


def _written(model: type[Model], columns: set[str]) -> list[str]:
    """Return the fields of these columns; not the one that says whose a row is, which no body holds."""
    fields = [field for field in model._meta.concrete_fields if field.column in columns]
    return [one.name for one in fields if one.related_model is not get_user_model()]


@problem_for_viewer.register(ProtectedError)
@problem_for_viewer.register(RestrictedError)
def conflict_of_references(error: ProtectedError | RestrictedError, viewer: Any) -> Conflict:
    """Return a conflict that says how many rows of what refer to a row that cannot be deleted because of them.

    Counted are the rows that `viewer` may see: all of a model whose "view" or "change" permission they hold, else those
    declared as theirs (`PersonalData`). The rest is not named.
    """
    held: dict[type[Model], set[Any]] = defaultdict(set)
    for row in error.protected_objects if isinstance(error, ProtectedError) else error.restricted_objects:
        held[type(row)].add(row.pk)
    counts = {model: _visible(model, keys, viewer=viewer) for model, keys in held.items()}
    names = [
        f"{count} {model._meta.verbose_name if count == 1 else model._meta.verbose_name_plural}"
        for model, count in sorted(counts.items(), key=lambda pair: pair[0]._meta.label)
        if count
    ]
    if not names:
        return Conflict("Something refers to this, which the account may not see, so it cannot be deleted.")
    return Conflict(f"Still referred to by {', '.join(names)}. Delete them first, or let them refer to something else.")


def _visible(model: type[Model], keys: set[Any], *, viewer: Any) -> int:
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

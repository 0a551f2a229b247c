"""Conflicts (409): the field whose value is taken, without the value, and a row that others refer to."""

import re

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Model, ProtectedError, RestrictedError

from apps.practices.errors import Conflict, FieldError
from apps.practices.errors.mapping import problem_from

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


@problem_from.register(ProtectedError)
@problem_from.register(RestrictedError)
def _(_exception: Exception) -> Conflict:
    return Conflict("This cannot be deleted: other records refer to it. Delete or change them first.")

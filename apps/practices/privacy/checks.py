"""System checks of personal data."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import FieldError
from django.db import models

from apps.practices.privacy.personal import PersonalData, cascade_columns, personal_data, user_columns


@register("privacy")
def check_personal_data(**_: Any) -> list[CheckMessage]:
    """privacy.E001: each column that refers to users is declared. privacy.E002: none prevents the deletion of an account."""
    declared = personal_data()
    columns = user_columns()
    return [*declaration_errors(declared, columns), *deletion_errors(cascade_columns(columns, declared=declared))]


def declaration_errors(declared: Sequence[PersonalData], columns: Sequence[models.Field]) -> list[CheckMessage]:
    """Return an error for each column without a declaration, and for each declaration that names a missing field."""
    found: list[CheckMessage] = []
    names = {(data.model, data.user) for data in declared}
    for column in columns:
        if (column.model, column.name) not in names:
            arguments = f"name=..., model={column.model.__name__}, user={column.name!r}"
            found.append(
                Error(
                    f"{column} refers to users, but its personal data is not declared.",
                    hint=f"Add PersonalData({arguments}, fields=(...)) to the app's personal.py. "
                    "To leave its rows out of the export, give withheld='reason' instead of fields.",
                    id="privacy.E001",
                )
            )
    for data in declared:
        try:
            data.model._base_manager.filter(**{data.user: None}).values(*data.fields)
        except FieldError as error:
            found.append(Error(f"The personal data {data.name!r}: {error}", id="privacy.E001"))
    return found


def deletion_errors(columns: Sequence[models.ForeignKey[Any, Any]]) -> list[CheckMessage]:
    """Return an error for each column whose ``on_delete`` would prevent the deletion of an account.

    ``columns`` refer to users, or to rows that are deleted with them (``cascade_columns``).
    """
    allowed = (models.CASCADE, models.SET_NULL, models.SET_DEFAULT)
    return [
        Error(
            f"{column} prevents the deletion of an account: its on_delete is "
            f"{getattr(column.remote_field.on_delete, '__name__', None)}, on {column.related_model._meta.label}.",
            hint="Use on_delete=CASCADE or SET_NULL. Or give the PersonalData of "
            f"{column.related_model._meta.label} an erase=... service that deletes these rows first.",
            id="privacy.E002",
        )
        for column in columns
        if column.remote_field.on_delete not in allowed
    ]

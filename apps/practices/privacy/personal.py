"""Personal data: which rows belong to a user, which of their columns the user may export, and what deletion does with them.

Each app declares its own in its ``personal`` module, which is imported from every installed app::

    PersonalData(name="notes", model=Note, user="owner", fields=("id", "title", "body"))

Every column that refers to users needs a declaration. It may withhold the rows, with a reason::

    PersonalData(name="entries", model=Entry, user="editor", withheld="Describes changes to other people's texts.")

Where the columns' ``on_delete`` is not enough, ``erase`` names the service that deletes the rows with the account::

    PersonalData(name="notes", model=Note, user="owner", fields=("id", "title", "body"), erase=notes_erase)
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import models
from django.utils.module_loading import autodiscover_modules

CHUNK_ROWS = 50  # read at a time: a row may hold a text of 100,000 characters


@dataclass(frozen=True, kw_only=True)
class PersonalData:
    """The personal data in one model: ``user`` is the column that refers to its user (``pk`` for the user's own row).

    ``fields`` are exported. ``erase(user_id=…, now=…)`` runs in the transaction that deletes the user, before the user's row
    is deleted. Raises ``ValueError`` unless exactly one of ``fields`` and ``withheld`` is given, and for a name used twice.
    """

    name: str
    model: type[models.Model]
    user: str
    fields: tuple[str, ...] = ()
    withheld: str = ""
    erase: Callable[..., None] | None = None

    declared: ClassVar[dict[str, "PersonalData"]] = {}

    def __post_init__(self) -> None:
        if bool(self.fields) == bool(self.withheld):
            raise ValueError(f"{self.name}: give either fields or withheld")
        if self.declared.setdefault(self.name, self) is not self:
            raise ValueError(f"Personal data {self.name!r} is declared twice")

    def rows(self, *, user_id: object) -> Iterator[dict[str, Any]]:
        """Read the exported fields of the user's rows in the order of their keys, CHUNK_ROWS at a time."""
        found = self.model._base_manager.filter(**{self.user: user_id}).order_by("pk").values(*self.fields)
        return found.iterator(chunk_size=CHUNK_ROWS)


def personal_data() -> list[PersonalData]:
    """Return the declarations of every installed app, sorted by name."""
    autodiscover_modules("personal")
    return [PersonalData.declared[name] for name in sorted(PersonalData.declared)]


def personal_data_erase(*, user_id: object, now: datetime) -> None:
    """Run every app's ``erase`` for a user, in the caller's transaction."""
    for declared in personal_data():
        if declared.erase is not None:
            declared.erase(user_id=user_id, now=now)


def user_columns() -> list[models.ForeignKey[Any, Any]]:
    """Return every column that refers to users, including those of many-to-many tables."""
    return _columns_to(get_user_model())


def cascade_columns(
    columns: Iterable[models.ForeignKey[Any, Any]], *, declared: Iterable[PersonalData]
) -> list[models.ForeignKey[Any, Any]]:
    """Return these columns and, at any depth, those that refer to rows deleted with an account (``CASCADE``).

    Models whose declaration has an ``erase`` are not followed: that service deletes what refers to them.
    """
    seen = {data.model for data in declared if data.erase is not None}
    found = list(columns)
    for column in found:  # grows while it is read
        if column.remote_field.on_delete is models.CASCADE and column.model not in seen:
            seen.add(column.model)
            found += [one for one in _columns_to(column.model) if one not in found]
    return found


def deleted_with_user(model: type[models.Model]) -> bool:
    """Return whether deleting an account deletes rows of the model by ``CASCADE`` alone."""
    columns = cascade_columns(user_columns(), declared=personal_data())
    erased = {data.model for data in PersonalData.declared.values() if data.erase is not None}
    return model not in erased and any(
        column.model is model and column.remote_field.on_delete is models.CASCADE for column in columns
    )


def _columns_to(target: type[models.Model]) -> list[models.ForeignKey[Any, Any]]:
    return [
        field
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy
        for field in model._meta.local_concrete_fields
        if isinstance(field, models.ForeignKey) and field.related_model._meta.concrete_model is target
    ]

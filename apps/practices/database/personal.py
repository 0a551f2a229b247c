"""What is held of a user, declared beside the models: what the user gets when asking for it.

Each app says it in its `personal` module, which is looked for in every installed app::

    PersonalData(name="notes", model=Note, user="owner", fields=("id", "title", "body"))

Every column that refers to users is declared, or says why nobody gets its rows::

    PersonalData(name="entries", model=Entry, user="editor", withheld="What editors did to the texts of others.")

What goes with the account, where the column's ``on_delete`` does not say it all, is a service of the app::

    PersonalData(name="notes", model=Note, user="owner", fields=("id", "title", "body"), erase=notes_erase)
"""

from __future__ import annotations

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
    """Rows of one model by the column that says whose they are (``pk``: the user's own), and what of them is given out.

    ``erase(user_id=…, now=…)`` is called in the transaction that deletes the user, before the row goes.
    """

    name: str
    model: type[models.Model]
    user: str
    fields: tuple[str, ...] = ()
    withheld: str = ""
    erase: Callable[..., None] | None = None

    declared: ClassVar[dict[str, PersonalData]] = {}

    def __post_init__(self) -> None:
        if bool(self.fields) == bool(self.withheld):
            raise ValueError(f"{self.name}: say which fields are given out, or why none are")
        if self.declared.setdefault(self.name, self) is not self:
            raise ValueError(f"two declarations of personal data are named {self.name!r}")

    def rows(self, *, user_id: object) -> Iterator[dict[str, Any]]:
        """Read the user's rows in the order of their keys, CHUNK_ROWS at a time, by the fields' names."""
        found = self.model._base_manager.filter(**{self.user: user_id}).order_by("pk").values(*self.fields)
        return found.iterator(chunk_size=CHUNK_ROWS)


def personal_data() -> list[PersonalData]:
    """Return what every installed app declares, by name."""
    autodiscover_modules("personal")
    return [PersonalData.declared[name] for name in sorted(PersonalData.declared)]


def personal_data_erase(*, user_id: object, now: datetime) -> None:
    """Let every app do what goes with an account's end, in the caller's transaction."""
    for declared in personal_data():
        if declared.erase is not None:
            declared.erase(user_id=user_id, now=now)


def user_columns() -> list[models.ForeignKey[Any, Any]]:
    """Return every column that refers to users, those of many-to-many tables among them."""
    return _columns_to(get_user_model())


def columns_reached(
    columns: Iterable[models.ForeignKey[Any, Any]], *, declared: Iterable[PersonalData]
) -> list[models.ForeignKey[Any, Any]]:
    """Return these columns, and those that refer to rows that go with an account (``CASCADE``), however far.

    Rows whose declaration has an ``erase`` are left to that service, which knows what refers to them.
    """
    left_alone = {data.model for data in declared if data.erase is not None}
    reached = list(columns)
    for column in reached:  # grows on the way
        if column.remote_field.on_delete is models.CASCADE and column.model not in left_alone:
            left_alone.add(column.model)
            reached += [one for one in _columns_to(column.model) if one not in reached]
    return reached


def goes_with_users(model: type[models.Model]) -> bool:
    """Return whether rows of the model go when an account does, by ``CASCADE`` alone."""
    reached = columns_reached(user_columns(), declared=personal_data())
    erased = {data.model for data in PersonalData.declared.values() if data.erase is not None}
    return model not in erased and any(
        column.model is model and column.remote_field.on_delete is models.CASCADE for column in reached
    )


def _columns_to(target: type[models.Model]) -> list[models.ForeignKey[Any, Any]]:
    return [
        field
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy
        for field in model._meta.local_concrete_fields
        if isinstance(field, models.ForeignKey) and field.related_model._meta.concrete_model is target
    ]

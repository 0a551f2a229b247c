"""Kinds of jobs: a registered function with the serializer of its parameters. Adding a kind is a function and this decorator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ImproperlyConfigured
from rest_framework.serializers import Serializer

KindFunction = Callable[..., Mapping[str, Any] | list[Any] | None]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the ledger knows of a kind.

    ``function(context, **parameters)`` returns what becomes ``result``, JSON-able. ``attempts``: how often it is claimed
    before it is parked, unless a claim is given back or has moved the checkpoint. ``seconds``: how long one claim may take.
    ``memory_mib``: what its process may use beyond what it had before, in MiB. ``keep``: whether the row stays after success,
    until retention; without it what was personal in the parameters is gone with the work. ``permission``: the Django
    permission ("shop.add_product") that whoever submits needs, and still needs when the work begins; None: signing in is
    enough. ``staff_read``: whether holders of ``jobs.view_job`` may read the job and its result, besides its owner.
    ``unique``: whether an owner who asks for the same again, with equal parameters, gets the job that has not begun yet; for
    work that only reads.
    """

    name: str
    function: KindFunction
    serializer: type[Serializer]
    queue: str
    attempts: int
    seconds: float
    memory_mib: int
    keep: bool
    permission: str | None
    staff_read: bool
    unique: bool

    def permits(self, user: object) -> bool:
        """Say whether the user may have such work done."""
        return self.permission is None or (isinstance(user, PermissionsMixin) and user.has_perm(self.permission))


_KINDS: dict[str, Kind] = {}


def job_kind(
    name: str,
    *,
    serializer: type[Serializer],
    queue: str = "default",
    attempts: int = 5,
    seconds: float = 3600,
    memory_mib: int = 1024,
    keep: bool = True,
    permission: str | None = None,
    staff_read: bool = False,
    unique: bool = False,
) -> Callable[[KindFunction], KindFunction]:
    """Register the function below as the work of jobs of kind ``name`` ("shop.import"); the values are those of `Kind`."""

    def register(function: KindFunction) -> KindFunction:
        known = _KINDS.get(name)
        if known is not None and known.function.__module__ != function.__module__:
            raise ImproperlyConfigured(f"Two functions want to be jobs of kind {name}.")
        _KINDS[name] = Kind(
            name=name,
            function=function,
            serializer=serializer,
            queue=queue,
            attempts=attempts,
            seconds=seconds,
            memory_mib=memory_mib,
            keep=keep,
            permission=permission,
            staff_read=staff_read,
            unique=unique,
        )
        return function

    return register


def kind_named(name: str) -> Kind | None:
    """The kind, or None: a row may outlive the code that submitted it."""
    return _KINDS.get(name)


def kind_label(name: str) -> str:
    """Name the kind in metrics, whose labels must be few: what the code does not know is ``unknown``."""
    return name if name in _KINDS else "unknown"


def kind_names() -> list[str]:
    """Give the names of all kinds, sorted."""
    return sorted(_KINDS)


def kinds_staff_may_read() -> list[str]:
    """Give the names of the kinds whose jobs are open to holders of ``jobs.view_job``."""
    return [kind.name for kind in _KINDS.values() if kind.staff_read]


def kinds() -> list[Kind]:
    """Every registered kind."""
    return list(_KINDS.values())

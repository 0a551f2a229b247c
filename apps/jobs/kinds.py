"""Kinds of jobs: registered functions, each with the serializer of its parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ImproperlyConfigured
from rest_framework.serializers import Serializer

KindFunction = Callable[..., Mapping[str, Any] | list[Any] | None]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of job.

    - ``function(context, **parameters)`` returns the ``result``, JSON-able.
    - ``attempts``: after how many attempts the job is discarded. Released claims do not count, and the count starts again
      when the checkpoint changes.
    - ``seconds``: the time limit of one attempt. ``memory_mib``: its memory limit in MiB, on top of what the process used before.
    - ``keep``: whether the row is kept after success, until retention. If not, personal data in the parameters goes with it.
    - ``permission``: the Django permission ("shop.add_product") that the owner needs at submission and again at the start of the
      work. None: every signed-in user may submit.
    - ``staff_read``: whether holders of ``jobs.view_job`` and not only its owner, may read the job and its result.
    - ``unique``: whether a submission with the same parameters returns the owner's job that has not started yet. For work
      that only reads.
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
        """Return whether the user may submit jobs of this kind."""
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
    """Register the decorated function as job kind ``name`` ("shop.import"). The arguments are those of ``Kind``."""

    def register(function: KindFunction) -> KindFunction:
        known = _KINDS.get(name)
        if known is not None and known.function.__module__ != function.__module__:
            raise ImproperlyConfigured(f"Job kind {name!r} is registered twice.")
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
    """Return the kind, or None if no code for it is installed: a job may outlive the code that submitted it."""
    return _KINDS.get(name)


def kind_label(name: str) -> str:
    """Return the kind's label in metrics: its name, or ``unknown``, because labels must be few."""
    return name if name in _KINDS else "unknown"


def kind_names() -> list[str]:
    """Return the names of all kinds, sorted."""
    return sorted(_KINDS)


def kinds_staff_may_read() -> list[str]:
    """Return the names of the kinds whose jobs holders of ``jobs.view_job`` may read."""
    return [kind.name for kind in _KINDS.values() if kind.staff_read]


def kinds() -> list[Kind]:
    """Return all registered kinds."""
    return list(_KINDS.values())

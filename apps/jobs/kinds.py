"""Kinds of jobs: registered functions, each with the serializer of its parameters."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ImproperlyConfigured
from rest_framework.serializers import Serializer

KindFunction = Callable[..., Mapping[str, Any] | list[Any] | None]


@dataclass
class JobKind:
    """A kind of job, and the decorator that registers its function: ``@JobKind("shop.import", serializer=…)``.

    - ``function(context, **parameters)`` returns the ``result``, JSON-able.
    - ``attempts``: after how many attempts the job is discarded. Released claims do not count, and the count starts again
      when the checkpoint changes.
    - ``seconds``: the time limit of one attempt. ``memory_mib``: its memory limit in MiB, on top of what the process used before.
    - ``keep``: whether the row is kept after success, until retention. If not, personal data in the parameters is deleted too.
    - ``permission``: the Django permission ("shop.add_product") that the owner needs at submission and again at the start of the
      work. None: every signed-in user may submit.
    - ``staff_read``: whether holders of ``jobs.view_job``, and not only its owner, may read the job and its result.
    - ``unique``: whether a submission with the same parameters returns the owner's job that has not started yet. For work
      that only reads.
    """

    name: str
    _: KW_ONLY
    serializer: type[Serializer]
    queue: str = "default"
    attempts: int = 5
    seconds: float = 3600
    memory_mib: int = 1024
    keep: bool = True
    permission: str | None = None
    staff_read: bool = False
    unique: bool = False
    function: KindFunction = field(init=False)

    def __call__(self, function: KindFunction) -> KindFunction:
        """Register the decorated function; raise ``ImproperlyConfigured`` if another module has registered the name."""
        known = _KINDS.get(self.name)
        if known is not None and known.function.__module__ != function.__module__:
            raise ImproperlyConfigured(f"Job kind {self.name!r} is registered twice.")
        self.function = function
        _KINDS[self.name] = self
        return function

    def permits(self, user: object) -> bool:
        return self.permission is None or (isinstance(user, PermissionsMixin) and user.has_perm(self.permission))


_KINDS: dict[str, JobKind] = {}


def kind_named(name: str) -> JobKind | None:
    """Return the kind, or None if no code for it is installed: a job may outlive the code that submitted it."""
    return _KINDS.get(name)


def kind_label(name: str) -> str:
    """Return the kind's label in metrics: its name, or ``unknown``, because labels must be few."""
    return name if name in _KINDS else "unknown"


def kind_names() -> list[str]:
    return sorted(_KINDS)


def kinds_staff_may_read() -> list[str]:
    """Return the names of the kinds whose jobs holders of ``jobs.view_job`` may read."""
    return [kind.name for kind in _KINDS.values() if kind.staff_read]


def kinds() -> list[JobKind]:
    return list(_KINDS.values())

"""One environment variable, as `variables.py` declares it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from settings import kinds


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One name an operator can set.

    ``default`` holds for every environment that ``defaults`` does not name; None means no value. It may hold the value of
    a variable above it, as ``{PORT}``.
    ``required_in`` names the environments that refuse to boot without it. A ``secret`` is never printed.
    """

    name: str
    why: str
    kind: kinds.Kind = kinds.text
    default: str | None = None
    defaults: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    required_in: frozenset[str] = frozenset()
    secret: bool = False

    def default_for(self, environment: str) -> str | None:
        return self.defaults.get(environment, self.default)


def limit(name: str, why: str, *, default: str, dev: str) -> Variable:
    """Declare a limit: wide in development, out of the way in tests."""
    return Variable(name=name, why=why, kind=kinds.rate, default=default, defaults={"dev": dev, "test": "1000000/15m"})


def days(name: str, why: str, *, default: str, at_least: int) -> Variable:
    """Declare how long something is kept."""
    return Variable(name=name, why=why, kind=kinds.integer(at_least=at_least, at_most=3650), default=default)


def size(name: str, why: str, *, default: int) -> Variable:
    """Declare how many bytes may be kept."""
    return Variable(name=name, why=why, kind=kinds.integer(at_least=1024, at_most=1024**5), default=str(default))


def count(name: str, why: str, *, default: int) -> Variable:
    """Declare how many there may be."""
    return Variable(name=name, why=why, kind=kinds.integer(at_least=1, at_most=1_000_000), default=str(default))

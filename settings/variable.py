"""One environment variable, as ``variables.py`` declares it."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType

from settings import kinds


@dataclass(frozen=True)
class Variable:
    """A name that an operator can set.

    ``default`` is used in every environment that ``defaults`` does not name; None means no value. A default may contain the
    value of a variable above it, such as ``{PORT}``. Environments in ``required_in`` do not start without the variable. The
    value of a ``secret`` is never printed.
    """

    name: str
    why: str
    kind: kinds.Kind = kinds.text
    _: KW_ONLY
    default: str | None = None
    defaults: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    required_in: frozenset[str] = frozenset()
    secret: bool = False

    def default_for(self, environment: str) -> str | None:
        """Return the default as text, or None."""
        return self.defaults.get(environment, self.default)


def limit(name: str, why: str, *, default: str, dev: str) -> Variable:
    """Declare a rate limit. Tests get one that they never reach."""
    return Variable(name, why, kinds.rate, default=default, defaults={"dev": dev, "test": "1000000/15m"})


def integer(name: str, why: str, *, default: int, at_least: int = 1, at_most: int = 1_000_000) -> Variable:
    """Declare a whole number within bounds, both included."""
    return Variable(name, why, kinds.integer(at_least=at_least, at_most=at_most), default=str(default))


def seconds(name: str, why: str, *, default: int) -> Variable:
    """Declare a time of up to a minute, in seconds."""
    return Variable(name, why, kinds.number(at_least=0, at_most=60), default=str(default))


def days(name: str, why: str, *, default: int, at_least: int = 0) -> Variable:
    """Declare how long data is kept, in days."""
    return integer(name, why, default=default, at_least=at_least, at_most=3650)

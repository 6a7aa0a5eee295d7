"""The seam to graphql-core, 3.2 and 3.3: execution with a frozen context, and who is calling, from `info`."""

from .access import get_auth, require_auth
from .context import FrozenContext, FrozenContextError, freeze
from .execution import execute, execute_sync, subscribe
from .protect import protect

__all__ = [
    "FrozenContext",
    "FrozenContextError",
    "execute",
    "execute_sync",
    "freeze",
    "get_auth",
    "protect",
    "require_auth",
    "subscribe",
]

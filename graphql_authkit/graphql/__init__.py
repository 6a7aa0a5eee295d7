"""The seam to graphql-core, 3.2 and 3.3: execution with a frozen context, and who is calling, from `info`."""

from .access import get_auth, require_auth
from .context import FrozenContext, FrozenContextError, freeze
from .execution import execute, execute_sync, subscribe
from .protect import protect
from .rows import batched
from .visibility import visible_to

__all__ = [
    "FrozenContext",
    "FrozenContextError",
    "batched",
    "execute",
    "execute_sync",
    "freeze",
    "get_auth",
    "protect",
    "require_auth",
    "subscribe",
    "visible_to",
]

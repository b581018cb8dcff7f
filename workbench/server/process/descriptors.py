"""File descriptors: as many as the process may have, and how many of them are left to connections."""

from __future__ import annotations

import sys
from typing import Final

ENOUGH: Final = 65_536
"""As many as are asked for, unless more connections are to be taken; some hard limits are a billion."""

_MOST_RESERVED: Final = 512


def raise_descriptor_limit(connections: int) -> int:
    """Raise the soft limit of open files as far as the hard one lets it, and return it.

    `connections`: that many are to be taken. Processes that this one starts inherit it.
    """
    if sys.platform == "win32":
        return ENOUGH
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(ENOUGH, connections + _MOST_RESERVED)
    for limit in (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), 10_240):  # macOS's OPEN_MAX
        if soft != resource.RLIM_INFINITY and soft < limit:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                return limit
            except (OSError, ValueError):
                continue
    return wanted if soft == resource.RLIM_INFINITY else soft


def most_connections(wished: int, descriptors: int) -> int:
    """As many of `wished` as leave a quarter of the descriptors, 512 at most, to models, databases, logs and trials."""
    return max(1, min(wished, descriptors - min(_MOST_RESERVED, descriptors // 4)))

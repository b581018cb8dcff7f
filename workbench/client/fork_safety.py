"""Keeps a forked child from touching its parent's connections.

NOTE: parent and child share epoll objects and sockets. Finalising an asyncio transport in the child would remove the
parent's socket from the parent's epoll, and the parent would wait for ever; an aiohttp session would also complain that
it was never closed. So registered objects become immortal in a child: they are never used there and never finalised,
which is a small leak in a process that is usually short-lived.
"""

from __future__ import annotations

import ctypes
import os
import weakref

_kept: weakref.WeakSet[object] = weakref.WeakSet()


def keep_from_children(thing: object) -> None:
    """Keep a forked child from finalising `thing` and what only it refers to."""
    _kept.add(thing)


def _make_immortal() -> None:
    for thing in _kept:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_make_immortal)

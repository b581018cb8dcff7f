"""Closes a listening socket without resetting connections that wait to be accepted on it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import selectors
import socket
import struct
import sys
import time
from typing import Final

ACCEPT_S: Final = 1.0
"""What the event loop may take to accept those that wait."""

_TURNS: Final = 5
"""Of the loop, from an accept until the protocol has the connection: three in asyncio, two in uvloop."""

_SO_ATTACH_FILTER: Final = 26
_DROP_ALL: Final = struct.pack("=HBBI", 0x06, 0, 0, 0)
"""A classic BPF program of one instruction: return 0, which drops the packet."""


async def accept_last(listener: socket.socket) -> None:
    """Let nobody queue any more, and have the event loop accept all that wait. `listener` is to be closed right after.

    Closed while connections wait in its backlog, a listening socket resets them, and their clients have sent requests
    already. On Linux the packets of further connections are dropped: their clients try again a second later, and are
    refused then. Elsewhere a connection that comes between the last turn here and the close is still reset.
    """
    if sys.platform == "linux":
        code = ctypes.create_string_buffer(_DROP_ALL, len(_DROP_ALL))
        program = struct.pack("@HP", len(_DROP_ALL) // 8, ctypes.addressof(code))
        with contextlib.suppress(OSError):  # a sandbox's kernel that has no filters
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    until = time.monotonic() + ACCEPT_S
    with selectors.DefaultSelector() as waiting:
        waiting.register(listener, selectors.EVENT_READ)
        while waiting.select(0) and time.monotonic() < until:  # noqa: ASYNC110 - the turn is what it waits for
            await asyncio.sleep(0)
    for _ in range(_TURNS):
        await asyncio.sleep(0)

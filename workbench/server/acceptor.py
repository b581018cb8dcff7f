"""Takes the connections of a listening socket, within the caps.

asyncio and uvloop accept whatever waits, and where no descriptor is left the one looks away for a second and the other
closes callers at random. Here a turn of the loop takes a bounded number, each is counted before it costs more than its
descriptor, and where descriptors are short a stranger's is taken back.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from workbench.server.gate.connection_caps import ConnectionCaps, Place, address_of
from workbench.telemetry.rate_limiter import RateLimiter

AT_ONCE: Final = 32
"""Connections accepted in one turn of the loop: some milliseconds with what they cost at once."""

REST_S: Final = 0.1
"""After the process or the machine had no descriptor, or no memory for a socket; callers wait in the backlog."""

TLS_HANDSHAKE_S: Final = 10.0

_SHORT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = logging.getLogger("workbench.server")


class Acceptor:
    """One listening socket. Belongs to the event loop."""

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[Place], asyncio.Protocol],
        caps: ConnectionCaps,
        *,
        refusal: bytes = b"",
        tls: ssl.SSLContext | None = None,
        is_remote: Callable[[str, str], bool] | None = None,
    ) -> None:
        """`make`: the protocol of a connection; it sets its Place's `evict`, and releases it when it is lost.
        `refusal`: what one too many is told before it is closed. `is_remote`: of the address of ours that was
        called and the caller's, whether the caller is on another machine; None: nobody is."""
        self._listener = listener
        self._make = make
        self._caps = caps
        self._refusal = refusal
        self._tls = tls
        self._is_remote = is_remote
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._rest: asyncio.TimerHandle | None = None
        self._lines = RateLimiter(0.1, 1)
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Accept no more, and close the listening socket. Connections that were accepted go on."""
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _SHORT:
                    self._take_a_rest(error)
                    return
                continue  # its caller has left again
            place = self._caps.take(address_of(address))
            if place is None:
                self._refuse(accepted)
                continue
            place.address = _name(address) or place.address
            if self._is_remote is not None:
                place.remote = self._is_remote(_called(accepted), _name(address))
            accepted.setblocking(False)
            task = self._loop.create_task(self._open(accepted, place))
            place.evict = task.cancel
            self._opening.add(task)
            task.add_done_callback(partial(self._opened, accepted, place))

    async def _open(self, accepted: socket.socket, place: Place) -> None:
        await self._loop.connect_accepted_socket(
            lambda: self._make(place),
            accepted,
            ssl=self._tls,
            ssl_handshake_timeout=TLS_HANDSHAKE_S if self._tls is not None else None,
        )

    def _opened(self, accepted: socket.socket, place: Place, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if task.cancelled() or task.exception() is not None:  # it made room, its TLS is bad, or it left meanwhile
            place.release()
            accepted.close()

    def _refuse(self, accepted: socket.socket) -> None:
        with accepted, suppress(OSError):
            accepted.setblocking(False)
            if self._refusal:
                accepted.send(self._refusal)
                accepted.shutdown(socket.SHUT_WR)
                accepted.recv(65536)  # what is unread at the close would reset it, and might cost it our words

    def _take_a_rest(self, error: OSError) -> None:
        made_room = self._caps.close_a_stranger("and there are no more descriptors")
        if self._lines.take(time.monotonic()):
            log.error("no connection can be accepted: %s; tried again soon", error.strerror)
        self._loop.remove_reader(self._listener)
        self._rest = self._loop.call_later(0.0 if made_room else REST_S, self._go_on)

    def _go_on(self) -> None:
        self._rest = None
        self._loop.add_reader(self._listener, self._accept)


def _name(address: object) -> str:
    """The host of an address as sockets give it; empty for one without."""
    return str(address[0]) if isinstance(address, tuple) else ""


def _called(accepted: socket.socket) -> str:
    """The address of ours that was called; empty where it is not known any more."""
    try:
        return _name(accepted.getsockname())
    except OSError:
        return ""

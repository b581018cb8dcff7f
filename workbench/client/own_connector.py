"""Opens connections to a service of this user, and leaves those at whose other end is another user.

A port is free for anybody once its service has ended. Nothing is sent before the other end was looked at, once for each
connection.
"""

from __future__ import annotations

from typing import Any

import aiohttp

from workbench.rendezvous.process_identity import ProcessHandle
from workbench.rendezvous.socket_owner import is_own, owner_of_peer


class ForeignListenerError(aiohttp.ClientConnectorError):
    """Another user's process listens where the service did. Nothing was sent to it."""


class OwnConnector(aiohttp.TCPConnector):
    """Connects to processes of this user only. `keeper` is the service's, if it is known; where the system does not
    tell whose a socket is, it decides whether that one lives."""

    def __init__(self, keeper: ProcessHandle | None, **options: Any) -> None:
        super().__init__(**options)
        self._keeper = keeper

    # The place where aiohttp itself tells connectors of TCP and of Unix sockets apart: every new connection comes from
    # here, and none that is used again.
    async def _create_connection(self, *arguments: Any, **named: Any) -> Any:
        protocol = await super()._create_connection(*arguments, **named)
        transport = protocol.transport
        assert transport is not None
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if not peer or not own:
            transport.abort()
            raise aiohttp.ClientConnectorError(arguments[0].connection_key, ConnectionResetError("it has left already"))
        if not is_own(owner_of_peer(peer[:2], own[:2]), None if self._keeper is None else self._keeper.alive):
            transport.abort()
            raise ForeignListenerError(arguments[0].connection_key, PermissionError("another user listens there"))
        return protocol

"""Sends requests of others on to a service of this user, bodies and answers piece by piece, and holds none whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from workbench.client.fork_safety import keep_from_children
from workbench.client.trusted_certificates import client_context
from workbench.errors import Unavailable
from workbench.rendezvous.process_identity import ProcessHandle
from workbench.rendezvous.service_record import ServiceRecord

if TYPE_CHECKING:
    import aiohttp

CONNECT_S: Final = 5.0

PIECE_BYTES: Final = 64 * 1024
"""About the most that is held of an answer."""

_NOT_OURS: Final = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
"""What aiohttp would say in the caller's place."""

_LOST: Final = "the service ended or broke off; it is usually back within seconds"


class ForwardedAnswer:
    """An answer whose body is still to come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.reason = response.reason or ""
        self.headers: list[tuple[str, str]] = list(response.headers.items())

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes, compressed where it is. Raises Unavailable where it breaks off."""
        import aiohttp

        try:
            async for piece in self._response.content.iter_any():
                yield piece
        except (aiohttp.ClientError, OSError):
            raise Unavailable(_LOST) from None


class Forwarder:
    """Calls the service of `record`, over at most `connections` connections, and no process of another user.

    It adds nothing to a request: no token, no cookie, no header but Host and what frames the body.
    """

    def __init__(self, record: ServiceRecord, connections: int) -> None:
        self.record = record
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: AsyncIterator[bytes] | bytes | None
    ) -> AsyncIterator[ForwardedAnswer]:
        """Send a request. The answer may come before the body was read; leaving the context ends what is under way.

        Raises Unavailable where the service cannot be reached or breaks off before its answer.
        """
        import aiohttp
        from yarl import URL

        try:
            response = await self._connected().request(
                method,
                URL(self.record.url + path, encoded=True),
                data=body,
                headers=headers,
                skip_auto_headers=_NOT_OURS,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError):
            raise Unavailable(_LOST) from None
        async with response:
            yield ForwardedAnswer(response)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _connected(self) -> aiohttp.ClientSession:
        import aiohttp

        from workbench.client.own_connector import OwnConnector

        if self._session is None:
            options: dict[str, Any] = {"limit": self._connections}
            if self.record.url.startswith("https:"):
                options["ssl"] = client_context(self.record.ca_file, own=True)
            self._session = aiohttp.ClientSession(
                connector=OwnConnector(ProcessHandle(self.record.keeper), **options),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=PIECE_BYTES,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            )
            keep_from_children(self._session)
        return self._session

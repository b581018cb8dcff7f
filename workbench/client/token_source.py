"""A service's token, and the file from which it is read again once the service refuses it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.rendezvous.token_file import read_token


class TokenSource:
    """Shared by the clients of one service. Belongs to one event loop at a time."""

    def __init__(self, token: str | None, path: str | Path | None = None) -> None:
        self.token = token
        self.path = Path(path) if path else None
        """None: it is known by itself alone, and cannot be read again."""

    async def renewed(self, refused: str | None) -> bool:
        """Whether there is another token than `refused` by now: another call has read it, or the file holds it."""
        if self.token == refused and self.path is not None:
            try:
                self.token = await asyncio.to_thread(read_token, self.path)
            except WorkbenchError:
                return False
        return self.token != refused

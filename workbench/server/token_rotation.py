"""Replaces the owner's token while the service lives. The one in the file counts, now and after any restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from workbench.errors import Unsupported
from workbench.rendezvous.token_file import check_replaceable, new_token, write_token
from workbench.server.gate.auth import Caller, Gate, token_replaced

log = logging.getLogger("workbench.serve")


class TokenRotation:
    """Belongs to the event loop. `path` None: the service asks for no token.

    Wherever the process dies, exactly one token is valid: that in the file. The new one is taken beside the old one
    just before it is written, so that whoever reads the file at once is not refused, and the old one is revoked right
    after.
    """

    def __init__(self, gate: Gate, path: Path | None, secret: Callable[[str], object]) -> None:
        """`secret` is told each new token, to keep it out of the log."""
        self._gate = gate
        self._path = path
        self._secret = secret
        self._one_at_a_time = asyncio.Lock()
        self.on_rotated: Callable[[], object] = lambda: None
        """Called once the old token is revoked."""
        self.count = 0

    async def rotate(self, caller: Caller) -> Path:
        """Replace the token, on behalf of `caller`; the file with the new one. From then on no other one is valid.

        Raises StorageError where the file cannot be replaced, and Unsupported where there is no token; the old one
        stays valid then.
        """
        if self._path is None:
            raise Unsupported("the service asks for no token, so there is none to replace")
        # Not to be cancelled in the middle, nor may the next one begin before its end: file and gate must agree.
        await asyncio.shield(asyncio.ensure_future(self._replace(caller, self._path)))
        return self._path

    def _checked_new_token(self, path: Path) -> str:
        check_replaceable(path)
        return new_token()

    async def _replace(self, caller: Caller, path: Path) -> None:
        async with self._one_at_a_time:
            if caller.revoked:  # another call has replaced it meanwhile
                raise token_replaced()
            token = await asyncio.to_thread(self._checked_new_token, path)
            self._secret(token)
            self._gate.prepare_token(token)
            try:
                await asyncio.to_thread(write_token, path, token)
            except BaseException:
                self._gate.keep_token()
                raise
            self._gate.replace_token()
            self.count += 1
            log.info("the token was replaced; no other one is valid any more")
            self.on_rotated()

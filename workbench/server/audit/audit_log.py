"""Writes down who did what to the service: what was done before its caller is answered, refusals in bundles.

An action that was done is not undone, nor its answer held back, because it could not be written down: its owner would
have no way to act on a full disk. Such a failure is logged, once until one succeeds, and counted.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from workbench.core.audit_entry import AuditEntry
from workbench.errors import StorageError, WorkbenchError
from workbench.protocols.status_codes import UNFORESEEN
from workbench.server.audit.audit_store import AuditStore
from workbench.share.share_token import PREFIX
from workbench.visible_text import visible

TEXT: Final = 200
"""Characters of each text that are kept."""

BUNDLE_S: Final = 60.0
"""Refusals that are alike within this time are one row."""

MAX_BUNDLES: Final = 8
"""Rows of refusals in that time; all others are one more."""

MAX_WRITING: Final = 64
"""Rows on their way to the disk, beyond which failed actions count among the refusals."""

SEVERAL: Final = "several"

_SHARE_TOKEN: Final = re.compile(PREFIX + r"[A-Za-z0-9_-]+")

log = logging.getLogger("workbench.server")


@dataclass(frozen=True, slots=True)
class Source:
    """From where something was asked."""

    who: str
    way: str
    address: str
    agent: str
    anonymous: bool = False
    """No token came with it: anybody can have it done, or refused, any number of times."""


_SERVICE: Final = Source("service", "service", "", "")


@dataclass(slots=True)
class Noted:
    """What is to be written down about an action under way; the code that carries the action out fills it in."""

    subject: str = ""
    detail: str = ""


class AuditLog:
    """Belongs to the event loop; the disk is written to in threads."""

    def __init__(
        self,
        store: AuditStore,
        failed: Callable[[int], object],
        without_secrets: Callable[[str], str] = lambda text: text,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`failed` is told how many rows could not be written. `without_secrets` replaces those that are known."""
        self._store = store
        self._failed = failed
        self._without_secrets = without_secrets
        self._wall = wall
        self._failing = False
        """The last row could not be written, and the log says so."""
        self._bundles: dict[tuple[str, str, Source], tuple[float, int, float]] = {}
        """(action, code, source) -> when the first of these refusals was, how many there were, when the last was."""
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def noting(self, action: str, source: Source, noted: Noted) -> AsyncIterator[None]:
        """Write down what is done within the context, and how it ended, at its end."""
        outcome = "ok"
        try:
            yield
        except WorkbenchError as error:
            outcome = error.code
            raise
        except Exception:
            outcome = WorkbenchError(UNFORESEEN).code
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            if outcome != "ok" and (source.anonymous or len(self._writing) >= MAX_WRITING):
                self.refused(action, outcome, source)
            else:
                written = self._write(partial(self._store.add, self._entry(action, outcome, source, noted)), 1)
                if outcome == "ok":
                    await asyncio.shield(written)

    async def done_by_service(self, action: str, subject: str, detail: str) -> None:
        """Write down what the service did for which nobody asked at that moment."""
        async with self.noting(action, _SERVICE, Noted(subject, detail)):
            pass

    def refused(self, action: str, outcome: str, source: Source) -> None:
        """Count a refusal among those of this minute that are alike."""
        key = action, outcome, source
        if key not in self._bundles and len(self._bundles) >= MAX_BUNDLES:
            key = SEVERAL, SEVERAL, Source(SEVERAL, SEVERAL, SEVERAL, SEVERAL)
        now = self._wall()
        first, count = self._bundles.get(key, (now, 0, now))[:2]
        self._bundles[key] = first, count + 1, now
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BUNDLE_S, self._write_bundles)

    async def entries(self, since: float, limit: int) -> list[AuditEntry]:
        """The latest `limit` that ended at `since` or later, the oldest first. Raises StorageError."""
        await self.flush()
        return await asyncio.to_thread(self._store.entries, since, limit)

    async def done_to(self, subject: str, actions: Collection[str], limit: int) -> list[AuditEntry]:
        """The latest `limit` of these actions that were done to one subject, the oldest first. Raises StorageError."""
        await self.flush()
        return await asyncio.to_thread(self._store.done_to, self._text(subject), actions, limit)

    async def flush(self) -> None:
        """Write what is still to be written."""
        self._write_bundles()
        await asyncio.shield(asyncio.gather(*self._writing))

    def _write_bundles(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        bundles, self._bundles = self._bundles, {}
        if bundles:
            rows = [
                dataclasses.replace(self._entry(*key[:2], key[2], Noted()), at=last, since=first, count=count)
                for key, (first, count, last) in bundles.items()
            ]
            self._write(partial(self._store.add_refusals, rows), len(rows))

    def _entry(self, action: str, outcome: str, source: Source, noted: Noted) -> AuditEntry:
        text = self._text
        return AuditEntry(
            self._wall(),
            text(action),
            text(noted.subject),
            text(noted.detail),
            outcome,
            text(source.who),
            source.way,
            text(source.address),
            text(source.agent),
        )

    def _text(self, text: str) -> str:
        """`text` without secrets, first of all: what is cut off may be the end of one."""
        return visible(_SHARE_TOKEN.sub("[token]", self._without_secrets(text)))[:TEXT]

    def _write(self, write: Callable[[], None], rows: int) -> asyncio.Task[None]:
        """Not to be cancelled in the middle: whether it was written must be known."""
        task = asyncio.get_running_loop().create_task(self._written(write, rows))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    async def _written(self, write: Callable[[], None], rows: int) -> None:
        try:
            await asyncio.to_thread(write)
        except StorageError as error:
            self._failed(rows)
            if not self._failing:
                log.error("the audit cannot be written, and what is done goes on without it: %s", error.message)
            self._failing = True
            return
        if self._failing:
            log.warning("the audit can be written again")
        self._failing = False

"""The service's shares: made, claimed, listed and revoked. No token is given out whose digest is not on the disk."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from workbench.errors import Conflict, InvalidInput, NotFound, StorageError, Unsupported
from workbench.server.gate.auth import Caller, Gate
from workbench.server.gate.share_caller import ShareCaller, since_boot
from workbench.share.share_record import ShareRecord
from workbench.share.share_store import ShareStore, StoredShare
from workbench.share.share_token import digest_of, new_code, new_share_id, new_share_token
from workbench.telemetry.share_usage import ShareFigures, ShareLabels

CODE_LIFE_S: Final = 3600.0
"""How long a link can be redeemed."""

KEEP_USE_S: Final = 5.0
"""What shares used of their quotas in the last so many seconds is forgotten where the service is killed."""

MAX_SHARES: Final = 256
"""That hold at once."""

T = TypeVar("T")

log = logging.getLogger("workbench.server")


class Shares:
    """Belongs to the event loop; the disk is written to in threads, one change after another."""

    def __init__(
        self,
        gate: Gate,
        store: ShareStore,
        wall: Callable[[], float] = time.time,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Reads the shares that `store` has kept. Calls `changed` at each change of one, and at its first call."""
        self._gate = gate
        self._store = store
        self._wall = wall
        self._since_boot: Callable[[], float] = since_boot
        self._changed = changed
        self._noting: set[asyncio.Future[None]] = set()
        self._used: set[ShareCaller] = set()
        """Callers whose use of a quota is not on the disk yet."""
        self._revoked: set[ShareCaller] = set()
        """Callers that were revoked while the disk was full, which is not written down yet."""
        self._keeping: asyncio.TimerHandle | None = None
        self._callers: dict[str, ShareCaller] = {}
        """By id, those that have ended too."""
        self._by_token: dict[bytes, ShareCaller] = {}
        self._codes: dict[bytes, tuple[ShareCaller, float, float]] = {}
        """Digest of a link's code -> whose token it gives, and until when: Unix time, and on `since_boot`.

        It is over with the first of both, so that a clock that is set back does not prolong it."""
        self._labels = ShareLabels()
        self._one_at_a_time = asyncio.Lock()
        gate.share_of = self._caller_of
        for each in store.shares():
            caller = ShareCaller(each.record, self._first_called, wall=wall, on_use=self._on_use, used=each.use)
            self._callers[each.record.id] = caller
            if each.token is not None:
                self._by_token[each.token] = caller
            if each.code is not None:
                left_s = min(each.code_until - wall(), CODE_LIFE_S)
                self._codes[each.code] = caller, each.code_until, self._since_boot() + left_s

    def _caller_of(self, token: bytes) -> Caller | None:
        caller = self._by_token.get(digest_of(token))
        return None if caller is None or caller.revoked or caller.expired else caller

    def shares(self) -> list[tuple[ShareCaller, bool]]:
        """All that are kept, the oldest first, and whether each one's token was given out."""
        claimed = {caller.record.id for caller in self._by_token.values()}
        return [(caller, caller.record.id in claimed) for caller in self._callers.values()]

    def figures(self) -> list[ShareFigures]:
        """What they were used for, for the metrics."""
        callers = self._callers.values()
        return self._labels.figures(
            (each.record.label, each.usage, each.refused, each.in_flight) for each in callers if each.usage is not None
        )

    async def add(self, asked: ShareRecord, *, show_token: bool) -> tuple[ShareRecord, str, str]:
        """Make a share of the terms in `asked`, whose id does not count: (share, token, code), of which one is empty.

        Raises Conflict for a label that a share which holds has, InvalidInput for too many, StorageError.
        """
        if not self._gate.asks_for_token:
            raise Unsupported(
                "this service asks for no token (--no-auth), so whoever reaches it calls its models already"
            )
        return await self._alone(lambda: self._add(asked, show_token))

    async def _add(self, asked: ShareRecord, show_token: bool) -> tuple[ShareRecord, str, str]:
        holding = [each.record for each in self._callers.values() if not each.revoked and not each.expired]
        if (same := next((each for each in holding if each.label == asked.label), None)) is not None:
            raise Conflict(
                f"there is a share {same.label!r} already ({same.id}): revoke it first, or take another label"
            )
        if len(holding) >= MAX_SHARES:
            raise InvalidInput(f"{MAX_SHARES} shares hold, as many as there may be: revoke some first")
        record = dataclasses.replace(asked, id=new_share_id())
        token, code = (new_share_token(), "") if show_token else ("", new_code())
        until = self._wall() + CODE_LIFE_S
        token_digest = digest_of(token.encode()) if token else None
        code_digest = digest_of(code.encode()) if code else None
        await asyncio.to_thread(self._store.add, StoredShare(record, token_digest, code_digest, until))
        caller = self._callers[record.id] = ShareCaller(record, self._first_called, on_use=self._on_use)
        if token_digest is not None:
            self._by_token[token_digest] = caller
        if code_digest is not None:
            self._codes[code_digest] = caller, until, self._since_boot() + CODE_LIFE_S
        self._changed()
        return record, token, code

    async def claim(self, code: str) -> tuple[ShareRecord, str]:
        """The share whose link holds `code`, and its token, which nobody is given again.

        Raises NotFound for a code that is wrong, used up, too old, or of a share that has ended; StorageError, and
        then the code is still good.
        """
        return await self._alone(lambda: self._claim(digest_of(code.encode("utf-8", "surrogatepass"))))

    async def _claim(self, digest: bytes) -> tuple[ShareRecord, str]:
        caller, until, ends_at = self._codes.get(digest, (None, 0.0, 0.0))
        if caller is None or self._wall() >= until or self._since_boot() >= ends_at or caller.revoked or caller.expired:
            raise NotFound(
                "this link gives no token: it was used already, is older than an hour, or its share has ended; ask "
                "whoever sent it for another"
            )
        token = new_share_token()
        token_digest = digest_of(token.encode())
        await asyncio.to_thread(self._store.claim, caller.record.id, token_digest)
        del self._codes[digest]
        self._by_token[token_digest] = caller
        self._changed()
        return caller.record, token

    async def revoke(self, name: str) -> ShareRecord:
        """End the share with this id, or this label. It has ended when this raises StorageError too; that it has is
        then written down once it can be, and a restart before that brings it back.

        Raises NotFound.
        """
        return await self._alone(lambda: self._revoke(name))

    def holding(self, name: str) -> ShareCaller:
        """The share with this id, or this label, which holds. Raises NotFound."""
        caller = self._named(name)
        if caller.revoked or caller.expired:
            raise NotFound(f"share {caller.record.label!r} ({caller.record.id}) has ended; %infer shares lists them")
        return caller

    def _named(self, name: str) -> ShareCaller:
        """By its id also one that has ended. Raises NotFound."""
        caller = self._callers.get(name)
        if caller is None:
            mine = [each for each in self._callers.values() if each.record.label == name]
            caller = next((each for each in mine if not each.revoked and not each.expired), None)
        if caller is None:
            raise NotFound(f"no share that holds has the id or the label {name[:80]!r}; %infer shares lists them")
        return caller

    async def _revoke(self, name: str) -> ShareRecord:
        caller = self._named(name)
        at = self._wall()
        if not caller.revoked:
            caller.revoked = True
            caller.record = dataclasses.replace(caller.record, revoked_at=at)
            self._codes = {code: each for code, each in self._codes.items() if each[0] is not caller}
            for told in self._gate.on_revoked:
                told()
            self._changed()
        try:
            await asyncio.to_thread(self._store.revoke, caller.record.id, caller.record.revoked_at or at)
        except (StorageError, Conflict) as error:
            self._revoked.add(caller)
            self._keep_soon()
            why = error.message.partition(";")[0].partition(": free")[0]
            raise StorageError(
                f"share {caller.record.label!r} is revoked, but a restart of the service would bring it back: {why}. "
                "Free some space; it is tried again every few seconds"
            ) from None
        self._revoked.discard(caller)
        return caller.record

    async def lift(self, model: str) -> None:
        """Let the shares call this model again that were suspended for it: its owner has loaded it anew.

        Raises nothing; where the disk cannot be written to, a restart suspends them again."""
        if any(model in caller.record.suspended for caller in self._callers.values()):
            await self._alone(lambda: self._lift(model))

    async def _lift(self, model: str) -> None:
        for caller in self._callers.values():
            if model not in caller.record.suspended:
                continue
            caller.lift(model)
            record = caller.record
            log.info("share %s may call model %r again, which was loaded anew", record.id, model)
            try:
                await asyncio.to_thread(self._store.suspensions, record.id, record.suspended)
            except (StorageError, Conflict) as error:
                log.warning("that share %s is not suspended any more could not be stored: %s", record.id, error.message)
        self._changed()

    def _first_called(self, caller: ShareCaller) -> None:
        log.info(
            "a share was called for the first time",
            extra={"fields": {"share": caller.record.id, "label": caller.record.label}},
        )
        self._changed()
        noting = asyncio.ensure_future(self._alone(lambda: self._note_first_call(caller.record)))
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)

    async def _note_first_call(self, record: ShareRecord) -> None:
        try:
            await asyncio.to_thread(self._store.first_called, record.id, record.first_call_at or self._wall())
        except (StorageError, Conflict) as error:  # after a restart the next call counts as the first
            log.warning("the first call of a share could not be stored: %s", error.message)

    def _on_use(self, caller: ShareCaller) -> None:
        self._used.add(caller)
        self._keep_soon()

    def _keep_soon(self) -> None:
        if self._keeping is None:
            self._keeping = asyncio.get_running_loop().call_later(KEEP_USE_S, self._keep)

    def _keep(self) -> None:
        keeping = asyncio.ensure_future(self.keep_use())
        self._noting.add(keeping)
        keeping.add_done_callback(self._noting.discard)

    async def keep_use(self) -> None:
        """Write down what shares used of their quotas, and that they were revoked where that could not be written.

        By itself it is done every KEEP_USE_S. Raises nothing."""
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None
        if self._used or self._revoked:
            await self._alone(self._keep_use)

    async def _keep_use(self) -> None:
        for caller in tuple(self._revoked):
            try:
                await asyncio.to_thread(self._store.revoke, caller.record.id, caller.record.revoked_at or self._wall())
            except (StorageError, Conflict):  # its owner was told, and it is tried again
                self._keep_soon()
                break
            self._revoked.discard(caller)
            log.info("that share %s was revoked is written down now", caller.record.label)
        if not self._used:
            return
        used, self._used = self._used, set()
        uses = {caller.record.id: use for caller in used if (use := caller.note_use()) is not None}
        try:
            await asyncio.to_thread(self._store.used, uses)
        except (StorageError, Conflict) as error:  # the next write has it
            log.warning("what shares used of their quotas could not be stored: %s", error.message)
            self._used |= used

    async def _alone(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Not to be cancelled in the middle, nor may the next change begin before its end: disk and gate must agree."""

        async def in_turn() -> T:
            async with self._one_at_a_time:
                return await work()

        return await asyncio.shield(asyncio.ensure_future(in_turn()))

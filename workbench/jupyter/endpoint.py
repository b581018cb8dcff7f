"""The door for callers with a share's token: when it is open, and how much of this server they may use."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from workbench.client.forwarding import Forwarder
from workbench.errors import DeadlineExceeded, NotFound, QueueFull, Unavailable
from workbench.live.watch import Watch, answered
from workbench.rendezvous.service_record import ServiceRecord
from workbench.share.share_token import digest_of

OPEN_S: Final = 2.0
"""Seconds for which it is known that a share exists. A token is judged by the service at each request all the same."""

ASK_EVERY_S: Final = 0.1
"""Seconds between two looks whether there is one by now, so that strangers cannot keep the service busy. Who comes
meanwhile waits for the next look: the share may have been made since the last."""

STRANGERS: Final = 8
"""Requests under way without a token, or with one that the service has not taken yet."""

STRANGER_S: Final = 1.0
"""Seconds after which such a request makes room for the next one."""

MAX_TOKENS: Final = 1024
"""Tokens that are remembered as taken by the service, by their digests."""

OVER_RATE_S: Final = 0.05
"""Seconds for which a share that was over its rate is refused without asking the service again. Less than the second's
worth that a rate saves up, so that it gets all of it all the same."""

REFUSALS_PER_S: Final = 200
"""Refusals that one token is given here; the next wait for their turn, and so does what their connections would send
next. Each takes this server's event loop a millisecond, which notebooks need."""

REFUSAL_S: Final = 1.0
"""The longest that one waits."""

REQUESTS: Final = 32
BODY_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """How much of this Jupyter server all shares together may use."""

    requests: int
    """Under way at once. Each holds some 300 kB, however large its body and its answer are."""
    body_bytes: int
    """Of one request."""
    time_s: float = 300.0
    """For one request, until its answer was read."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the service answered to a share that was over its rate."""

    headers: tuple[tuple[str, str], ...]
    body: bytes
    until: float


class SharedEndpoint:
    """Belongs to the event loop. Holds no connection before the first call."""

    def __init__(
        self, watch: Watch, limits: EndpointLimits, enabled: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits
        self._watch = watch
        self._enabled = enabled
        self._clock = clock
        self._open = False
        self._until = float("-inf")
        """Until when it is known to be open."""
        self._asked_at = float("-inf")
        """When the last look began that found out whether it is."""
        self._asking: asyncio.Task[None] | None = None
        self._forwarder: Forwarder | None = None
        self._taken: set[bytes] = set()
        """Digests of tokens that the service has taken."""
        self._known: dict[asyncio.Timeout, float] = {}
        self._strangers: dict[asyncio.Timeout, float] = {}
        """What is under way: its time, and when it began. The oldest is first."""
        self._under_way: Counter[bytes] = Counter()
        """Of each token that was taken, by its digest."""
        self._refusals: dict[bytes, Refusal] = {}
        """Of tokens by their digests, of the last moments."""
        self._refused_at: dict[bytes, float] = {}
        """When the latest refusal of a token here is due, or was."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def service(self) -> Forwarder:
        """The service behind the door. Raises NotFound where nothing is shared, Unavailable where no service is
        ready."""
        if not self._enabled:
            raise NotFound("this Jupyter server lets no shares through (InferWorkbench.endpoint is False)")
        record = self._watch.ready
        if record is None:
            raise Unavailable("the service is not ready; try again later, or ask whoever shared the model")
        if not await self._is_open():
            raise NotFound("nothing is shared here; ask whoever sent the link whether the share still holds")
        return await self._forwarder_of(record)

    @asynccontextmanager
    async def turn(self, token: str) -> AsyncIterator[None]:
        """Count one request as under way, and end it after its time. Raises QueueFull over the limit, DeadlineExceeded.

        One token has half of the places at most, so that one share leaves some to others. Tokens
        that the service has not accepted yet share a few places of their own, so strangers cannot take those of shares.
        Nor can they keep these: where all are taken, the oldest request that has lasted is ended with QueueFull.
        """
        digest = digest_of(token.encode())
        if token and digest in self._taken:
            places = self._known
            if self._under_way[digest] >= (most := -(-self.limits.requests // 2)):
                await self.refusals_turn(token)
                raise QueueFull(
                    f"{most} requests with this token are under way through this Jupyter server, as many as one share "
                    "may have; try again later"
                )
            if len(places) >= self.limits.requests:
                raise QueueFull(
                    f"{len(places)} requests are under way through this Jupyter server, as many as there may be; "
                    "try again later"
                )
        else:
            places = self._strangers
            if len(places) >= STRANGERS and not self._made_room():
                raise QueueFull("too many first requests are under way through this Jupyter server; try again later")
        time = asyncio.timeout(self.limits.time_s)
        self._under_way[digest] += 1
        try:
            async with time:
                places[time] = self._clock()
                yield
        except TimeoutError:
            if time not in places:
                raise QueueFull(
                    "this first request took long, and others wait for its place at this Jupyter server; "
                    "try again later"
                ) from None
            raise DeadlineExceeded(f"this took longer than {self.limits.time_s:g} s") from None
        finally:
            places.pop(time, None)
            self._under_way[digest] -= 1
            if not self._under_way[digest]:
                del self._under_way[digest]

    def _made_room(self) -> bool:
        oldest, began = next(iter(self._strangers.items()))
        if self._clock() - began < STRANGER_S or oldest.expired():
            return False
        del self._strangers[oldest]
        oldest.reschedule(0.0)
        return True

    def judged(self, token: str, taken: bool) -> None:
        """Remember whether the service has taken a token."""
        digest = digest_of(token.encode())
        if not taken:
            self._taken.discard(digest)
        elif digest not in self._taken:
            if len(self._taken) >= MAX_TOKENS:
                self._taken.clear()
            self._taken.add(digest)

    def over_rate(self, token: str, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        """Remember that the service refused this token's inferences for its rate, and with what answer."""
        now = self._clock()
        if len(self._refusals) >= MAX_TOKENS:
            self._refusals = {digest: each for digest, each in self._refusals.items() if now < each.until}
        self._refusals[digest_of(token.encode())] = Refusal(headers, body, now + OVER_RATE_S)

    def refusal(self, token: str) -> Refusal | None:
        """What an inference with this token is to be answered at once; None: ask the service."""
        if not self._refusals or (found := self._refusals.get(digest := digest_of(token.encode()))) is None:
            return None
        if self._clock() < found.until:
            return found
        del self._refusals[digest]
        return None

    async def refusals_turn(self, token: str) -> None:
        """Wait before this token is refused once more."""
        now, digest = self._clock(), digest_of(token.encode())
        if len(self._refused_at) >= MAX_TOKENS:
            self._refused_at = {each: at for each, at in self._refused_at.items() if at > now}
        at = max(now, self._refused_at.get(digest, 0.0) + 1 / REFUSALS_PER_S)
        at = self._refused_at[digest] = min(at, now + REFUSAL_S)
        if at > now:
            await asyncio.sleep(at - now)

    def begin(self, task: asyncio.Task[None]) -> None:
        """Keep a request's task, and end it with this server."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def lost(self) -> None:
        """Look at once whether the service is still there."""
        self._watch.look_now()

    async def close(self) -> None:
        """End what is under way."""
        tasks = [*self._tasks, *([self._asking] if self._asking is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._forwarder is not None:
            await self._forwarder.close()

    async def _is_open(self) -> bool:
        """Whether there is a share: known from before where there is one, else by a look that begins from now on."""
        came_at = self._clock()
        while came_at >= self._until and self._asked_at < came_at:
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
                self._asking.add_done_callback(self._asked)
            await asyncio.shield(self._asking)
        return self._open

    async def _ask(self) -> None:
        if (wait_s := self._asked_at + ASK_EVERY_S - self._clock()) > 0:
            await asyncio.sleep(wait_s)
        client = await self._watch.client()
        began = self._clock()
        shares = await answered(client.shares())
        self._open = any(each.state in ("holds", "unclaimed") for each in shares)
        self._asked_at = began
        if self._open:
            self._until = self._clock() + OPEN_S

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # those who wait have it

    async def _forwarder_of(self, record: ServiceRecord) -> Forwarder:
        before = self._forwarder
        if before is None or (before.record.url, before.record.keeper) != (record.url, record.keeper):
            # As many connections as requests: none waits for one.
            self._forwarder = Forwarder(record, self.limits.requests + STRANGERS)
            if before is not None:
                await before.close()
            else:
                # 250,000 objects of the server and its extensions stay to the end. A full collection of garbage looked
                # through them, and held up all of the server for 0.2 s.
                gc.freeze()
        assert self._forwarder is not None
        return self._forwarder

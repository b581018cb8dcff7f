"""Answers that several services keep together in Redis or Valkey: the second level of result caches.

A request waits for it WAIT_S at most, and no caller gets an error because of it: when the server is lost, slow or full,
nothing is found. A command is never cut off, since its connection would then hold the answer for the next one; the
request that waited for it goes on without.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from workbench.config import ServerConfig
from workbench.errors import InvalidInput
from workbench.rendezvous.token_file import read_token
from workbench.server.redis_rest import RedisRest

if TYPE_CHECKING:
    from redis.asyncio import Redis

WAIT_S: Final = 1.8e-3
"""What a request waits for it at most, and is less than 2 ms since a timer of the loop may be late by some."""

ON_TIME_S: Final = 0.5e-3
"""A timer that comes later says that the loop was busy, and nothing of the server."""

COMMAND_S: Final = 1.0
"""Seconds after which a command is given up with its connection. No request waits for it so long."""

MOST_AT_ONCE: Final = 64
"""Commands under way; with more the server is too slow for us."""

PREFIX: Final = b"infer-workbench:answer:1:"

INSTALL: Final = 'cache_redis needs the Redis client: pip install "infer-workbench[redis]"'

_RECENT: Final = 0.1

log = logging.getLogger("workbench.serve")


class RedisAnswers:
    """Implements core.ports.SharedAnswers."""

    def __init__(self, secret: bytes, client: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self.secret = secret
        self.round_trip_s = 0.0
        self._client: Any = client
        self._clock = clock
        self._reads, self._writes = RedisRest(), RedisRest()
        self._why = ""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def reason(self) -> str:
        if self._reads.resting:
            return f"Redis is not asked: {self._why}"
        return f"Redis takes nothing new: {self._why}" if self._writes.resting else ""

    def ready(self) -> bool:
        return len(self._tasks) < MOST_AT_ONCE and self._reads.allows(self._clock())

    def get(self, key: bytes, done: Callable[[bytes | None], None]) -> None:
        self._reads.asked()
        look = _Look(self, done)
        look.timer = asyncio.get_running_loop().call_later(WAIT_S, look.late)
        self._start(self._get(key, look))

    def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        now = self._clock()
        if len(self._tasks) < MOST_AT_ONCE and self._writes.allows(now):
            self._writes.asked()
            self._start(self._put(key, value, ttl_s))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def _get(self, key: bytes, look: _Look) -> None:
        try:
            value = await self._client.get(PREFIX + key.hex().encode())
        except Exception as error:  # of the library, the socket or the server: all mean that nothing is found
            look.failed(_told(error))
        else:
            look.found(value if isinstance(value, bytes) else None)

    async def _put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        try:
            await self._client.set(PREFIX + key.hex().encode(), value, px=max(1, int(ttl_s * 1000)))
        except Exception as error:
            self._note(self._writes, False, _told(error))
        else:
            self._note(self._writes, True)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _note(self, rest: RedisRest, well: bool, why: str = "") -> None:
        before = rest.resting
        rest.went(well, self._clock())
        self._why = why or self._why
        if rest.resting and not before:
            log.warning("the second level of result caches rests: %s", self.reason)
        elif before and not rest.resting:
            log.info("the second level of result caches is asked again")

    def answered_in(self, seconds: float) -> None:
        before = self.round_trip_s
        self.round_trip_s = seconds if not before else before + _RECENT * (seconds - before)
        self._note(self._reads, True)

    def failed(self, why: str) -> None:
        self._note(self._reads, False, why)

    def unknown(self) -> None:
        self._reads.unknown()


class _Look:
    """One `get`, whose caller is told once: by the answer or by the timer."""

    __slots__ = ("_answers", "_began", "_done", "timer")

    def __init__(self, answers: RedisAnswers, done: Callable[[bytes | None], None]) -> None:
        self._answers = answers
        self._done: Callable[[bytes | None], None] | None = done
        self._began = time.monotonic()
        self.timer: asyncio.TimerHandle | None = None

    def found(self, value: bytes | None) -> None:
        if self._done is not None:
            self._answers.answered_in(time.monotonic() - self._began)
            self._tell(value)

    def failed(self, why: str) -> None:
        if self._done is not None:
            self._answers.failed(why)
            self._tell(None)

    def late(self) -> None:
        if self._done is None:
            return
        if time.monotonic() - self._began < WAIT_S + ON_TIME_S:
            self._answers.failed(f"it takes over {WAIT_S * 1e3:g} ms")
        else:
            self._answers.unknown()
        self._tell(None)

    def _tell(self, value: bytes | None) -> None:
        done, self._done = self._done, None
        if self.timer is not None:
            self.timer.cancel()
        if done is not None:
            done(value)


def redis_answers(config: ServerConfig) -> RedisAnswers | None:
    """The answers that `config` names, to which nothing is connected yet; None: it names none.

    Raises InvalidInput, which does not show the URL, since it may hold a password.
    """
    if not config.cache_redis or config.cache_secret_file is None:
        return None
    secret = hashlib.sha512(b"infer-workbench answers\n" + read_token(config.cache_secret_file).encode()).digest()
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise InvalidInput(INSTALL) from None
    try:
        client = Redis.from_url(
            config.cache_redis,
            protocol=2,
            max_connections=MOST_AT_ONCE,
            socket_timeout=COMMAND_S,
            socket_connect_timeout=COMMAND_S,
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
    except (ValueError, TypeError, LookupError):
        raise InvalidInput("cache_redis must be a URL such as redis://localhost:6379/0, or unix:///PATH") from None
    return RedisAnswers(secret, client)


def _told(error: Exception) -> str:
    """The kind of error alone: its text may have addresses and names in it."""
    return type(error).__name__

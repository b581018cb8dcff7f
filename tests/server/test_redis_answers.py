"""The second level of result caches in a real Redis: lost, slow, full and poisoned, it is as if nothing were there."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import models
from tests.engine.fakes import FakeSession, Opener, rows
from tests.helpers.redis_server import RedisServer
from tests.helpers.waiting import until_async
from workbench.config import ServerConfig
from workbench.core.messages import CacheUse, InferRequest
from workbench.core.tensor import Array
from workbench.engine import Engine
from workbench.errors import InvalidInput
from workbench.repository.store import ModelStore
from workbench.server.redis_answers import MOST_AT_ONCE, PREFIX, RedisAnswers
from workbench.server.redis_answers import redis_answers as answers_of

pytestmark = pytest.mark.timeout(120)

SECRET = "a-secret-of-the-tests-0123456789"
KEY = bytes(16)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


def config_of(tmp_path: Path, url: str, secret: str = SECRET) -> ServerConfig:
    file = tmp_path / "secret"
    tmp_path.mkdir(exist_ok=True)
    file.write_text(secret)
    file.chmod(0o600)
    return ServerConfig(data_dir=tmp_path, cache_redis=url, cache_secret_file=file)


@asynccontextmanager
async def opened(tmp_path: Path, url: str) -> AsyncIterator[RedisAnswers]:
    answers = answers_of(config_of(tmp_path, url))
    assert answers is not None
    try:
        yield answers
    finally:
        await answers.close()


async def get(answers: RedisAnswers, key: bytes = KEY) -> bytes | None:
    future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    answers.get(key, future.set_result)  # a second call would raise
    return await future


async def found(answers: RedisAnswers, key: bytes = KEY) -> bytes | None:
    """What is found on a machine that may be too busy for two milliseconds."""
    for _ in range(1000):
        if answers.ready() and (value := await get(answers, key)) is not None:
            return value
        await asyncio.sleep(0.01)
    return None


async def test_what_was_put_is_found_for_its_time(tmp_path: Path, redis: RedisServer) -> None:
    redis.start()
    async with opened(tmp_path, redis.url) as answers:
        answers.put(KEY, b"\x00value\r\n", 60)
        assert await found(answers) == b"\x00value\r\n"
        assert answers.round_trip_s > 0
        assert answers.reason == ""
        left = int(redis.command("PTTL", (PREFIX + KEY.hex().encode()).decode())[1:])
        assert 0 < left <= 60_000


async def test_a_lost_server_is_soon_not_asked_and_found_again(tmp_path: Path, redis: RedisServer) -> None:
    redis.start()
    async with opened(tmp_path, redis.url) as answers:
        answers.put(KEY, b"value", 60)
        assert await found(answers) == b"value"
        redis.kill()
        while answers.ready():
            assert await get(answers) is None
        assert answers.reason.startswith("Redis is not asked: ")
        redis.start()
        answers.put(KEY, b"again", 60)
        for _ in range(1000):
            answers.put(KEY, b"again", 60)
            if await found(answers) == b"again":
                break
        assert answers.reason == ""


async def test_nobody_waits_for_a_server_that_hangs(tmp_path: Path, redis: RedisServer) -> None:
    redis.start()
    async with opened(tmp_path, redis.url) as answers:
        answers.put(KEY, b"value", 60)
        assert await found(answers) == b"value"
        redis.freeze()
        waited = []
        while answers.ready():
            loop_late = await _lateness()
            began = time.monotonic()
            assert await get(answers) is None
            waited.append(time.monotonic() - began - loop_late)
        assert min(waited) < 2e-3
        assert len(waited) < 50
        assert "1.8 ms" in answers.reason
        redis.thaw()
        assert await found(answers) == b"value"


async def _lateness() -> float:
    """How late this machine's timers are just now."""
    began = time.monotonic()
    await asyncio.sleep(1.8e-3)
    return max(0.0, time.monotonic() - began - 1.8e-3)


async def test_a_full_server_still_gives_what_it_has(tmp_path: Path, redis: RedisServer) -> None:
    redis.start("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    async with opened(tmp_path, redis.url) as answers:
        answers.put(KEY, b"value", 60)
        assert await found(answers) == b"value"
        for number in range(1, 101):
            answers.put(number.to_bytes(16, "big")[::-1], bytes(100_000), 60)
            await until_async(lambda: not answers._tasks)
        assert answers.reason.startswith("Redis takes nothing new: ")
        assert await found(answers) == b"value"
        assert answers.ready()


async def test_so_many_are_asked_at_once_and_no_more(tmp_path: Path) -> None:
    class Never:
        async def get(self, key: bytes) -> None:
            await asyncio.Event().wait()

        async def aclose(self) -> None:
            pass

    answers = RedisAnswers(bytes(64), Never(), clock=lambda: 0.0)  # type: ignore[arg-type]
    told: list[Any] = []
    asked = 0
    while answers.ready():
        answers.get(KEY, told.append)
        asked += 1
    assert asked == MOST_AT_ONCE
    await until_async(lambda: len(told) == asked)
    assert set(told) == {None}
    await answers.close()


async def test_a_timer_that_the_loop_was_late_for_says_nothing_of_the_server(
    tmp_path: Path, redis: RedisServer
) -> None:
    redis.start()
    async with opened(tmp_path, redis.url) as answers:
        for _ in range(20):
            future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
            answers.get(KEY, future.set_result)
            await asyncio.sleep(0)
            time.sleep(0.01)  # the loop is busy
            await future
        assert answers.reason == ""


# As settings


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cache_secret_file": None}, "cache_redis needs cache_secret_file"),
        ({"cache_redis": ""}, "cache_secret_file is for cache_redis"),
        ({"cache_redis": "http://:a-password@host"}, "cache_redis must be a URL such as"),
        ({"cache_redis": "redis://:a-password@host:many"}, "cache_redis must be a URL such as"),
    ],
)
def test_what_cannot_be_is_refused_without_the_password(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    config = config_of(tmp_path, "redis://localhost")
    settings = {"cache_redis": config.cache_redis, "cache_secret_file": config.cache_secret_file, **change}
    with pytest.raises(InvalidInput, match=said) as caught:
        answers_of(ServerConfig(data_dir=tmp_path, **settings))
    assert "a-password" not in str(caught.value)


def test_an_open_or_short_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        answers_of(config_of(tmp_path, "redis://localhost", "short"))
    config = config_of(tmp_path, "redis://localhost")
    assert config.cache_secret_file is not None
    config.cache_secret_file.chmod(0o644)
    with pytest.raises(InvalidInput):
        answers_of(config)


def test_without_the_client_the_install_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis.asyncio", None)
    with pytest.raises(InvalidInput, match=r'pip install "infer-workbench\[redis\]"'):
        answers_of(config_of(tmp_path, "redis://localhost"))
    assert answers_of(ServerConfig(data_dir=tmp_path)) is None


# Under load


def _slow(x: Array) -> Array:
    time.sleep(0.003)  # what a run takes
    return x + 1


async def _story(tmp_path: Path, redis: RedisServer, outages: int) -> Counter[CacheUse]:
    """Two services under load while their Redis is killed and started again so often; every answer is right."""
    redis.start()
    sources: Counter[CacheUse] = Counter()
    wrong: list[object] = []
    going = True
    async with opened(tmp_path, redis.url) as first, opened(tmp_path, redis.url) as second:
        engines = []
        for number, shared in enumerate((first, second)):
            engine = Engine(
                ModelStore(tmp_path / f"store{number}"),
                open_session=Opener(FakeSession(_slow)),
                shared_answers=shared,
            )
            await engine.start()
            # So small that most of what is asked again has gone.
            settings = {"cache": "5kB", "batching": "never"}
            await engine.load("m", models.add_constant(1).SerializeToString(), settings)
            engines.append(engine)

        async def caller(seed: int) -> None:
            draw = random.Random(seed)
            while going:
                value = draw.randrange(1, 200)
                try:
                    answer = await draw.choice(engines).infer(InferRequest("m", {"x": rows(value)}))
                except Exception as error:
                    wrong.append(error)
                    continue
                if answer.outputs["y"].tolist() != [[value + 1, value + 1]]:
                    wrong.append((value, answer))
                sources[answer.timings.cache] += 1

        async def more(of: CacheUse, count: int = 20) -> None:
            enough = sources[of] + count
            await until_async(lambda: sources[of] >= enough)

        callers = [asyncio.create_task(caller(seed)) for seed in range(6)]
        for _ in range(outages):
            await more(CacheUse.REMOTE)
            redis.kill()
            await more(CacheUse.NONE, 100)
            redis.start()
        await more(CacheUse.REMOTE)
        going = False
        await asyncio.gather(*callers)
        for engine in engines:
            await engine.close(5)
    assert not wrong
    return sources


async def test_under_load_a_server_that_is_killed_and_comes_back_makes_no_error(
    tmp_path: Path, redis: RedisServer
) -> None:
    sources = await _story(tmp_path, redis, outages=1)
    assert sources[CacheUse.REMOTE] >= 40


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_for_thirty_seconds_under_load_no_error(tmp_path: Path, redis: RedisServer) -> None:
    began, outages = time.monotonic(), 0
    while time.monotonic() - began < 30:
        await _story(tmp_path / str(outages), redis, outages=5)
        redis.kill()
        outages += 5

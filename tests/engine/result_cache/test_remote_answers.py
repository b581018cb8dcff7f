"""The second level of a model's cache, with one that the test holds in its hand."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.engine.fakes import FakeSession, Opener, Recorder, rows
from tests.helpers.waiting import until_async
from workbench.core.messages import CacheUse, InferRequest, InferResponse
from workbench.core.ports import Outcome
from workbench.core.tensor import Array
from workbench.engine import Engine
from workbench.repository.store import ModelStore

pytestmark = pytest.mark.timeout(60)


class Elsewhere:
    """Implements core.ports.SharedAnswers. While it is held, nothing is answered."""

    secret = bytes(64)
    reason = ""
    round_trip_s = 0.0

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.asked: list[bytes] = []
        self.waiting: list[Callable[[], None]] = []
        self.held = False
        self.is_ready = True

    def ready(self) -> bool:
        return self.is_ready

    def get(self, key: bytes, done: Callable[[bytes | None], None]) -> None:
        self.asked.append(key)

        def answer() -> None:
            done(self.kept.get(key))

        if self.held:
            self.waiting.append(answer)
        else:
            asyncio.get_running_loop().call_soon(answer)

    def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        self.kept[key] = value

    def release(self) -> None:
        self.held = False
        waiting, self.waiting = self.waiting, []
        for answer in waiting:
            answer()


def slow(x: Array) -> Array:
    time.sleep(0.003)  # what a run takes, not what the test waits for
    return x + 1


@asynccontextmanager
async def serving(
    folder: Path, elsewhere: Elsewhere, session: FakeSession | None = None, observer: Recorder | None = None
) -> AsyncIterator[Engine]:
    """An engine that serves "m" and knows what its runs take."""
    session = session or FakeSession(slow)
    engine = Engine(ModelStore(folder), open_session=Opener(session), observer=observer, shared_answers=elsewhere)
    await engine.start()
    try:
        settings = {"cache": "1MB", "batching": "never"}
        await engine.load("m", models.add_constant(1).SerializeToString(), settings)
        await ask(engine, -1)
        session.batches.clear()
        yield engine
    finally:
        session.gate.set()
        await engine.close(5)


def ask(engine: Engine, value: float, **more: object) -> asyncio.Task[InferResponse]:
    request = InferRequest("m", {"x": rows(value)}, **more)  # type: ignore[arg-type]
    return asyncio.ensure_future(engine.infer(request))


async def test_what_one_service_ran_another_one_finds(tmp_path: Path) -> None:
    elsewhere, seen = Elsewhere(), Recorder()
    async with serving(tmp_path / "one", elsewhere) as one, serving(tmp_path / "two", elsewhere, observer=seen) as two:
        assert (await ask(one, 1)).timings.cache is CacheUse.NONE
        found = await ask(two, 1, id="seven")
        assert (found.timings.cache, found.id, found.epoch) == (CacheUse.REMOTE, "seven", two.status("m").epoch)
        assert found.timings.rows == 1
        np.testing.assert_array_equal(found.outputs["y"], rows(2))
        assert (await ask(two, 1)).timings.cache is CacheUse.HIT
        figures = two.status("m").cache
        assert figures is not None
        assert (figures.remote, figures.hits, figures.misses) == (1, 1, 1)
    assert seen.outcomes == [Outcome.OK] * 3
    assert len(seen.batches) == 1


async def test_a_fast_model_never_asks(tmp_path: Path) -> None:
    elsewhere = Elsewhere()
    async with serving(tmp_path, elsewhere, FakeSession(lambda x: x + 1)) as engine:
        for value in range(5):
            await ask(engine, value)
    assert not elsewhere.asked
    assert not elsewhere.kept


async def test_nothing_is_asked_while_there_is_no_use(tmp_path: Path) -> None:
    elsewhere = Elsewhere()
    async with serving(tmp_path, elsewhere) as engine:
        elsewhere.is_ready = False
        await ask(engine, 1)
        assert not elsewhere.asked
        elsewhere.is_ready, elsewhere.round_trip_s = True, 1.0
        await ask(engine, 2)
        assert not elsewhere.asked


async def test_who_asks_the_same_meanwhile_waits_for_the_same(tmp_path: Path) -> None:
    elsewhere, session = Elsewhere(), FakeSession(slow)
    async with serving(tmp_path, elsewhere, session) as engine:
        elsewhere.held = True
        asked = [ask(engine, 1) for _ in range(10)]
        await until_async(lambda: elsewhere.waiting)
        elsewhere.release()
        answers = await asyncio.gather(*asked)
        assert Counter(each.timings.cache for each in answers) == {CacheUse.NONE: 1, CacheUse.JOINED: 9}
        assert (len(elsewhere.asked), session.batches) == (1, [1])


async def test_what_all_have_left_is_not_run(tmp_path: Path) -> None:
    elsewhere, session, seen = Elsewhere(), FakeSession(slow), Recorder()
    async with serving(tmp_path, elsewhere, session, seen) as engine:
        elsewhere.held = True
        asked = [ask(engine, 1) for _ in range(2)]
        await until_async(lambda: elsewhere.waiting)
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        elsewhere.release()
        assert session.batches == []
        assert Counter(seen.outcomes) == {Outcome.OK: 1, Outcome.CANCELLED: 2}


@pytest.mark.parametrize("change", ["unload", "swap", "off"])
async def test_nobody_is_lost_who_waits_for_it_at_a_change(tmp_path: Path, change: str) -> None:
    elsewhere, seen = Elsewhere(), Recorder()
    async with serving(tmp_path, elsewhere, observer=seen) as engine:
        elsewhere.held = True
        asked = [ask(engine, value) for value in (1, 1, 2)]
        await until_async(lambda: len(elsewhere.waiting) == 2)
        match change:
            case "unload":
                await engine.unload("m")
            case "swap":
                await engine.load("m", models.add_constant(2).SerializeToString(), force=True)
            case _:
                await engine.configure("m", {"cache": "off"})
        answers = await asyncio.gather(*asked)
        assert [float(each.outputs["y"][0, 0]) for each in answers] == [2, 2, 3]
        elsewhere.release()  # too late, and nobody is told twice
    assert seen.outcomes == [Outcome.OK] * 4


async def test_what_others_put_there_harms_nobody(tmp_path: Path) -> None:
    elsewhere, session = Elsewhere(), FakeSession(slow)
    async with serving(tmp_path, elsewhere, session) as engine:
        for value in range(4):
            await ask(engine, value)
        true = dict(elsewhere.kept)
        await engine.configure("m", {"cache": "off"})
        await engine.configure("m", {"cache": "1MB"})
        await ask(engine, -1)
        keys = list(true)
        elsewhere.kept = dict(zip(keys, [true[keys[1]], b"", true[keys[2]][:-1], bytes(1 << 20), b"x"], strict=True))
        answers = [await ask(engine, value) for value in range(4)]
        assert [float(each.outputs["y"][0, 0]) for each in answers] == [1, 2, 3, 4]
        assert {each.timings.cache for each in answers} == {CacheUse.NONE}


async def test_a_share_finds_only_its_own(tmp_path: Path) -> None:
    elsewhere = Elsewhere()
    async with serving(tmp_path / "one", elsewhere) as one, serving(tmp_path / "two", elsewhere) as two:
        await ask(one, 1, caller="a")
        assert (await ask(two, 1, caller="b")).timings.cache is CacheUse.NONE
        assert (await ask(two, 1, caller="a")).timings.cache is CacheUse.REMOTE


async def test_another_file_under_the_same_name_finds_nothing(tmp_path: Path) -> None:
    elsewhere = Elsewhere()
    async with serving(tmp_path / "one", elsewhere) as one, serving(tmp_path / "two", elsewhere) as two:
        await ask(one, 1)
        await two.unload("m")
        await two.load("m", models.add_constant(9).SerializeToString(), {"cache": "1MB", "batching": "never"})
        await ask(two, -1)
        assert (await ask(two, 1)).timings.cache is CacheUse.NONE

"""The result cache of an engine's model: what is run, what is not, and that each request ends exactly once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from tests import models
from tests.engine.fakes import FakeSession, Opener, Recorder, rows
from tests.helpers.clock import Clock
from tests.helpers.waiting import until_async
from workbench.core.messages import CacheUse, InferRequest, InferResponse
from workbench.core.ports import Outcome
from workbench.engine import Engine
from workbench.engine.result_cache import cache_worth, model_cache
from workbench.engine.result_cache.cache_worth import CALLS_JUDGED
from workbench.errors import CircuitOpen, DeadlineExceeded, InvalidInput, QueueFull
from workbench.repository.store import ModelStore

pytestmark = pytest.mark.timeout(60)

ON = {"cache": "1MB"}


@asynccontextmanager
async def serving(
    folder: Path, *sessions: FakeSession, settings: dict[str, object] | None = None, **more: object
) -> AsyncIterator[Engine]:
    """An engine that serves "m" by the first of `sessions`, with a cache."""
    opener = Opener(*(sessions or [FakeSession()]))
    engine = Engine(ModelStore(folder), open_session=opener, **more)  # type: ignore[arg-type]
    await engine.start()
    try:
        await engine.load("m", models.add_constant(1).SerializeToString(), {**ON, **(settings or {})})
        for session in sessions:
            session.batches.clear()
        yield engine
    finally:
        for session in sessions:
            session.gate.set()
        await engine.close(5)


def ask(engine: Engine, *values: float, **more: object) -> asyncio.Task[InferResponse]:
    request = InferRequest("m", {"x": rows(*values)}, **more)  # type: ignore[arg-type]
    return asyncio.ensure_future(engine.infer(request))


async def entered(session: FakeSession) -> None:
    """A runner is inside the session."""
    await asyncio.to_thread(session.entered.acquire)


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def uses(answers: list[InferResponse]) -> Counter[CacheUse]:
    return Counter(answer.timings.cache for answer in answers)


async def test_an_equal_request_is_answered_without_a_run_and_says_so(tmp_path: Path) -> None:
    session, seen = FakeSession(), Recorder()
    async with serving(tmp_path, session, observer=seen) as engine:
        first = await ask(engine, 1, 2, id="a")
        second = await ask(engine, 1, 2, id="b")
        other = await ask(engine, 1, 3)
        assert session.batches == [2, 2]
        assert [each.timings.cache for each in (first, second, other)] == [CacheUse.NONE, CacheUse.HIT, CacheUse.NONE]
        assert (second.id, second.version, second.epoch) == ("b", first.version, first.epoch)
        assert (second.timings.rows, second.timings.batch_size, second.timings.total_s) == (2, 0, 0.0)
        np.testing.assert_array_equal(second.outputs["y"], first.outputs["y"])
        figures = engine.status("m").cache
        assert figures is not None
        assert (figures.hits, figures.joined, figures.misses, figures.entries) == (1, 0, 2, 2)
        assert 0 < figures.size_bytes < figures.limit_bytes == 1_000_000
        assert figures.saved_s > 0
    assert seen.outcomes == [Outcome.OK] * 3
    assert len(seen.batches) == 2
    assert [timings is not None for *_, timings in seen.requests] == [True, False, True]


async def test_without_the_setting_there_is_no_cache(tmp_path: Path) -> None:
    session = FakeSession()
    async with serving(tmp_path, session, settings={"cache": "off"}) as engine:
        for _ in range(2):
            assert (await ask(engine, 1)).timings.cache is CacheUse.NONE
        assert session.batches == [1, 1]
        assert engine.status("m").cache is None


async def test_a_hundred_equal_requests_at_once_are_one_run(tmp_path: Path) -> None:
    session, seen = FakeSession(), Recorder()
    async with serving(tmp_path, session, observer=seen) as engine:
        session.hold()
        asked = [ask(engine, 1, id=str(number)) for number in range(100)]
        await entered(session)
        await turn()
        session.gate.set()
        answers = await asyncio.gather(*asked)
        assert session.batches == [1]
        assert uses(answers) == {CacheUse.NONE: 1, CacheUse.JOINED: 99}
        assert [answer.id for answer in answers] == [str(number) for number in range(100)]
        figures = engine.status("m").cache
        assert figures is not None
        assert (figures.hits, figures.joined, figures.misses) == (0, 99, 1)
    assert seen.outcomes == [Outcome.OK] * 100
    assert seen.batches[0][1] == 1


async def test_a_first_caller_who_leaves_takes_nobody_along(tmp_path: Path) -> None:
    session, seen = FakeSession(), Recorder()
    async with serving(tmp_path, session, observer=seen) as engine:
        session.hold()
        busy = ask(engine, 0)
        await entered(session)
        first, second = ask(engine, 1), ask(engine, 1)
        await turn()
        first.cancel()
        await turn()
        session.gate.set()
        assert (await second).timings.cache is CacheUse.JOINED
        await busy
        assert session.batches == [1, 1]
    assert Counter(seen.outcomes) == {Outcome.OK: 2, Outcome.CANCELLED: 1}


async def test_a_request_that_all_have_left_is_not_run(tmp_path: Path) -> None:
    session, seen = FakeSession(), Recorder()
    async with serving(tmp_path, session, observer=seen) as engine:
        session.hold()
        busy = ask(engine, 0)
        await entered(session)
        left = [ask(engine, 1) for _ in range(3)]
        await turn()
        for each in left:
            each.cancel()
        await turn()
        session.gate.set()
        await busy
        await until_async(lambda: len(seen.outcomes) == 4)
        assert session.batches == [1]
        assert Counter(seen.outcomes) == {Outcome.OK: 1, Outcome.CANCELLED: 3}
        assert (await ask(engine, 1)).timings.cache is CacheUse.NONE  # nothing waits for what has ended


async def test_an_error_goes_to_all_who_wait_and_is_not_kept(tmp_path: Path) -> None:
    session, seen = FakeSession(), Recorder()
    async with serving(tmp_path, session, observer=seen) as engine:
        session.hold()
        asked = [ask(engine, 666) for _ in range(3)]
        await entered(session)
        await turn()
        session.gate.set()
        for each in asked:
            with pytest.raises(InvalidInput, match="666"):
                await each
        runs = len(session.batches)
        with pytest.raises(InvalidInput, match="666"):
            await ask(engine, 666)
        assert len(session.batches) == runs + 1
        figures = engine.status("m").cache
        assert figures is not None
        assert figures.entries == 0
    assert seen.outcomes == [Outcome.INVALID] * 4


async def test_only_the_one_whose_time_is_over_is_told_so(tmp_path: Path) -> None:
    clock, session, seen = Clock(), FakeSession(), Recorder()
    async with serving(tmp_path, session, observer=seen, clock=clock) as engine:
        session.hold()
        busy = ask(engine, 0)
        await entered(session)
        hasty, patient, short = (
            ask(engine, 1, deadline=clock.now + 5),
            ask(engine, 1, deadline=clock.now + 50),
            ask(engine, 1, deadline=clock.now + 6),
        )
        await turn()
        clock.now += 10
        session.gate.set()
        for each in (hasty, short):
            with pytest.raises(DeadlineExceeded):
                await each
        assert (await patient).outputs
        await busy
        assert session.batches == [1, 1]
    assert Counter(seen.outcomes) == {Outcome.OK: 2, Outcome.EXPIRED: 2}


async def test_who_joined_with_a_shorter_time_does_not_wait_for_the_longer_one(tmp_path: Path) -> None:
    clock, session, seen = Clock(), FakeSession(), Recorder()
    async with serving(tmp_path, session, observer=seen, clock=clock) as engine:
        session.hold()
        busy = ask(engine, 0)
        await entered(session)
        patient, hasty = ask(engine, 1), ask(engine, 1, deadline=clock.now + 5)
        await turn()
        clock.now += 10
        session.gate.set()
        with pytest.raises(DeadlineExceeded, match="equal request"):
            await hasty
        assert (await patient).outputs
        await busy
    assert Counter(seen.outcomes) == {Outcome.OK: 2, Outcome.EXPIRED: 1}


async def test_a_refusal_at_arrival_is_the_callers_own(tmp_path: Path) -> None:
    session, seen = FakeSession(), Recorder()
    async with serving(tmp_path, session, observer=seen, settings={"max_queue_size": 1}) as engine:
        session.hold()
        busy = ask(engine, 0)
        await entered(session)
        waits = ask(engine, 1)
        await turn()
        with pytest.raises(QueueFull):
            await ask(engine, 2)
        joined = ask(engine, 1)  # an equal one needs no place in the queue
        await turn()
        session.gate.set()
        assert uses([await each for each in (busy, waits, joined)]) == {CacheUse.NONE: 2, CacheUse.JOINED: 1}
        assert (await ask(engine, 2)).timings.cache is CacheUse.NONE
    assert Counter(seen.outcomes) == {Outcome.OK: 4, Outcome.REJECTED: 1}


async def test_nobody_waits_behind_a_lower_priority(tmp_path: Path) -> None:
    session = FakeSession()
    async with serving(tmp_path, session) as engine:
        session.hold()
        asked = [ask(engine, 1, priority=3), ask(engine, 1, priority=1), ask(engine, 1, priority=3)]
        await turn()
        session.gate.set()
        assert uses(list(await asyncio.gather(*asked))) == {CacheUse.NONE: 2, CacheUse.JOINED: 1}


async def test_each_share_has_answers_of_its_own_unless_they_are_shared(tmp_path: Path) -> None:
    session = FakeSession()
    async with serving(tmp_path, session) as engine:
        for caller in ("", "one", "other"):
            assert (await ask(engine, 1, caller=caller)).timings.cache is CacheUse.NONE
            assert (await ask(engine, 1, caller=caller)).timings.cache is CacheUse.HIT
        await engine.configure("m", {"cache_scope": "shared"})
        assert (await ask(engine, 1, caller="one")).timings.cache is CacheUse.NONE
        assert (await ask(engine, 1, caller="other")).timings.cache is CacheUse.HIT


async def test_answers_age_and_settings_change_while_it_serves(tmp_path: Path) -> None:
    clock, session = Clock(), FakeSession()
    async with serving(tmp_path, session, clock=clock, settings={"cache_ttl": 60}) as engine:
        await ask(engine, 1)
        clock.now += 59
        assert (await ask(engine, 1)).timings.cache is CacheUse.HIT
        clock.now += 1
        assert (await ask(engine, 1)).timings.cache is CacheUse.NONE
        changed = await engine.configure("m", {"cache_ttl": 5})
        assert changed.live
        clock.now += 5
        assert (await ask(engine, 1)).timings.cache is CacheUse.NONE
        assert (await engine.configure("m", {"cache": "off"})).live
        assert (await ask(engine, 1)).timings.cache is CacheUse.NONE
        assert engine.status("m").cache is None
        assert (await engine.configure("m", {"cache": "2MB"})).live
        assert (await ask(engine, 1)).timings.cache is CacheUse.NONE
        assert (await ask(engine, 1)).timings.cache is CacheUse.HIT


async def test_turned_off_while_requests_wait_for_one_run_all_are_answered(tmp_path: Path) -> None:
    session, seen = FakeSession(), Recorder()
    async with serving(tmp_path, session, observer=seen) as engine:
        session.hold()
        asked = [ask(engine, 1) for _ in range(3)]
        await entered(session)
        await turn()
        await engine.configure("m", {"cache": "off"})
        session.gate.set()
        assert uses(list(await asyncio.gather(*asked))) == {CacheUse.NONE: 1, CacheUse.JOINED: 2}
    assert seen.outcomes == [Outcome.OK] * 3


async def test_a_swapped_version_never_gives_the_old_ones_answers(tmp_path: Path) -> None:
    one, two = FakeSession(), FakeSession(lambda x: x + 2)
    async with serving(tmp_path, one, two) as engine:
        assert (await ask(engine, 1)).outputs["y"][0, 0] == 2
        one.hold()
        waits = [ask(engine, 5), ask(engine, 5)]
        await entered(one)
        await engine.load("m", models.add_constant(2).SerializeToString(), force=True)
        swapped = await ask(engine, 1)
        assert (swapped.version, swapped.timings.cache, swapped.outputs["y"][0, 0]) == ("2", CacheUse.NONE, 3)
        fresh = ask(engine, 5)
        one.gate.set()
        assert [(each.version, each.outputs["y"][0, 0]) for each in await asyncio.gather(*waits)] == [("1", 6)] * 2
        assert ((await fresh).version, (await fresh).outputs["y"][0, 0]) == ("2", 7)
        assert (await ask(engine, 5)).outputs["y"][0, 0] == 7


async def test_an_open_breaker_does_not_keep_back_what_is_kept(tmp_path: Path) -> None:
    session, seen = FakeSession(), Recorder()
    settings = {"breaker_min_calls": 1, "batching": "never", "breaker_slow_call_s": 1e-9}
    async with serving(tmp_path, session, observer=seen, settings=settings) as engine:
        await ask(engine, 1)  # slow, so the breaker opens
        assert (await ask(engine, 1)).timings.cache is CacheUse.HIT
        with pytest.raises(CircuitOpen):
            await ask(engine, 2)
    assert seen.outcomes == [Outcome.OK, Outcome.OK, Outcome.REJECTED]


async def test_the_answer_of_a_version_that_stands_in_is_not_kept(tmp_path: Path) -> None:
    one, two = FakeSession(), FakeSession(lambda x: x + 2)
    settings = {"breaker_min_calls": 1, "breaker_slow_call_s": 1e-9, "fallback": "previous", "breaker_open_s": 3600}
    async with serving(tmp_path, one, two) as engine:
        await engine.load("m", models.add_constant(2).SerializeToString(), settings, force=True)
        assert (await ask(engine, 1)).version == "2"
        stood_in = await ask(engine, 9)
        assert (stood_in.version, stood_in.outputs["y"][0, 0]) == ("1", 10)
        figures = engine.status("m").cache
        assert figures is not None
        assert figures.entries == 1
        await engine.configure("m", {"breaker_failure_rate": 0})
        now = await ask(engine, 9)
        assert (now.version, now.outputs["y"][0, 0]) == ("2", 11)


async def test_a_wrong_request_is_told_what_is_wrong_with_it_once(tmp_path: Path) -> None:
    seen = Recorder()
    async with serving(tmp_path, FakeSession(), observer=seen) as engine:
        with pytest.raises(InvalidInput, match="data-type"):
            await engine.infer(InferRequest("m", {"x": np.zeros((1, 2), np.int8)}))
        with pytest.raises(DeadlineExceeded):
            await ask(engine, 1, deadline=0.0)
    assert seen.outcomes == [Outcome.INVALID, Outcome.EXPIRED]


@pytest.mark.parametrize(
    ("operator", "said"),
    [("RandomNormalLike", "RandomNormalLike gives other values"), ("Multinomial", "Multinomial gives other values")],
)
async def test_a_model_that_draws_random_numbers_is_never_cached_and_says_so(
    tmp_path: Path, operator: str, said: str
) -> None:
    engine = Engine(ModelStore(tmp_path / "store"))
    await engine.start()
    more = {"dtype": 1} if operator == "RandomNormalLike" else {"sample_size": 4}
    proto = models.model(
        [helper.make_node(operator, ["x"], ["y"], **more)],
        [models.value("x", "FP32", ["batch", 4])],
        [models.value("y", "FP32" if operator == "RandomNormalLike" else "INT32", ["batch", 4])],
    )
    status = (await engine.load("m", proto.SerializeToString(), ON)).status
    assert status.cache is None
    assert any(note.startswith("cache is not honoured: ") and said in note for note in status.notes)
    for _ in range(2):
        answer = await engine.infer(InferRequest("m", {"x": np.ones((1, 4), np.float32)}))
        assert answer.timings.cache is CacheUse.NONE
    await engine.configure("m", {"cache": "off"})
    assert not any("cache" in note for note in engine.status("m").notes)
    await engine.close(5)


def test_a_model_that_keeps_state_is_never_cached() -> None:
    assert "state between requests" in model_cache.why_uncached((), True)
    assert model_cache.why_uncached(("Gemm", "Dropout"), False) == ""


async def test_where_rows_do_not_repeat_it_rests_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache_worth, "CALLS_JUDGED", 50)
    monkeypatch.setattr(model_cache, "CALLS_JUDGED", 50)
    assert CALLS_JUDGED != 50
    async with serving(tmp_path, FakeSession()) as engine:
        for number in range(50):
            await ask(engine, number)
        figures = engine.status("m").cache
        assert figures is not None
        assert "0 of the last 50 calls" in figures.note
        assert "%infer set m cache=off" in figures.note
        assert figures.note in caplog.text
        assert (await ask(engine, 49)).timings.cache is CacheUse.NONE
        await engine.configure("m", {"cache": "2MB"})  # whoever changes it wants it tried again
        assert (await ask(engine, 49)).timings.cache is CacheUse.HIT

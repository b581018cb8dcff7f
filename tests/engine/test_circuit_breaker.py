"""The circuit breaker: its decisions by a table of calls, and a model behind it, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.engine.fakes import FakeSession, Opener, Recorder, rows
from tests.helpers.clock import Clock
from tests.helpers.waiting import until_async
from workbench.core.circuit import Circuit, CircuitState
from workbench.core.messages import InferRequest
from workbench.core.model import ModelState
from workbench.core.ports import Outcome
from workbench.core.tensor import Array
from workbench.engine import Engine
from workbench.engine.caller_breakers import OWNER, CallerBreakers
from workbench.engine.circuit_breaker import PROBES, BreakerPolicy, CircuitBreaker
from workbench.errors import CircuitOpen, ExecutionError, InvalidInput
from workbench.repository.store import ModelStore

pytestmark = pytest.mark.timeout(60)

POLICY = BreakerPolicy(failure_rate=0.5, min_calls=4, window_s=10, slow_call_s=2, open_s=5)


def opened(policy: BreakerPolicy = POLICY, now: float = 0) -> CircuitBreaker:
    breaker = CircuitBreaker(policy)
    assert breaker.record(now, policy.min_calls, policy.min_calls, 0)
    return breaker


@pytest.mark.parametrize(
    ("calls", "opens"),
    [
        pytest.param([(0, 4, 4, 0)], True, id="all failed"),
        pytest.param([(0, 3, 3, 0)], False, id="too few calls"),
        pytest.param([(0, 1, 1, 0), (1, 2, 0, 0), (2, 1, 1, 0)], True, id="just the rate"),
        pytest.param([(0, 1, 1, 0), (1, 3, 0, 0)], False, id="under the rate"),
        pytest.param([(0, 2, 0, 2), (1, 2, 0, 0)], True, id="slow ones count as well"),
        pytest.param([(0, 1, 1, 0), (1, 1, 0, 1), (2, 2, 0, 0)], True, id="failed and slow together"),
        pytest.param([(0, 3, 3, 0), (11, 1, 1, 0)], False, id="what is older than the window is forgotten"),
        pytest.param([(0, 1, 1, 0), (9, 2, 0, 0), (9.5, 1, 1, 0)], True, id="what is younger is not"),
        pytest.param([(0, 1000, 0, 0), (1, 4, 4, 0)], True, id="good calls of a calm time do not count"),
    ],
)
def test_it_opens_when_enough_of_the_latest_calls_ended_badly(
    calls: list[tuple[float, int, int, int]], opens: bool
) -> None:
    breaker = CircuitBreaker(POLICY)

    told = [breaker.record(now, *counts) for now, *counts in calls if counts[1] + counts[2] or breaker.watching]

    assert told[-1] is opens and breaker.engaged is opens
    assert breaker.told().state is (CircuitState.OPEN if opens else CircuitState.CLOSED)


def test_without_trouble_nothing_is_counted_and_a_calm_window_ends_the_counting() -> None:
    breaker = CircuitBreaker(POLICY)
    assert not breaker.watching

    breaker.record(0, 1, 1, 0)
    assert breaker.watching

    breaker.record(10.5, 1, 0, 0)
    assert not breaker.watching and not breaker.engaged


def test_open_it_says_how_long_and_what_opened_it() -> None:
    breaker = CircuitBreaker(POLICY)
    breaker.record(0, 3, 2, 0)
    breaker.record(1, 1, 0, 1)

    assert breaker.told().reason == "of the last 4 calls 2 failed and 1 took 2 s or longer"
    assert [breaker.admit(now) for now in (1, 3.5, 5.9)] == pytest.approx([5, 2.5, 0.1])


def test_half_open_it_lets_a_few_through_and_closes_when_all_end_well() -> None:
    breaker = opened()

    assert [breaker.admit(5) for _ in range(PROBES + 1)] == [0.0] * PROBES + [5.0]
    assert breaker.told().state is CircuitState.HALF_OPEN
    assert not breaker.record(5.1, PROBES - 1, 0, 0)
    assert breaker.record(5.2, 1, 0, 0)
    assert not breaker.engaged and breaker.told().reason == "" and breaker.told().opened == 1


def test_half_open_one_that_ends_badly_opens_it_again() -> None:
    breaker = opened()
    breaker.admit(5)

    assert breaker.record(6, 1, 0, 1)

    assert breaker.told().state is CircuitState.OPEN and breaker.told().opened == 2
    assert breaker.admit(6) == 5.0


def test_probes_that_tell_nothing_are_followed_by_others() -> None:
    breaker = opened()
    for _ in range(PROBES):
        assert breaker.admit(5) == 0.0

    assert breaker.admit(9) == 1.0
    assert breaker.admit(10) == 0.0


def test_calls_that_went_before_it_opened_do_not_count_while_it_is_open() -> None:
    breaker = opened()

    assert not breaker.record(1, 50, 0, 0) and not breaker.record(1, 50, 50, 0)

    assert breaker.engaged and breaker.told().opened == 1


def test_a_rate_of_0_switches_it_off_and_closes_it() -> None:
    breaker = opened()

    breaker.configure(replace(POLICY, failure_rate=0.0))

    assert not breaker.engaged and not breaker.record(1, 9, 9, 0) and breaker.slow_call_s == float("inf")


# One for each caller


def test_inputs_of_a_share_that_make_the_model_fail_close_it_to_that_share_only() -> None:
    breakers = CallerBreakers(POLICY)

    assert breakers.record(0, {"s1": 4}, True, False) == ["open for share s1, of the last 4 calls 4 failed"]

    assert breakers.admit("s1", 1) == (4, "of the last 4 calls 4 failed")
    assert breakers.admit("s2", 1) == breakers.admit(OWNER, 1) == (0, "")
    assert breakers.told(1) == Circuit(CircuitState.OPEN, "of the last 4 calls 4 failed for share s1", 1)


def test_a_run_of_several_callers_counts_for_each_and_the_owners_is_told_first() -> None:
    breakers = CallerBreakers(POLICY)

    assert not breakers.record(0, {OWNER: 3, "s1": 4}, False, False) and not breakers.watching
    breakers.record(0, {OWNER: 3, "s1": 4}, False, True)
    assert breakers.told(0).reason == "of the last 4 calls 4 took 2 s or longer for share s1"
    breakers.record(1, {OWNER: 1}, True, False)

    assert breakers.told(1).reason == ("of the last 4 calls 1 failed and 3 took 2 s or longer, and those of 1 more")
    assert breakers.told(1).opened == 2


def test_that_of_a_caller_who_comes_no_more_is_forgotten() -> None:
    breakers = CallerBreakers(POLICY)
    breakers.record(0, {"s1": 4}, True, False)

    assert breakers.told(14.9).state is CircuitState.OPEN
    assert breakers.told(15) == Circuit(opened=1)
    assert breakers.admit(OWNER, 15) == (0, "") and not breakers.watching


def test_another_policy_holds_for_all_and_one_that_never_opens_closes_all() -> None:
    breakers = CallerBreakers(POLICY)
    breakers.record(0, {"s1": 4}, True, False)

    breakers.configure(replace(POLICY, open_s=50))
    assert breakers.admit("s1", 1)[0] == 49
    breakers.configure(replace(POLICY, failure_rate=0.0))

    assert breakers.admit("s1", 1) == (0, "") and not breakers.watching
    assert not breakers.record(1, {"s1": 4}, True, False) and not breakers.watching


# A model behind it


class Trouble:
    """What a fake model does: fails with `error`, or takes `s` seconds of the clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.error: Exception | None = None
        self.takes_s = 0.0

    def __call__(self, x: Array) -> Array:
        self.clock.now += self.takes_s
        if self.error is not None:
            raise self.error
        return x


Start = Callable[..., Awaitable[Engine]]

SETTINGS = {"breaker_min_calls": 4, "breaker_open_s": 5}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trouble(clock: Clock) -> Trouble:
    return Trouble(clock)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def engine(tmp_path: Path, clock: Clock, trouble: Trouble, recorder: Recorder) -> AsyncIterator[Engine]:
    """It serves "m", which has the trouble that the test gives it."""
    opener = Opener(FakeSession(trouble))
    engine = Engine(ModelStore(tmp_path / "store"), open_session=opener, clock=clock, observer=recorder)
    await engine.start()
    await engine.load("m", models.add_constant(1.0).SerializeToString(), SETTINGS)
    yield engine
    await engine.close(5)


async def call(engine: Engine, *values: float, version: str | None = None) -> np.ndarray:
    answer = await engine.infer(InferRequest("m", {"x": rows(*(values or (1.0,)))}, version))
    return answer.outputs["y"]


async def failing(engine: Engine, error: type[Exception], times: int) -> None:
    for _ in range(times):
        with pytest.raises(error):
            await call(engine)


async def test_a_model_that_fails_is_not_run_until_it_answers_again(
    engine: Engine, trouble: Trouble, clock: Clock, recorder: Recorder
) -> None:
    trouble.error = ExecutionError("out of memory")
    await failing(engine, ExecutionError, 4)
    trouble.error = None

    with pytest.raises(CircuitOpen, match=r"version 1 is not run .* \(of the last 4 calls 4 failed\).* in 5\.0 s") as e:
        await call(engine)
    assert e.value.retry_after_s == 5.0
    assert recorder.outcomes[-1] is Outcome.REJECTED
    told = engine.status("m").circuit
    assert told is not None and told.state is CircuitState.OPEN

    clock.now += 5
    for _ in range(PROBES):
        await call(engine)
    told = engine.status("m").circuit
    assert told is not None and (told.state, told.opened) == (CircuitState.CLOSED, 1)


async def test_a_share_whose_inputs_fail_is_refused_and_the_owner_served(engine: Engine, trouble: Trouble) -> None:
    trouble.error = ExecutionError("index out of bounds")
    for _ in range(4):
        with pytest.raises(ExecutionError):
            await engine.infer(InferRequest("m", {"x": rows(1.0)}, caller="s1"))
    trouble.error = None

    with pytest.raises(CircuitOpen):
        await engine.infer(InferRequest("m", {"x": rows(1.0)}, caller="s1"))
    await call(engine)
    assert engine.status("m").circuit.reason.endswith("for share s1")  # type: ignore[union-attr]


async def test_requests_that_are_wrong_open_nothing(engine: Engine, trouble: Trouble) -> None:
    await failing(engine, ExecutionError, 0)
    for _ in range(8):
        with pytest.raises(InvalidInput, match="does not take 666"):
            await call(engine, 666)

    assert (await call(engine)).shape == (1, 2)


async def test_a_wrong_request_takes_no_place_among_those_let_through(
    engine: Engine, trouble: Trouble, clock: Clock
) -> None:
    trouble.error = ExecutionError("out of memory")
    await failing(engine, ExecutionError, 4)
    trouble.error = None
    clock.now += 5

    for _ in range(2 * PROBES):
        with pytest.raises(InvalidInput, match="unexpected inference input"):
            await engine.infer(InferRequest("m", {"z": rows(1.0)}))

    for _ in range(PROBES + 1):
        await call(engine)


async def test_slow_calls_open_it_where_the_settings_say_what_slow_is(
    engine: Engine, trouble: Trouble, clock: Clock
) -> None:
    trouble.takes_s = 3.0
    for _ in range(4):
        await call(engine)
    assert not engine.status("m").circuit.opened  # type: ignore[union-attr]

    await engine.configure("m", {"breaker_slow_call_s": 3})
    for _ in range(4):
        await call(engine)

    with pytest.raises(CircuitOpen, match="4 took 3 s or longer"):
        await call(engine)


async def test_it_is_switched_off_while_the_model_serves(engine: Engine, trouble: Trouble) -> None:
    trouble.error = ExecutionError("out of memory")
    await failing(engine, ExecutionError, 4)
    await failing(engine, CircuitOpen, 1)

    await engine.configure("m", {"breaker_failure_rate": 0})

    await failing(engine, ExecutionError, 8)
    assert engine.status("m").circuit is None


async def test_a_new_load_begins_with_a_closed_one(engine: Engine, trouble: Trouble) -> None:
    trouble.error = ExecutionError("out of memory")
    await failing(engine, ExecutionError, 4)
    trouble.error = None

    await engine.load("m", models.add_constant(2.0).SerializeToString())

    await call(engine)
    assert engine.status("m").circuit.opened == 0  # type: ignore[union-attr]


# Falling back


async def with_fallback(tmp_path: Path, clock: Clock, trouble: Trouble, settings: dict[str, object]) -> Engine:
    """It serves "m": version 1 adds ten, and version 2, which is routed, has the trouble that the test gives it."""
    opener = Opener(FakeSession(lambda x: x + 10), FakeSession(trouble), FakeSession(lambda x: x + 30))
    engine = Engine(ModelStore(tmp_path / "fallback"), open_session=opener, clock=clock)
    await engine.start()
    await engine.load("m", models.add_constant(1.0).SerializeToString(), settings)
    await engine.load("m", models.add_constant(2.0).SerializeToString())
    return engine


async def test_a_version_that_was_kept_answers_calls_without_a_version_while_the_other_fails(
    tmp_path: Path, clock: Clock, trouble: Trouble
) -> None:
    engine = await with_fallback(tmp_path, clock, trouble, {**SETTINGS, "fallback": "previous"})
    assert (await call(engine))[0, 0] == 1
    trouble.error = ExecutionError("out of memory")
    await failing(engine, ExecutionError, 4)

    answer = await engine.infer(InferRequest("m", {"x": rows(1.0)}))
    assert (answer.version, answer.outputs["y"][0, 0]) == ("1", 11)
    with pytest.raises(CircuitOpen):
        await call(engine, version="2")
    told = engine.status("m")
    assert (told.version, told.circuit.state, told.circuit.fallback) == ("2", CircuitState.OPEN, "1")  # type: ignore[union-attr]

    trouble.error = None
    clock.now += 5
    for _ in range(PROBES + 1):
        assert (await engine.infer(InferRequest("m", {"x": rows(1.0)}))).version == "2"
    await engine.close(5)


@pytest.mark.parametrize("end", ["another version", "setting", "discard", "unload"])
async def test_what_was_kept_goes_when_it_is_needed_no_more(
    tmp_path: Path, clock: Clock, trouble: Trouble, end: str
) -> None:
    engine = await with_fallback(tmp_path, clock, trouble, {"fallback": "previous"})
    ready = [each.version for each in engine.statuses("m") if each.state is ModelState.READY]
    assert ready == ["1", "2"]

    if end == "another version":
        await engine.load("m", models.add_constant(3.0).SerializeToString())
    elif end == "setting":
        await engine.configure("m", {"fallback": "none"})
    elif end == "discard":
        await engine.discard("m", "1")
    else:
        await engine.unload("m")

    await until_async(lambda: not any(each.version == "1" for each in engine.statuses("m")))
    left = {each.version: each.circuit.fallback for each in engine.statuses("m") if each.circuit is not None}
    assert left == {"another version": {"2": "", "3": "2"}, "unload": {}}.get(end, {"2": ""})
    await engine.close(5)


async def test_nothing_is_kept_that_was_not_asked_for_or_that_could_not_stand_in(
    tmp_path: Path, clock: Clock, trouble: Trouble
) -> None:
    engine = await with_fallback(tmp_path, clock, trouble, {})
    await until_async(lambda: [each.version for each in engine.statuses("m")] == ["2"])
    await engine.configure("m", {"fallback": "previous"})
    await engine.load("m", models.add_constant(3.0).SerializeToString(), {"max_batch_size": 3})
    await until_async(lambda: [each.version for each in engine.statuses("m")] == ["3"])
    await engine.close(5)

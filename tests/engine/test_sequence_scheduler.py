"""Sequences through the whole engine, with ONNX Runtime; a session that can be held where moments matter."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests import models
from tests.engine.fakes import Recorder
from tests.helpers import sequence_models as made
from tests.helpers.clock import Clock
from workbench.config import ModelConfig
from workbench.core.messages import GUEST_PRIORITY, InferRequest, InferResponse, ReleaseReason, SequenceStep
from workbench.core.model import ModelState
from workbench.core.ports import Outcome, Session
from workbench.core.sequence_config import SequenceFigures
from workbench.core.tensor import Array
from workbench.engine import Engine
from workbench.errors import (
    Cancelled,
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    ModelError,
    QueueFull,
    Unavailable,
    Unsupported,
    WorkbenchError,
)
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore
from workbench.runtimes.registry import open_session

pytestmark = pytest.mark.timeout(60)

Serve = Callable[..., Awaitable[Engine]]

ACCUMULATE = made.config(made.control("START") + made.state())
ONE_BY_ONE = made.config(
    "oldest { max_candidate_sequences: 8 }" + made.control("START") + made.state(), max_batch_size=0
)

ONE_AT_ONCE = made.config("oldest { max_candidate_sequences: 1 }" + made.control("START") + made.state())


class Held:
    """A Session over another one, whose runs wait inside while `gate` is cleared. An input of 666 fails."""

    def __init__(self, session: Session) -> None:
        self.platform = session.platform
        self.signature = session.signature
        self.device = session.device
        self.notes = session.notes
        self.runner_threads = 1  # on a thread of its own, never on the event loop
        self.session = session
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.batches: list[int] = []

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        self.batches.append(len(inputs["INPUT"]))
        self.entered.release()
        assert self.gate.wait(30)
        if (inputs["INPUT"] == 666).any():
            raise InvalidInput("the model does not take 666")
        return self.session.run(inputs, outputs)

    def close(self) -> None:
        self.session.close()

    def hold(self) -> None:
        """From now on runs wait inside until `gate` is set; forgets the runs before."""
        self.gate.clear()
        self.batches.clear()
        while self.entered.acquire(blocking=False):
            pass

    async def inside(self) -> None:
        """A run has begun."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=30)


class Holder:
    """Opens sessions that can be held."""

    def __init__(self) -> None:
        self.opened: list[Held] = []

    def __call__(self, path: Path, config: ModelConfig, *, instances: int) -> Held:
        self.opened.append(Held(open_session(path, config, instances=instances)))
        return self.opened[-1]

    @property
    def last(self) -> Held:
        return self.opened[-1]


def step(value: int, id: int | str = 5, *, start: bool = False, end: bool = False) -> InferRequest:
    return InferRequest("m", {"INPUT": np.array([[value]], np.int32)}, sequence=SequenceStep(id, start, end))


def said(response: InferResponse) -> int:
    return int(response.outputs["OUTPUT"].item())


def figures(engine: Engine) -> SequenceFigures:
    found = engine.status("m").sequences
    assert found is not None
    return found


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Serves one model as "m"."""
    engines = []

    async def serve(model: ModelProto, text: str, **more: object) -> Engine:
        made.save(tmp_path / "repository", "m", model, text)
        repositories = [LocalRepository(tmp_path / "repository")]
        engine = Engine(ModelStore(tmp_path / "store"), repositories=repositories, **more)  # type: ignore[arg-type]
        await engine.start()
        engines.append(engine)
        await engine.load("m")
        return engine

    yield serve
    for engine in engines:
        await engine.close(5)


async def test_a_sequence_is_added_up_beside_another_one(serve: Serve) -> None:
    engine = await serve(made.accumulator(), ACCUMULATE)
    assert said(await engine.infer(step(3, start=True))) == 3
    assert said(await engine.infer(step(4))) == 7
    assert said(await engine.infer(step(10, "five", start=True))) == 10
    assert said(await engine.infer(step(5, end=True))) == 12
    assert said(await engine.infer(step(1, "five"))) == 11
    with pytest.raises(InvalidInput, match="sequence 5 to model 'm' must specify the START flag"):
        await engine.infer(step(5))
    assert figures(engine) == SequenceFigures(active=1, state_bytes=4, started=2, ended=1)


async def test_callers_see_neither_controls_nor_states(serve: Serve) -> None:
    engine = await serve(made.accumulator(), ACCUMULATE)
    signature = engine.status("m").signature
    assert signature is not None
    assert [spec.name for spec in (*signature.inputs, *signature.outputs)] == ["INPUT", "OUTPUT"]
    response = await engine.infer(step(3, start=True))
    assert list(response.outputs) == ["OUTPUT"]
    request = step(3)
    request.inputs = {**request.inputs, "STATE": np.zeros((1, 1), np.int32)}
    with pytest.raises(InvalidInput, match="unexpected inference input 'STATE'"):
        await engine.infer(request)
    request = step(3)
    request.outputs = ("NEW",)
    with pytest.raises(InvalidInput, match="unexpected inference output 'NEW'"):
        await engine.infer(request)


async def test_a_state_output_that_is_listed_can_be_asked_for(serve: Serve) -> None:
    listed = 'output { name: "NEW" data_type: TYPE_INT32 dims: [ 1 ] }'
    engine = await serve(made.accumulator(), made.config(made.control("START") + made.state(), more=listed))
    assert list((await engine.infer(step(3, start=True))).outputs) == ["OUTPUT", "NEW"]
    request = step(4)
    request.outputs = ("NEW",)
    response = await engine.infer(request)
    assert {name: array.item() for name, array in response.outputs.items()} == {"NEW": 7}


async def test_a_request_stays_as_its_caller_made_it(serve: Serve) -> None:
    engine = await serve(made.accumulator(), ACCUMULATE)
    request = step(3, start=True)
    await engine.infer(request)
    assert list(request.inputs) == ["INPUT"]
    assert said(await engine.infer(request)) == 3


async def test_steps_of_different_sequences_share_a_run_and_those_of_one_do_not(serve: Serve) -> None:
    holder = Holder()
    engine = await serve(made.accumulator(), ACCUMULATE, open_session=holder)
    assert engine.status("m").batching.startswith("batched") and not engine.status("m").notes
    assert engine.status("m").batching.endswith("; sequences: direct, 8 at once")
    session = holder.last
    session.hold()
    first = asyncio.ensure_future(engine.infer(step(1, 9, start=True)))
    await session.inside()
    sent = [
        asyncio.ensure_future(engine.infer(step(10 * id + place, id, start=place == 0)))
        for place in range(3)
        for id in range(1, 5)
    ]
    await asyncio.sleep(0)
    session.gate.set()
    answers = [said(answer) for answer in await asyncio.gather(first, *sent)]
    assert answers == [
        1,
        *(10 * id for id in range(1, 5)),
        *(20 * id + 1 for id in range(1, 5)),
        *(30 * id + 3 for id in range(1, 5)),
    ]
    assert session.batches == [1, 4, 4, 4]


async def test_no_more_sequences_run_at_once_than_the_strategy_says(serve: Serve) -> None:
    text = made.config("oldest { max_candidate_sequences: 2 }" + made.control("START") + made.state())
    engine = await serve(made.accumulator(), text)
    await asyncio.gather(*(engine.infer(step(1, id, start=True)) for id in (1, 2)))
    third = [asyncio.ensure_future(engine.infer(step(7, 3, start=place == 0))) for place in range(2)]
    assert said(await engine.infer(step(1, 1))) == 2
    assert not third[0].done() and figures(engine).backlog == 1 and engine.status("m").queued == 2
    assert said(await engine.infer(step(1, 2, end=True))) == 2
    assert [said(answer) for answer in await asyncio.gather(*third)] == [7, 14]
    assert figures(engine).backlog == 0 and figures(engine).active == 2


async def test_an_idle_sequence_is_dropped_and_the_next_has_its_place(serve: Serve) -> None:
    idle = "max_sequence_idle_microseconds: 20000 oldest { max_candidate_sequences: 1 }"
    engine = await serve(made.accumulator(), made.config(idle + made.control("START") + made.state()))
    assert said(await engine.infer(step(3, 1, start=True))) == 3
    assert said(await engine.infer(step(4, 2, start=True))) == 4  # without the timer it would wait for ever
    with pytest.raises(InvalidInput, match=r"START flag .* dropped after 0\.02 s"):
        await engine.infer(step(3, 1))
    assert (figures(engine).dropped, figures(engine).started) == (1, 2)


async def test_a_sequence_is_dropped_by_the_engines_clock(serve: Serve) -> None:
    clock = Clock()
    text = ACCUMULATE.replace("max_sequence_idle_microseconds: 60000000", "")
    engine = await serve(made.accumulator(), text, clock=clock)
    await engine.infer(step(3, start=True))
    clock.now += 0.9
    assert said(await engine.infer(step(4))) == 7
    clock.now += 1.0
    with pytest.raises(InvalidInput, match="START flag"):
        await engine.infer(step(5))
    assert figures(engine) == SequenceFigures(started=1, dropped=1)


async def test_a_step_that_failed_changes_nothing(serve: Serve) -> None:
    holder = Holder()
    engine = await serve(made.accumulator(), ACCUMULATE, open_session=holder)
    assert said(await engine.infer(step(3, start=True))) == 3
    session = holder.last
    session.hold()
    sent = [asyncio.ensure_future(engine.infer(step(value))) for value in (666, 1, 2)]
    await session.inside()
    session.gate.set()
    answers = await asyncio.gather(*sent, return_exceptions=True)
    assert [type(answer) for answer in answers] == [InvalidInput, Conflict, Conflict]
    assert "before this one in sequence 5" in str(answers[1])
    assert said(await engine.infer(step(4))) == 7
    assert figures(engine).failed == 1


async def test_one_that_fails_in_a_batch_harms_no_other_sequence(serve: Serve) -> None:
    holder = Holder()
    engine = await serve(made.accumulator(), ACCUMULATE, open_session=holder)
    await asyncio.gather(*(engine.infer(step(id, id, start=True)) for id in (1, 2, 3)))
    session = holder.last
    session.hold()
    first = asyncio.ensure_future(engine.infer(step(1, 9, start=True)))
    await session.inside()
    sent = [asyncio.ensure_future(engine.infer(step(value, id))) for id, value in ((1, 10), (2, 666), (3, 30))]
    await asyncio.sleep(0)
    session.gate.set()
    await first
    answers = await asyncio.gather(*sent, return_exceptions=True)
    assert [answer if isinstance(answer, BaseException) else said(answer) for answer in answers][::2] == [11, 33]
    assert isinstance(answers[1], InvalidInput)
    assert [said(await engine.infer(step(100, id))) for id in (1, 2, 3)] == [111, 102, 133]


async def test_a_caller_that_leaves_has_changed_nothing(serve: Serve) -> None:
    holder, recorder = Holder(), Recorder()
    engine = await serve(made.accumulator(), ACCUMULATE, open_session=holder, observer=recorder)
    await engine.infer(step(3, start=True))
    session = holder.last
    session.hold()
    inside, behind = (asyncio.ensure_future(engine.infer(step(value))) for value in (10, 20))
    await session.inside()
    inside.cancel()
    session.gate.set()
    with pytest.raises(Conflict):
        await behind
    assert said(await engine.infer(step(10))) == 13
    assert recorder.outcomes == [Outcome.OK, Outcome.CANCELLED, Outcome.REJECTED, Outcome.OK]


async def test_a_caller_that_left_before_the_run_is_not_run(serve: Serve) -> None:
    holder = Holder()
    engine = await serve(made.accumulator(), ACCUMULATE, open_session=holder)
    await asyncio.gather(*(engine.infer(step(3, id, start=True)) for id in (1, 2)))
    session = holder.last
    session.hold()
    other = asyncio.ensure_future(engine.infer(step(10, 1)))
    await session.inside()
    left, behind = (asyncio.ensure_future(engine.infer(step(10, 2))) for _ in range(2))
    await asyncio.sleep(0)
    left.cancel()
    session.gate.set()
    assert said(await other) == 13
    with pytest.raises(Conflict):
        await behind
    assert said(await engine.infer(step(10, 2))) == 13 and session.batches == [1, 1]


async def test_a_caller_that_left_can_send_the_step_again_at_once(serve: Serve) -> None:
    holder = Holder()
    engine = await serve(made.accumulator(), ACCUMULATE, open_session=holder)
    await engine.infer(step(3, start=True))
    session = holder.last
    session.hold()
    inside, waiting = (asyncio.ensure_future(engine.infer(step(10, end=end))) for end in (False, True))
    await session.inside()
    waiting.cancel()
    inside.cancel()
    await asyncio.sleep(0)
    again = [asyncio.ensure_future(engine.infer(step(10, end=end))) for end in (False, True)]
    await asyncio.sleep(0)
    session.gate.set()
    assert [said(answer) for answer in await asyncio.gather(*again)] == [13, 23]
    assert figures(engine).ended == 1


async def test_many_callers_that_fail_leave_and_come_again_get_their_own_sums(serve: Serve) -> None:
    random = Random(7)
    text = made.config("oldest { max_candidate_sequences: 6 }" + made.control("START") + made.state())
    engine = await serve(made.accumulator(), text, open_session=Holder())
    await engine.configure("m", {"max_queue_size": 100})
    seen: Counter[str] = Counter()

    async def call(id: int) -> None:
        total: int | None = None
        for count in range(80):
            start = total is None or random.random() < 0.05
            end = random.random() < 0.15 or (count == 79 and not start)
            value = 666 if random.random() < 0.05 else random.randint(-9, 9)
            answer = asyncio.get_running_loop().create_future()
            try:
                engine.submit(step(value, id, start=start, end=end), answer)
                for _ in range(random.randint(0, 20)):
                    await asyncio.sleep(0)
                if random.random() < 0.1 and answer.cancel():
                    seen["left"] += 1
                    total = None if start else total
                    continue
                expected = value if start or total is None else total + value
                assert said(await answer) == expected, (id, count)
                total = None if end else expected
                seen["right"] += 1
            except InvalidInput as error:
                assert "666" in error.message
                seen["failed"] += 1
                total = None if start else total
        if total is not None:
            await engine.infer(step(0, id, end=True))

    await asyncio.gather(*(call(id) for id in range(1, 13)))
    assert seen["right"] > 500 and seen["left"] > 20 and seen["failed"] > 20, seen
    found = figures(engine)
    assert (found.backlog, found.held) == (0, 0)


async def test_a_step_that_waits_too_long_for_its_turn_is_told_at_once(serve: Serve) -> None:
    text = made.config("oldest { max_candidate_sequences: 1 }" + made.control("START") + made.state())
    engine = await serve(made.accumulator(), text)
    await engine.infer(step(1, 1, start=True))
    late = step(1, 2, start=True)
    late.deadline = engine.clock() + 0.02
    with pytest.raises(DeadlineExceeded, match="timeout of the corresponding sequence has been expired"):
        await engine.infer(late)
    assert said(await engine.infer(step(1, 1))) == 2
    assert figures(engine).backlog == 0


async def test_what_waits_for_its_turn_counts_as_waiting(serve: Serve) -> None:
    holder = Holder()
    engine = await serve(made.accumulator(), ACCUMULATE, open_session=holder)
    await engine.configure("m", {"max_queue_size": 2})
    session = holder.last
    session.hold()
    sent = [asyncio.ensure_future(engine.infer(step(1, start=True)))]
    await session.inside()
    sent.append(asyncio.ensure_future(engine.infer(step(1))))
    await asyncio.sleep(0)
    of_share = step(1, id=6, start=True)
    of_share.priority = GUEST_PRIORITY
    with pytest.raises(QueueFull, match="those of shares may fill half of its queue"):
        await engine.infer(of_share)
    sent.append(asyncio.ensure_future(engine.infer(step(1))))
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match="max_queue_size"):
        await engine.infer(step(1))
    session.gate.set()
    assert [said(answer) for answer in await asyncio.gather(*sent)] == [1, 2, 3]


def wide(id: int, *, start: bool = False, end: bool = False) -> InferRequest:
    """A step of 256 KiB."""
    return InferRequest("m", {"INPUT": np.ones((1, 1 << 16), np.int32)}, sequence=SequenceStep(id, start, end))


async def test_states_over_the_limit_are_refused(serve: Serve) -> None:
    engine = await serve(made.grower(), made.growing())
    await engine.configure("m", {"max_state_mib": 1})
    for count in range(1, 5):
        assert said(await engine.infer(wide(5, start=count == 1))) == count << 16
    assert figures(engine).state_bytes == 1 << 20
    with pytest.raises(Unavailable, match="max_state_mib allows 1048576"):
        await engine.infer(wide(5))
    with pytest.raises(Unavailable, match="max_state_mib"):
        await engine.infer(step(1, 6, start=True))
    assert said(await engine.infer(wide(5, end=True))) == 5 << 16  # needs no room
    assert figures(engine).state_bytes == 0
    assert said(await engine.infer(step(1, 6, start=True))) == 1


async def test_states_of_different_sizes_do_not_share_a_run(serve: Serve) -> None:
    recorder = Recorder()
    engine = await serve(made.grower(), made.growing(), observer=recorder)
    await asyncio.gather(
        engine.infer(step(1, 1, start=True)), *(engine.infer(step(2, 2, start=True)) for _ in range(2))
    )
    await asyncio.gather(*(engine.infer(step(3, 1)) for _ in range(1)))
    sent = [engine.infer(step(place + id, id)) for place in range(4) for id in range(1, 3)]
    answers = [said(answer) for answer in await asyncio.gather(*sent)]
    assert answers == [5, 4, 7, 7, 10, 11, 14, 16]
    assert ReleaseReason.ALONE not in [reason for _, _, reason in recorder.batches]


async def test_a_model_whose_states_have_any_size_never_runs_on_the_event_loop(serve: Serve) -> None:
    engine = await serve(made.grower(1), made.growing())
    assert engine.status("m").batching.startswith("batched")
    assert "event loop" not in engine.status("m").execution


async def with_a_step_inside(serve: Serve, steps: int) -> tuple[Engine, Held, list[asyncio.Future[InferResponse]]]:
    """So many steps of one sequence, the first of them inside its session until that one's gate is set."""
    holder = Holder()
    engine = await serve(made.accumulator(), ACCUMULATE, open_session=holder)
    session = holder.last
    session.hold()
    sent = [asyncio.ensure_future(engine.infer(step(1, start=place == 0))) for place in range(steps)]
    await session.inside()
    return engine, session, sent


async def test_what_was_accepted_is_finished_before_an_unload(serve: Serve) -> None:
    engine, session, sent = await with_a_step_inside(serve, 4)
    unloading = asyncio.ensure_future(engine.unload("m"))
    while engine.status("m").state is not ModelState.DRAINING:
        await asyncio.sleep(0)
    session.gate.set()
    assert [said(answer) for answer in await asyncio.gather(*sent)] == [1, 2, 3, 4]
    await unloading


async def test_a_drain_waits_for_no_idle_sequence(serve: Serve) -> None:
    engine = await serve(made.accumulator(), ONE_AT_ONCE, clock=Clock())  # so nothing is idle for too long
    await engine.infer(step(1, 1, start=True))
    waiting = [asyncio.ensure_future(engine.infer(step(7, id, start=place == 0))) for id in (2, 3) for place in (0, 1)]
    await asyncio.sleep(0)
    assert figures(engine).backlog == 2
    await asyncio.wait_for(engine.close(300), 30)
    assert [said(answer) for answer in await asyncio.gather(*waiting)] == [7, 14, 7, 14]


async def test_a_drain_that_takes_too_long_ends_what_waits(serve: Serve) -> None:
    engine, session, sent = await with_a_step_inside(serve, 3)
    closing = asyncio.ensure_future(engine.close(0.01))
    answers = await asyncio.gather(*sent[1:], return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    session.gate.set()
    await closing
    assert list((await sent[0]).outputs) == ["OUTPUT"] and said(await sent[0]) == 1


async def test_a_run_that_does_not_come_back_ends_all_that_wait_behind_it(serve: Serve) -> None:
    engine, session, sent = await with_a_step_inside(serve, 3)
    assert engine.give_up_stuck(0.0) == ["m"]
    answers = await asyncio.gather(*sent, return_exceptions=True)
    assert [type(answer) for answer in answers] == [DeadlineExceeded] * 3
    session.gate.set()


async def test_a_model_that_is_loaded_anew_has_no_sequences(serve: Serve) -> None:
    engine = await serve(made.accumulator(), ACCUMULATE)
    await engine.infer(step(3, start=True))
    await engine.load("m", config={"intra_op_threads": 1})
    with pytest.raises(InvalidInput, match=r"START flag .* loaded anew"):
        await engine.infer(step(3))


async def test_another_configuration_of_the_same_file_is_loaded(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "m"
    (folder / "initial_state").mkdir(parents=True)
    (folder / "initial_state" / "begin").write_bytes(np.array([100], "<i4").tobytes())
    engine = await serve(made.adder(), made.config(made.state()))
    for initial, first in ((FROM_FILE, 103), (ZERO, 3)):
        (folder / "config.pbtxt").write_text(made.config(made.state(initial)))
        assert not (await engine.load("m")).unchanged
        assert said(await engine.infer(step(3, start=True))) == first
        assert (await engine.load("m")).unchanged
        assert said(await engine.infer(step(4))) == first + 4


async def test_live_settings_keep_the_sequences(serve: Serve) -> None:
    engine = await serve(made.accumulator(), ACCUMULATE)
    await engine.infer(step(3, start=True))
    await engine.configure("m", {"max_batch_size": 4, "max_queue_size": 7})
    assert said(await engine.infer(step(4))) == 7


async def test_a_request_is_one_step(serve: Serve) -> None:
    engine = await serve(made.accumulator(), ACCUMULATE)
    request = step(3, start=True)
    request.inputs = {"INPUT": np.ones((2, 1), np.int32)}
    with pytest.raises(InvalidInput, match="must specify batch-size 1 due to requirements of sequence batcher"):
        await engine.infer(request)


async def test_a_step_without_rows_never_reaches_an_operator_that_ends_the_process(serve: Serve) -> None:
    model = made.accumulator()
    tensors = {"steps": (1, 1, 1), "w": (1, 8, 1), "r": (1, 8, 2)}
    model.graph.initializer.extend(numpy_helper.from_array(np.ones(dims, np.float32), n) for n, dims in tensors.items())
    model.graph.node.append(helper.make_node("LSTM", [*tensors], ["z"], hidden_size=2))
    initial = 'initial_state { name: "none" data_type: TYPE_INT32 dims: [ 1, 1 ] zero_data: true }'
    strategy = "oldest { max_candidate_sequences: 8 }" + made.control("START") + made.state(initial, "[ -1, 1 ]")
    engine = await serve(model, made.config(strategy, max_batch_size=0).replace("dims: [ 1 ]", "dims: [ -1, 1 ]"))
    request = step(3, start=True)
    request.inputs = {"INPUT": np.ones((0, 1), np.int32)}
    with pytest.raises(InvalidInput, match="without rows is no step of a sequence"):
        await engine.infer(request)
    assert said(await engine.infer(step(3, start=True))) == 3


async def test_an_ordinary_model_takes_no_sequences(serve: Serve) -> None:
    engine = await serve(made.accumulator(), "max_batch_size: 8")
    inputs = {name: np.ones((1, 1), np.int32) for name in ("INPUT", "START", "STATE")}
    with pytest.raises(Unsupported, match="keeps no state"):
        await engine.infer(InferRequest("m", inputs, sequence=SequenceStep(1, True)))
    assert engine.status("m").sequences is None


async def test_a_model_that_is_not_batched_runs_its_sequences_one_by_one(serve: Serve) -> None:
    text = ONE_BY_ONE.replace("dims: [ 1 ]", "dims: [ 1, 1 ]")
    engine = await serve(made.accumulator(1), text)
    sent = [engine.infer(step(id, id, start=place == 0)) for place in range(3) for id in range(1, 4)]
    assert [said(answer) for answer in await asyncio.gather(*sent)] == [1, 2, 3, 2, 4, 6, 3, 6, 9]
    assert engine.status("m").batching.startswith("unbatched")


async def test_a_model_that_mixes_the_states_of_a_batch_is_not_batched(serve: Serve) -> None:
    """The state that it keeps is the largest of its batch's."""
    nodes = [
        helper.make_node("Add", ["STATE", "INPUT"], ["OUTPUT"]),
        helper.make_node("ReduceMax", ["OUTPUT"], ["most"], keepdims=1),
        helper.make_node("Shape", ["OUTPUT"], ["shape"]),
        helper.make_node("Expand", ["most", "shape"], ["NEW"]),
    ]
    shape = ["rows", 1]
    mixing = models.model(
        nodes,
        [models.value("INPUT", "INT32", shape), models.value("STATE", "INT32", shape)],
        [models.value("OUTPUT", "INT32", shape), models.value("NEW", "INT32", shape)],
    )
    engine = await serve(mixing, made.config(made.state()))
    assert engine.status("m").batching.startswith("unbatched"), engine.status("m").batching
    sent = [engine.infer(step(id, id, start=place == 0)) for place in range(3) for id in (1, 50)]
    assert [said(answer) for answer in await asyncio.gather(*sent)] == [1, 50, 2, 100, 3, 150]


async def test_it_is_warmed_up_by_requests_that_name_neither_controls_nor_states(serve: Serve) -> None:
    given = 'inputs { key: "INPUT" value { data_type: TYPE_INT32 dims: [ 1 ] random_data: true } }'
    warm_up = f'model_warmup [ {{ name: "one" batch_size: 1 {given} }}, {{ name: "many" batch_size: 3 {given} }} ]'
    holder = Holder()
    await serve(
        made.accumulator(), made.config(made.control("START") + made.state(), more=warm_up), open_session=holder
    )
    assert holder.last.batches[-2:] == [1, 3]


ZERO = 'initial_state { name: "zero" data_type: TYPE_INT32 dims: [ 1 ] zero_data: true }'
FROM_FILE = 'initial_state { name: "file" data_type: TYPE_INT32 dims: [ 1 ] data_file: "begin" }'


@pytest.mark.parametrize(("initial", "first"), [("", 3), (ZERO, 3), (FROM_FILE, 103)])
async def test_a_sequence_begins_with_its_initial_state(serve: Serve, tmp_path: Path, initial: str, first: int) -> None:
    folder = tmp_path / "repository" / "m" / "initial_state"
    folder.mkdir(parents=True)
    (folder / "begin").write_bytes(np.array([100, 7], "<i4").tobytes())  # more than is needed, as in Triton
    engine = await serve(made.adder(), made.config(made.state(initial)))
    for id in (1, 2):
        assert said(await engine.infer(step(3, id, start=True))) == first
        assert said(await engine.infer(step(4, id))) == first + 4
    assert said(await engine.infer(step(3, 1, start=True))) == first


async def test_controls_are_told_in_any_type(serve: Serve) -> None:
    """The answer is START as it came, END, READY and CORRID, of three types."""
    nodes = [
        helper.make_node("Cast", [name], [f"as {name}"], to=TensorProto.INT64) for name in ("INPUT", "S", "E", "R")
    ]
    nodes.append(
        helper.make_node("Concat", [f"as {name}" for name in ("INPUT", "S", "E", "R")] + ["C"], ["OUTPUT"], axis=1)
    )
    shape = ["rows", 1]
    kinds = {"INPUT": "INT32", "S": "FP32", "E": "BOOL", "R": "INT32", "C": "INT64"}
    told = models.model(
        nodes,
        [models.value(name, kind, shape) for name, kind in kinds.items()],
        [models.value("OUTPUT", "INT64", ["rows", 5])],
    )
    text = made.config(
        made.control("S", "START", "fp32_false_true: [ -1, 2.0 ]")
        + made.control("E", "END", "bool_false_true: [ false, true ]")
        + made.control("R", "READY", "int32_false_true: [ 0, 9 ]")
        + made.control("C", "CORRID", "data_type: TYPE_INT64")
    ).replace("TYPE_INT32 dims: [ 1 ] }\n        \n", "TYPE_INT64 dims: [ 5 ] }\n")
    engine = await serve(told, text)
    big = (1 << 64) - 2
    rows = [
        await engine.infer(each) for each in (step(7, 3, start=True), step(8, 3, end=True), step(9, big, start=True))
    ]
    assert [row.outputs["OUTPUT"].tolist()[0] for row in rows] == [[7, 2, 0, 9, 3], [8, -1, 1, 9, 3], [9, 2, 0, 9, -2]]
    with pytest.raises(InvalidInput, match="control 'C' data-type is 'BYTES', but model 'm' expects 'INT64'"):
        await engine.infer(step(1, "five", start=True))
    assert figures(engine) == SequenceFigures(active=1, started=2, ended=1)  # "five" has not begun


async def test_a_model_that_takes_ids_as_text_takes_no_numbers(serve: Serve) -> None:
    text = made.control("CORRID", values="data_type: TYPE_STRING")
    sequences = made.control("START") + made.control("END") + text + made.state()
    engine = await serve(made.simple_string_dyna_sequence(), made.config(sequences))
    with pytest.raises(InvalidInput, match="control 'CORRID' data-type is 'UINT64', but model 'm' expects 'BYTES'"):
        await engine.infer(step(1, 5, start=True))
    assert said(await engine.infer(step(1, "5", start=True, end=True))) == 6


@pytest.mark.parametrize(
    ("sequences", "reason"),
    [
        (made.control("BEGIN", "START"), "'BEGIN' is no input"),
        (made.control("START", values="fp32_false_true: [ 0, 1 ]"), "'START' is FP32, and the model has"),
        (made.state(dims="[ 2 ]"), r"'STATE' is said to be INT32 \[-1, 2\]"),
        (made.state().replace("TYPE_INT32", "TYPE_INT64"), "'STATE' is said to be INT64"),
        (made.state().replace("STATE", "STAY"), "'STAY' is no input"),
        (made.state().replace("NEW", "OLD"), "'OLD' is no output"),
        (made.control("STATE", "START") + made.state(), "more than one control or state"),
    ],
)
async def test_what_does_not_fit_the_model_is_told_at_load(serve: Serve, sequences: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        await serve(made.accumulator(), made.config(sequences))


STEPS = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(-9, 9),
        st.booleans(),
        st.sampled_from([False, False, False, True]),
        st.booleans(),
    ),
    min_size=1,
    max_size=25,
)


def test_any_interleaving_adds_up_as_plain_sums_do(tmp_path: Path) -> None:
    """Each example is a list of (id, value, START, END, whether to wait for all answers so far)."""
    two = "oldest { max_candidate_sequences: 2 }"
    made.save(tmp_path / "repository", "m", made.accumulator(), made.config(two + made.control("START") + made.state()))
    engine = Engine(ModelStore(tmp_path / "store"), repositories=[LocalRepository(tmp_path / "repository")])
    seen: Counter[str] = Counter()

    async def play(example: list[tuple[int, int, bool, bool, bool]]) -> None:
        await engine.load("m")
        sums: dict[int, int] = {}
        waiting: list[tuple[asyncio.Future[InferResponse], int]] = []
        for id, value, start, end, wait in example:
            request = step(value, id, start=start, end=end)
            if not start and id not in sums:
                with pytest.raises(InvalidInput, match="START flag"):
                    await engine.infer(request)
                seen["refused"] += 1
                continue
            sums[id] = value if start else sums[id] + value
            waiting.append((asyncio.ensure_future(engine.infer(request)), sums[id]))
            await asyncio.sleep(0)  # it is submitted
            if end:
                del sums[id]
            if wait and len(sums) < 2:  # else what is in the backlog may wait for one to end
                assert [said(await answer) for answer, _ in waiting] == [expected for _, expected in waiting]
                waiting.clear()
        for id in sums:
            waiting.append((asyncio.ensure_future(engine.infer(step(1, id, end=True))), sums[id] + 1))
        assert [said(await answer) for answer, _ in waiting] == [expected for _, expected in waiting]
        seen["answered"] += len(example)
        assert (figures(engine).active, figures(engine).backlog, figures(engine).state_bytes) == (0, 0, 0)

    with asyncio.Runner() as runner:

        @settings(max_examples=60, deadline=None)
        @given(STEPS)
        def check(example: list[tuple[int, int, bool, bool, bool]]) -> None:
            try:
                runner.run(play(example))
            except BaseException:
                runner.run(engine.unload("m"))  # what it left would be in the way of the next one
                raise

        runner.run(engine.start())
        check()
        runner.run(engine.close(5))
    assert seen["answered"] > 100 and seen["refused"] > 10, seen


async def test_errors_are_of_the_tree(serve: Serve) -> None:
    engine = await serve(made.accumulator(), ACCUMULATE)
    for request in (step(1, 0, start=True), step(1, ""), step(1, 8)):
        with pytest.raises(WorkbenchError):
            await engine.infer(request)
    with pytest.raises((Cancelled, DeadlineExceeded)):
        request = step(1, start=True)
        request.deadline = engine.clock() - 1
        await engine.infer(request)
    with pytest.raises(InvalidInput, match="START flag"):
        await engine.infer(step(1))

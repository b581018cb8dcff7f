"""Pipelines in the engine: what becomes of a request, whatever happens to it or to a stage's model on the way."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.engine.fakes import SIGNATURE, FakeSession, Opener, Recorder, rows
from tests.helpers.waiting import until_async
from workbench.config import ModelConfig
from workbench.core.messages import InferRequest, InferResponse, SequenceStep
from workbench.core.model import FREE, ModelState, Signature, TensorSpec
from workbench.core.pipeline import Pipeline, PipelineStep
from workbench.core.pipeline_document import encode
from workbench.core.ports import Outcome
from workbench.core.tensor import Array
from workbench.engine import Engine
from workbench.engine.pipeline_graph import MAX_NESTED, MAX_STAGES
from workbench.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelError,
    QueueFull,
    Unavailable,
    Unsupported,
    WorkbenchError,
)
from workbench.repository.desired_state import DesiredState
from workbench.repository.store import ModelStore

pytestmark = pytest.mark.timeout(60)

Start = Callable[..., Awaitable[Engine]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Engines with models a, b, ..., one for each session, that are closed at the end."""
    engines = []

    async def started(*sessions: FakeSession, config: Mapping[str, object] | None = None, **more: object) -> Engine:
        engine = Engine(ModelStore(tmp_path / "store"), open_session=Opener(*sessions), **more)  # type: ignore[arg-type]
        await engine.start()
        engines.append(engine)
        for number, name in enumerate("abcd"[: len(sessions)]):
            await engine.load(name, content(number), {"batching": "always", "instances": 1, **(config or {})})
        return engine

    yield started
    for engine in engines:
        await engine.close(5)


def content(number: int) -> bytes:
    """A file like no other; what it does is the fake session's business."""
    return models.add_constant(float(number)).SerializeToString()


def chain(*names: str, signature: Signature = SIGNATURE) -> bytes:
    """Models with x -> y, one after another."""
    steps = [PipelineStep(name, None, {"x": f"t{i}"}, {"y": f"t{i + 1}"}) for i, name in enumerate(names)]
    return encode(Pipeline(tuple(steps), {"x": "t0"}, {"y": f"t{len(names)}"}), signature)


def ask(engine: Engine, *values: float, model: str = "p", **more: object) -> asyncio.Task[InferResponse]:
    request = InferRequest(model, {"x": rows(*values)}, **more)  # type: ignore[arg-type]
    return asyncio.ensure_future(engine.infer(request))


async def entered(session: FakeSession) -> None:
    await asyncio.to_thread(session.entered.acquire)


async def test_outputs_become_inputs_and_each_stage_is_told(start: Start) -> None:
    recorder = Recorder()
    engine = await start(FakeSession(), FakeSession(lambda x: x * 10), observer=recorder)
    status = (await engine.load("p", chain("a", "b"))).status
    assert (status.platform, status.max_batch_size, status.device) == ("ensemble", 64, "cpu")
    recorder.requests.clear()
    answer = await ask(engine, 1.0, 2.0, id="seven")
    np.testing.assert_array_equal(answer.outputs["y"], rows(20.0, 30.0))
    assert (answer.model, answer.version, answer.id, answer.epoch) == ("p", "1", "seven", status.epoch)
    assert [(stage.stage, stage.version, stage.timings.rows) for stage in answer.timings.stages] == [
        ("a", "1", 2),
        ("b", "1", 2),
    ]
    first, second = answer.timings.stages
    assert first.began_s <= second.began_s <= answer.timings.total_s
    assert answer.timings.ran_s == first.timings.ran_s + second.timings.ran_s
    assert [(model, outcome) for model, _, outcome, _ in recorder.requests] == [
        ("a", Outcome.OK),
        ("b", Outcome.OK),
        ("p", Outcome.OK),
    ]


async def test_every_stage_is_batched_by_its_own_model(start: Start) -> None:
    first, second = FakeSession(), FakeSession(lambda x: x * 10)
    engine = await start(first, second)
    await engine.load("p", chain("a", "b"))
    first.hold()
    second.hold()
    leader = ask(engine, 0.0)
    await entered(first)
    others = [ask(engine, float(i)) for i in range(1, 9)]
    alone = [ask(engine, float(i), model="a") for i in range(9, 11)]  # they share the batch of those of the pipeline
    await until_async(lambda: engine.status("a").queued == 10)
    first.gate.set()
    second.gate.set()
    answers = await asyncio.gather(leader, *others)
    assert [float(answer.outputs["y"][0, 0]) for answer in answers] == [(i + 1) * 10.0 for i in range(9)]
    assert [float((await each).outputs["y"][0, 0]) for each in alone] == [10.0, 11.0]
    assert first.batches == [1, 10]
    assert sum(second.batches) == 9
    assert len(second.batches) <= 2  # what comes back together goes on together
    assert answers[-1].timings.stages[0].timings.batch_size == 10


async def test_stages_that_do_not_need_each_other_run_side_by_side_and_others_are_left_out(start: Start) -> None:
    sessions = FakeSession(), FakeSession(lambda x: x * 10), FakeSession(lambda x: x * 100)
    engine = await start(*sessions)
    steps = tuple(PipelineStep(name, None, {"x": "in"}, {"y": name}) for name in "abc")
    both = Signature(
        SIGNATURE.inputs, tuple(TensorSpec(name, "FP32", (FREE, FREE)) for name in ("left", "middle", "right"))
    )
    outputs = {"left": "a", "middle": "b", "right": "c"}
    await engine.load("p", encode(Pipeline(steps, {"x": "in"}, outputs), both))
    for session in sessions:
        session.hold()
    asked = ask(engine, 1.0, outputs=("right", "left"))
    await entered(sessions[0])
    await entered(sessions[2])
    sessions[0].gate.set()
    sessions[2].gate.set()
    answer = await asked
    assert list(answer.outputs) == ["right", "left"]
    assert (answer.outputs["right"][0, 0], answer.outputs["left"][0, 0]) == (100.0, 2.0)
    assert sessions[1].batches == []
    assert answer.epoch == engine.status("p").epoch
    sessions[1].gate.set()


async def test_a_failure_names_its_stage_and_keeps_its_kind(start: Start) -> None:
    recorder = Recorder()
    engine = await start(FakeSession(), FakeSession(), observer=recorder)
    await engine.load("p", chain("a", "b"))
    recorder.requests.clear()
    with pytest.raises(InvalidInput, match=r"stage 'b' of pipeline 'p': the model does not take 666"):
        await ask(engine, 665.0)
    with pytest.raises(InvalidInput, match=r"data-type is 'FP64', but model 'p' expects"):
        await engine.infer(InferRequest("p", {"x": rows(1.0).astype(np.float64)}))
    with pytest.raises(Unsupported, match="keeps no state"):
        await ask(engine, 1.0, sequence=SequenceStep(7))
    assert [outcome for model, _, outcome, _ in recorder.requests if model == "p"] == [Outcome.INVALID] * 2 + [
        Outcome.FAILED
    ]
    assert (await ask(engine, 1.0)).outputs["y"][0, 0] == 3.0


async def test_deadline_and_priority_hold_for_every_stage(start: Start) -> None:
    ahead = 0.0
    first, second = FakeSession(), FakeSession()

    def clock() -> float:
        return time.monotonic() + ahead

    levels = {"priority_levels": 3, "default_priority": 2, "priority_step_s": 60.0, "max_batch_size": 1}
    engine = await start(first, second, clock=clock, config=levels)
    await engine.load("p", chain("a", "b"))
    second.hold()
    blocking = ask(engine, 0.0, model="b")
    await entered(second)
    late = ask(engine, 1.0, deadline=clock() + 500.0)
    await until_async(lambda: engine.status("b").queued == 1)
    ended: list[str] = []
    asked: list[asyncio.Task[InferResponse]] = []
    for name, priority in (("low", 3), ("high", 1)):
        asked.append(ask(engine, 2.0, priority=priority))
        asked[-1].add_done_callback(lambda _, name=name: ended.append(name))  # type: ignore[misc]
        await until_async(lambda: engine.status("b").queued == engine.status("p").queued > len(asked))
    ahead = 600.0
    second.gate.set()
    with pytest.raises(DeadlineExceeded, match=r"stage 'b' of pipeline 'p': Request timeout expired"):
        await late
    await blocking
    await until_async(lambda: len(ended) == 2)
    assert ended == ["high", "low"]
    with pytest.raises(DeadlineExceeded, match="before it arrived"):
        await ask(engine, 1.0, deadline=clock() - 1.0)


async def test_a_caller_that_leaves_costs_no_further_run_and_harms_nobody(start: Start) -> None:
    recorder = Recorder()
    first, second = FakeSession(), FakeSession()
    engine = await start(first, second, observer=recorder)
    await engine.load("p", chain("a", "b"))
    for held in (first, second):
        held.hold()
        recorder.requests.clear()
        leader = ask(engine, 1.0, model="a" if held is first else "b")
        await entered(held)
        leaving, staying = ask(engine, 2.0), ask(engine, 3.0)
        await until_async(lambda: engine.status("a").queued + engine.status("b").queued == 2)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        held.gate.set()
        other = second if held is first else first
        other.gate.set()
        assert (await staying).outputs["y"][0, 0] == 5.0
        await leader
        await until_async(lambda: engine.status("p").queued == 0)
        outcomes = [outcome for model, _, outcome, _ in recorder.requests if model == "p"]
        assert sorted(outcomes) == [Outcome.CANCELLED, Outcome.OK]
        assert held.batches == [1, 1]


async def test_it_takes_no_more_requests_than_its_queue_may_hold(start: Start) -> None:
    session = FakeSession()
    engine = await start(session)
    await engine.load("p", chain("a", "a"), {"max_queue_size": 3})
    session.hold()
    asked = [ask(engine, float(i)) for i in range(3)]
    await entered(session)
    with pytest.raises(QueueFull, match="pipeline 'p' has 3 requests under way"):
        await ask(engine, 1.0)
    session.gate.set()
    assert [float((await each).outputs["y"][0, 0]) for each in asked] == [2.0, 3.0, 4.0]
    assert (await ask(engine, 5.0)).outputs["y"][0, 0] == 7.0


async def test_a_model_that_is_swapped_is_used_at_once_and_no_request_fails(start: Start) -> None:
    engine = await start(FakeSession(), FakeSession(lambda x: x * 10), FakeSession(lambda x: x * 100))
    await engine.unload("c")
    await engine.load("p", chain("a", "b"))
    before = (await ask(engine, 1.0)).epoch
    asked = []
    swap = asyncio.ensure_future(engine.load("b", content(7), {"batching": "always"}))
    while not swap.done():
        asked.append(ask(engine, 1.0))
        await asked[max(0, len(asked) - 8)]
    answers = await asyncio.gather(*asked, ask(engine, 1.0))
    assert {float(answer.outputs["y"][0, 0]) for answer in answers} <= {20.0, 200.0}
    assert answers[-1].outputs["y"][0, 0] == 200.0
    assert answers[-1].epoch == engine.status("p").epoch != before


async def test_it_says_so_while_a_model_is_missing_and_works_again_when_it_is_back(start: Start) -> None:
    recorder = Recorder()
    engine = await start(FakeSession(), FakeSession(), observer=recorder)
    await engine.load("p", chain("a", "b"))
    await engine.unload("b")
    status = engine.status("p")
    assert (status.state, status.routed) == (ModelState.FAILED, True)
    assert status.reason == "model 'b' of stage 'b' is not loaded; load it"
    with pytest.raises(Unavailable, match=r"'p' cannot answer now: model 'b' of stage 'b' is not loaded; load it, "):
        await ask(engine, 1.0)
    await engine.load("b", content(1), {"batching": "always"})
    assert engine.status("p").state is ModelState.READY
    assert (await ask(engine, 1.0)).outputs["y"][0, 0] == 3.0
    recorder.requests.clear()


async def test_a_request_under_way_to_a_model_that_goes_fails_once_and_names_it(start: Start) -> None:
    first, second = FakeSession(), FakeSession()
    engine = await start(first, second)
    await engine.load("p", chain("a", "b"))
    first.hold()
    asked = ask(engine, 1.0)
    await entered(first)
    await engine.unload("b")
    first.gate.set()
    with pytest.raises(WorkbenchError, match=r"stage 'b' of pipeline 'p': .*'b' is not found"):
        await asked
    assert engine.status("p").queued == 0


async def test_a_swap_to_another_signature_is_told_until_it_fits_again(start: Start) -> None:
    whole = Signature((TensorSpec("x", "INT64", (FREE, FREE)),), SIGNATURE.outputs)
    engine = await start(FakeSession(), FakeSession(), FakeSession(signature=whole), FakeSession())
    for name in "cd":
        await engine.unload(name)
    await engine.load("p", chain("a", "b"))
    engine._open_session = Opener(FakeSession(signature=whole))
    await engine.load("b", content(8), {"batching": "always"}, force=True)
    wrong = r"stage 'b' takes its input 'x' as INT64 \[-1, -1\], and stage 'a' gives its output 'y' as FP32 \[-1, -1\]"
    assert re.fullmatch(wrong, engine.status("p").reason)
    with pytest.raises(ModelError, match=f"the pipeline cannot be served: {wrong}"):
        await engine.load("q", chain("a", "b"))
    engine._open_session = Opener(FakeSession())
    await engine.load("b", content(9), {"batching": "never"}, force=True)
    status = engine.status("p")
    assert (status.state, status.reason, status.max_batch_size) == (ModelState.READY, "", 0)
    assert (await ask(engine, 1.0)).outputs["y"][0, 0] == 3.0


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (chain("a", "nobody"), "model 'nobody' of stage 'nobody' is not loaded"),
        (chain("p"), r"its stages lead back to itself \(p > p\)"),
        (chain("q"), r"its stages lead back to itself \(p > q > p\)"),
        (
            encode(Pipeline((PipelineStep("a", None, {"z": "i"}, {"y": "o"}),), {"x": "i"}, {"y": "o"}), SIGNATURE),
            "the model of stage 'a' has no input 'z'; it has 'x'",
        ),
        (
            encode(Pipeline((PipelineStep("a", "9", {"x": "i"}, {"y": "o"}),), {"x": "i"}, {"y": "o"}), SIGNATURE),
            "model 'a' version 9 of stage 'a' is not loaded",
        ),
    ],
)
async def test_a_declaration_that_cannot_work_is_refused(start: Start, document: bytes, message: str) -> None:
    engine = await start(FakeSession())
    await engine.load("p", chain("a"))
    await engine.load("q", chain("p"))
    with pytest.raises(ModelError, match=message):
        await engine.load("p", document, force=True)
    assert (await ask(engine, 1.0, model="q")).outputs["y"][0, 0] == 2.0


async def test_pipelines_inside_pipelines_answer_and_are_bounded(start: Start) -> None:
    engine = await start(FakeSession())
    await engine.load("p", chain(*["a"] * 16))
    await engine.load("q", chain(*["p"] * (MAX_STAGES // 16)))
    answer = await ask(engine, 0.0, model="q")
    assert answer.outputs["y"][0, 0] == MAX_STAGES
    assert [len(stage.timings.stages) for stage in answer.timings.stages] == [16] * 16
    with pytest.raises(ModelError, match=f"it has {MAX_STAGES + 1} stages, of {MAX_STAGES} at most"):
        await engine.load("r", chain("q", "a"))
    await engine.unload("a")
    with pytest.raises(Unavailable, match=r"pipeline '[pq]' cannot answer now"):
        await ask(engine, 0.0, model="q")


async def test_pipelines_that_are_staged_do_not_close_a_circle_that_a_commit_would_open(
    start: Start, tmp_path: Path
) -> None:
    engine = await start(FakeSession())
    for name in "pq":
        await engine.load(name, chain("a"))
    files = {name: tmp_path / f"{name}.pipeline" for name in "pq"}
    for name, file in files.items():
        file.write_bytes(chain("q" if name == "p" else "p"))
    staged = await engine.stage("p", files["p"])
    with pytest.raises(ModelError, match=r"its stages lead back to itself \(q > p > q\)"):
        await engine.stage("q", files["q"])
    assert [(each.version, each.state) for each in engine.statuses("q")] == [("1", ModelState.READY)]
    await engine.commit("p", staged.status.version)
    assert (await ask(engine, 1.0)).outputs["y"][0, 0] == 2.0
    assert engine.status("p").routed


async def test_of_two_pipelines_that_name_each_other_and_are_opened_at_once_one_is_refused(
    start: Start, tmp_path: Path
) -> None:
    engine = await start(FakeSession())
    for name in "pq":
        await engine.load(name, chain("a"))
    both = await asyncio.gather(
        engine.load("p", chain("q"), force=True), engine.load("q", chain("p"), force=True), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in both) == ["LoadResult", "ModelError"]
    assert [(await ask(engine, 1.0, model=name)).outputs["y"][0, 0] for name in "pq"] == [2.0, 2.0]


async def test_a_pipeline_inside_others_does_not_make_them_too_large_or_too_deep(start: Start) -> None:
    engine = await start(FakeSession())
    await engine.load("p", chain("a"))
    await engine.load("q", chain(*["p"] * 32))
    with pytest.raises(ModelError, match=f"pipeline 'q', which asks it, has 288 stages, of {MAX_STAGES} at most"):
        await engine.load("p", chain(*["a"] * 9))
    inner = "p"
    for depth in range(2, MAX_NESTED + 1):
        await engine.load(f"n{depth}", chain(inner))
        inner = f"n{depth}"
    assert (await ask(engine, 1.0, model=inner)).outputs["y"][0, 0] == 2.0
    await engine.load("other", chain("a"))
    with pytest.raises(ModelError, match=f"pipeline '{inner}', which asks it, has 9 pipelines inside each other"):
        await engine.load("p", chain("other"))
    assert (await ask(engine, 1.0, model="q")).outputs["y"][0, 0] == 33.0


async def test_a_circle_that_was_noted_before_is_not_restored(start: Start, tmp_path: Path) -> None:
    state = DesiredState(tmp_path / "state.sqlite")
    state.open()
    engine = await start(FakeSession(), journal=state)
    await engine.load("q", chain("a"))
    await engine.load("p", chain("q"))
    kept = {each.model.name: each.model for each in state.models()}
    await engine.unload("p")
    await engine.unload("q")
    await engine.load("p", chain("a"))
    await engine.load("q", chain("p"))
    kept["q"] = next(each.model for each in state.models() if each.model.name == "q")
    await engine.close()
    again = await start(journal=state)
    again._open_session = Opener(FakeSession())
    await again.restore(kept["p"])
    with pytest.raises(ModelError, match=r"its stages lead back to itself \(q > p > q\)"):
        await again.restore(kept["q"])
    assert again.status("q").state is ModelState.FAILED
    assert len(again.statuses()) == 2
    state.close()


async def test_an_unload_finishes_what_was_accepted_and_refuses_what_comes(start: Start) -> None:
    session = FakeSession()
    engine = await start(session)
    await engine.load("p", chain("a", "a"))
    session.hold()
    asked = ask(engine, 1.0)
    await entered(session)
    going = asyncio.ensure_future(engine.unload("p"))
    await until_async(lambda: [each.state for each in engine.statuses("p")] == [ModelState.DRAINING])
    with pytest.raises(WorkbenchError, match="'p' is not found"):
        await ask(engine, 1.0)
    session.gate.set()
    assert (await asked).outputs["y"][0, 0] == 3.0
    await going
    assert engine.statuses("p") == []


async def test_a_service_that_ends_finishes_every_stage_of_what_it_accepted(start: Start) -> None:
    first, second = FakeSession(), FakeSession()
    engine = await start(first, second)
    await engine.load("p", chain("a", "b"))
    first.hold()
    asked = [ask(engine, float(i)) for i in range(4)]
    await entered(first)
    closing = asyncio.ensure_future(engine.close(30))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="shutting down"):
        await ask(engine, 1.0)
    first.gate.set()
    assert [float((await each).outputs["y"][0, 0]) for each in asked] == [2.0, 3.0, 4.0, 5.0]
    await closing
    assert (first.closed, second.closed) == (1, 1)


async def test_a_drain_that_takes_too_long_ends_with_an_error_for_each(start: Start) -> None:
    session = FakeSession()
    engine = await start(session)
    await engine.load("p", chain("a", "a"))
    session.hold()
    asked = [ask(engine, float(i)) for i in range(3)]
    await entered(session)
    closing = asyncio.ensure_future(engine.close(0.01))
    for each in asked:
        with pytest.raises(Unavailable, match="'p' was unloaded before the request was answered"):
            await each
    session.gate.set()
    await closing


async def test_it_is_limited_to_what_its_stages_take_and_says_which_settings_it_has(start: Start) -> None:
    engine = await start(FakeSession(), FakeSession(), config={"max_batch_size": 8})
    status = (await engine.load("p", chain("a", "b"), {"max_queue_delay_s": 0.5})).status
    assert status.max_batch_size == 8
    assert "max_queue_delay_s is not honoured: it is a setting of the pipeline's stages" in status.notes
    with pytest.raises(InvalidInput, match="batch-size must be <= 8 for 'p'"):
        await ask(engine, *map(float, range(9)))
    await engine.configure("a", {"max_batch_size": 4})
    assert engine.status("p").max_batch_size == 4
    await engine.configure("p", {"max_batch_size": 2})
    assert engine.status("p").max_batch_size == 2
    assert engine.status("p").config == ModelConfig(max_batch_size=2, max_queue_delay_s=0.5)


async def test_cancelled_reaches_a_pipeline_inside_another(start: Start) -> None:
    session = FakeSession()
    engine = await start(session)
    await engine.load("p", chain("a", "a"))
    await engine.load("q", chain("p", "a"))
    session.hold()
    leader = ask(engine, 1.0, model="a")
    await entered(session)
    leaving = ask(engine, 2.0, model="q")
    await until_async(lambda: engine.status("a").queued == 1)
    leaving.cancel()
    session.gate.set()
    await leader
    await until_async(lambda: engine.status("p").queued + engine.status("q").queued == 0)
    assert session.batches == [1]


async def test_a_restart_brings_it_back_before_or_after_its_models(start: Start, tmp_path: Path) -> None:
    state = DesiredState(tmp_path / "state.sqlite")
    state.open()
    engine = await start(FakeSession(), FakeSession(), journal=state)
    await engine.load("p", chain("a", "b"))
    await engine.close()
    remembered = {each.model.name: each.model for each in state.models()}
    assert set(remembered) == {"a", "b", "p"}
    for order in ("pab", "abp"):
        again = await start(journal=state)
        again._open_session = Opener(FakeSession())
        for name in order:
            await again.restore(remembered[name])
            assert again.status(name).routed
        assert again.status("p").state is ModelState.READY
        assert (await ask(again, 1.0)).outputs["y"][0, 0] == 3.0
        await again.close()
    state.close()


class Ends:
    """A completion that counts how often its request ended."""

    def __init__(self) -> None:
        self.count = 0
        self.left = False

    def done(self) -> bool:
        return self.left or self.count > 0

    def set_result(self, result: InferResponse, /) -> None:
        self.count += 1

    def set_exception(self, exception: WorkbenchError, /) -> None:
        self.count += 1


@pytest.mark.parametrize("happening", ["unload", "reload", "raise", "leave", "unload the pipeline"])
async def test_whatever_happens_in_the_middle_stage_each_request_ends_once_and_nothing_is_left(
    start: Start, happening: str
) -> None:
    served = False

    def run(x: Array) -> Array:
        if served and happening == "raise":
            raise ValueError("a function's own fault")
        return x

    middle = FakeSession(run)
    engine = await start(FakeSession(), middle, FakeSession(), FakeSession())
    await engine.load("p", chain("a", "b", "c"))
    served = True
    middle.hold()
    ends = [Ends() for _ in range(12)]
    for one in ends[:6]:
        engine.submit(InferRequest("p", {"x": rows(1.0)}), one)
    await entered(middle)
    for one in ends[6:]:
        engine.submit(InferRequest("p", {"x": rows(2.0)}), one)
    await until_async(lambda: engine.status("a").queued == 0)
    match happening:
        case "unload":
            change: asyncio.Future[object] = asyncio.ensure_future(engine.unload("b"))
        case "reload":
            change = asyncio.ensure_future(engine.load("b", content(9), force=True))
        case "unload the pipeline":
            change = asyncio.ensure_future(engine.unload("p"))
        case _:
            change = asyncio.ensure_future(asyncio.sleep(0))
    for one in ends:
        one.left = happening == "leave"
    middle.gate.set()
    await change
    kept = [name for name in "abcp" if name in {each.name for each in engine.statuses()}]
    await until_async(lambda: all(engine.status(name).queued == 0 for name in kept))
    if happening != "leave":
        await until_async(lambda: all(one.count for one in ends))
    await asyncio.sleep(0)
    assert {one.count for one in ends} == {0 if happening == "leave" else 1}

"""The engine whole: with a fake session where moments matter, with ONNX Runtime where arrays do."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.engine.fakes import SIGNATURE, STEADY, EndedSession, FakeSession, Opener, Recorder, rows
from tests.helpers.clock import Clock
from tests.helpers.waiting import until_async
from workbench.config import LIVE_SETTINGS, ModelConfig
from workbench.core.batch_proof import BatchProof
from workbench.core.cores import usable_cores
from workbench.core.messages import InferRequest, InferResponse, ReleaseReason
from workbench.core.model import FREE, ModelState, Signature, TensorSpec
from workbench.core.ports import Outcome
from workbench.core.run_marks import ModelKey, RunMarks, marked_runs, open_marks
from workbench.core.tensor import Array
from workbench.engine import Engine
from workbench.engine.deployment import CHECKED_BATCHES, LONE_TURNS
from workbench.errors import (
    Cancelled,
    Conflict,
    DeadlineExceeded,
    Draining,
    InvalidInput,
    ModelError,
    ModelNotFound,
    QueueFull,
    SignatureChanged,
    Unavailable,
)
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore
from workbench.runtimes.first_run import warmup_inputs

pytestmark = pytest.mark.timeout(60)

Start = Callable[..., Awaitable[Engine]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Engines that are closed at the end."""
    engines = []

    async def started(opener: Opener | None = None, **more: object) -> Engine:
        if opener is not None:
            more["open_session"] = opener
        engine = Engine(ModelStore(tmp_path / "store"), **more)  # type: ignore[arg-type]
        await engine.start()
        engines.append(engine)
        return engine

    yield started
    for engine in engines:
        await engine.close(5)


def onnx_bytes(amount: float = 1.0) -> bytes:
    return models.add_constant(amount).SerializeToString()


def ask(engine: Engine, *values: float, **more: object) -> asyncio.Task[InferResponse]:
    request = InferRequest("m", {"x": rows(*values)}, **more)  # type: ignore[arg-type]
    return asyncio.ensure_future(engine.infer(request))


async def entered(session: FakeSession) -> None:
    """A runner is inside the session."""
    await asyncio.to_thread(session.entered.acquire)


async def loaded(
    start: Start, *sessions: FakeSession, settings: dict[str, object] | None = None, **more: object
) -> Engine:
    """An engine that serves "m" by the first of `sessions`."""
    engine = await start(Opener(*(sessions or [FakeSession()])), **more)
    await engine.load("m", onnx_bytes(1), settings)
    return engine


async def busy(
    start: Start, settings: dict[str, object] | None = None, *later: FakeSession
) -> tuple[Engine, FakeSession, Recorder, asyncio.Task[InferResponse]]:
    """An engine whose only runner is inside the session with a first request; the sessions `later` are opened next."""
    session, seen = FakeSession(), Recorder()
    engine = await loaded(start, session, *later, settings=settings, observer=seen)
    session.hold()
    running = ask(engine, 1)
    await entered(session)
    return engine, session, seen, running


async def turn() -> None:
    """Let everything that is ready on the loop run."""
    for _ in range(3):
        await asyncio.sleep(0)


# With ONNX Runtime


async def test_a_model_from_bytes_answers(start: Start) -> None:
    engine = await start()
    result = await engine.load("m", onnx_bytes(1.5))
    assert result.status.state is ModelState.READY
    assert result.status.version == "1"
    assert result.status.device == "cpu"
    assert result.status.routed
    assert "do not influence each other" in result.status.batching
    response = await engine.infer(InferRequest("m", {"x": np.zeros((2, 4), np.float32)}, id="7"))
    (output,) = response.outputs.values()
    np.testing.assert_array_equal(output, np.full((2, 4), 1.5, np.float32))
    assert (response.id, response.version, response.timings.batch_size) == ("7", "1", 2)


async def test_a_model_from_a_file_outlives_the_file(start: Start, tmp_path: Path) -> None:
    path = models.save(models.add_constant(), tmp_path / "add.onnx")
    engine = await start()
    await engine.load("m", path)
    path.unlink()
    await engine.configure("m", {"batching": "never"})  # opens the file again
    assert (await engine.infer(InferRequest("m", {"x": np.zeros((1, 4), np.float32)}))).outputs


async def test_a_repository_folder_is_served_by_its_highest_version_and_its_settings(
    start: Start, tmp_path: Path
) -> None:
    for version in ("1", "2", "10"):
        (tmp_path / "repo" / "m" / version).mkdir(parents=True)
        models.save(models.add_constant(float(version)), tmp_path / "repo" / "m" / version / "model.onnx")
    (tmp_path / "repo" / "m" / "model.toml").write_text("max_batch_size = 5\n")
    engine = await start(repositories=[LocalRepository(tmp_path / "repo")])
    result = await engine.load("m")
    assert result.status.version == "10"
    assert result.status.max_batch_size == 5
    assert engine.available() == [("m", "1"), ("m", "2"), ("m", "10")]
    assert (await engine.load("m")).unchanged
    other = await start()
    assert (await other.load("m", tmp_path / "repo" / "m")).status.version == "10"


async def test_rows_of_a_mixing_model_never_share_a_run(start: Start) -> None:
    engine = await start()
    status = (await engine.load("m", models.batch_mixing().SerializeToString())).status
    assert status.max_batch_size == 0
    assert "over the rows of the batch" in status.batching
    name = status.signature.inputs[0].name if status.signature else ""
    one = np.ones((1, 4), np.float32)
    answers = await asyncio.gather(*(engine.infer(InferRequest("m", {name: one * i})) for i in range(20)))
    assert all(answer.timings.batch_requests == 1 for answer in answers)
    assert all((array == 0).all() for answer in answers for array in answer.outputs.values())


@pytest.mark.parametrize("datatype", ["BOOL", "INT8", "UINT64", "FP16", "FP64", "BYTES"])
async def test_every_kind_of_row_batches(start: Start, datatype: str) -> None:
    from workbench.core.tensor import DTYPES

    engine = await start()
    await engine.load("m", models.identity(datatype, ("batch", 4)).SerializeToString())
    spec = engine.status("m").signature.inputs[0]  # type: ignore[union-attr]
    values = [np.array([[i % 2] * 4]) for i in range(9)]
    arrays = [
        np.array([[b"%d" % v for v in row] for row in value], dtype=np.object_)
        if datatype == "BYTES"
        else value.astype(DTYPES[datatype])
        for value in values
    ]
    answers = await asyncio.gather(*(engine.infer(InferRequest("m", {spec.name: array})) for array in arrays))
    for array, answer in zip(arrays, answers, strict=True):
        (output,) = answer.outputs.values()
        np.testing.assert_array_equal(output, array)
        assert output.dtype == array.dtype
    assert max(answer.timings.batch_requests for answer in answers) > 1


async def test_a_corrupt_model_leaves_nothing_and_others_go_on(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes())
    with pytest.raises(ModelError):
        await engine.load("bad", b"not a model")
    assert engine.statuses("bad") == []
    with pytest.raises(ModelNotFound):
        await engine.infer(InferRequest("bad", {}))
    assert (await engine.infer(InferRequest("m", {"x": np.zeros((1, 4), np.float32)}))).outputs
    assert (await engine.load("bad", onnx_bytes())).status.version == "1"
    assert [status.state for status in engine.statuses("bad")] == [ModelState.READY]


async def test_a_staged_version_that_nobody_commits_is_discarded(start: Start, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "uploads")
    engine = await start()
    kept = await engine.stage("kept", store.add_bytes(onnx_bytes()), keep_s=0.01)
    await engine.commit("kept", kept.status.version)
    await engine.load("left", onnx_bytes())
    await engine.stage("left", store.add_bytes(onnx_bytes(2)), keep_s=0.01)  # its timer is the later one
    await until_async(lambda: len(engine.statuses("left")) == 1)
    assert [(each.name, each.version, each.routed) for each in engine.statuses()] == [
        ("kept", "1", True),
        ("left", "1", True),
    ]
    assert len(engine.take_left_over()) == 1


# With a session to see through


async def test_nothing_waits_while_a_runner_is_free_and_all_gather_while_it_is_busy(start: Start) -> None:
    engine, session, seen, first = await busy(start, {"max_batch_size": 4})
    others = [ask(engine, value) for value in (2, 3, 4)]
    await turn()
    session.gate.set()
    answers = await asyncio.gather(first, *others)
    assert session.batches == [1, 3]
    assert [float(answer.outputs["y"][0, 0]) for answer in answers] == [2, 3, 4, 5]
    assert [answer.timings.batch_requests for answer in answers] == [1, 3, 3, 3]
    assert seen.outcomes == [Outcome.OK] * 4
    assert seen.batches == [(1, 1, ReleaseReason.IDLE), (3, 3, ReleaseReason.IDLE)]


async def test_requests_of_one_turn_of_the_loop_share_a_batch(start: Start) -> None:
    session = FakeSession()
    engine = await loaded(start, session)
    session.batches.clear()
    await asyncio.gather(*(ask(engine, value) for value in range(5)))
    assert session.batches == [5]


async def test_where_a_run_of_several_callers_crashed_a_share_has_runs_of_its_own(start: Start) -> None:
    (loaded_before,) = (await loaded(start, FakeSession())).statuses()
    session = FakeSession()
    apart = {ModelKey("m", "1", loaded_before.digest): 3600.0}
    engine = await loaded(start, session, marks=RunMarks(None, apart))
    session.batches.clear()
    await asyncio.gather(
        *(ask(engine, value, caller=caller) for value, caller in enumerate(("", "s1", "", "s1", "s2")))
    )
    assert sorted(session.batches) == [1, 2, 2]


async def test_the_mark_names_the_share_while_all_inside_is_its_own(start: Start) -> None:
    descriptor = open_marks()
    assert descriptor is not None
    session = FakeSession()
    settings = {"instances": 2, "batching": "never"}
    engine = await loaded(start, session, marks=RunMarks(os.dup(descriptor)), settings=settings)
    for callers, named in ((("s1",), "s1"), (("s1", "s1"), "s1"), (("",), ""), (("s1", ""), ""), (("", "s1"), "")):
        session.hold()
        asked = []
        for caller in callers:
            asked.append(ask(engine, 1, caller=caller))
            await entered(session)
        assert [each.caller for each in marked_runs(descriptor)] == [named], callers
        session.gate.set()
        await asyncio.gather(*asked)
    os.close(descriptor)


async def test_short_runs_go_on_the_event_loop_and_batch_there(start: Start) -> None:
    session, seen = FakeSession(signature=STEADY), Recorder()
    engine = await start(Opener(session), observer=seen)
    status = (await engine.load("m", onnx_bytes(), {"max_batch_size": 4})).status
    assert "on the event loop" in status.execution
    session.batches.clear()
    answers = await asyncio.gather(*(ask(engine, value) for value in (1, 2, 666, 4, 5, 6)), return_exceptions=True)
    good = [float(answer.outputs["y"][0, 0]) for answer in answers if isinstance(answer, InferResponse)]
    assert good == [2, 3, 5, 6, 7]
    assert session.batches == [4, 1, 1, 1, 1, 2]
    assert len(seen.outcomes) == 6
    live = await engine.configure("m", {"max_queue_delay_s": 0.001})
    assert live.status.execution.startswith("on one runner thread")
    assert float((await ask(engine, 7)).outputs["y"][0, 0]) == 8
    assert seen.batches[-1] == (1, 1, ReleaseReason.DELAY)


async def test_a_caller_that_cannot_take_its_answer_harms_none_of_its_batch(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(asyncio.Future[InferResponse]):
        def set_result(self, result: InferResponse, /) -> None:
            raise asyncio.InvalidStateError

    session = FakeSession()
    engine = await loaded(start, session)
    session.batches.clear()
    taken: asyncio.Future[InferResponse] = asyncio.get_running_loop().create_future()
    engine.submit(InferRequest("m", {"x": rows(1)}), Broken())
    engine.submit(InferRequest("m", {"x": rows(2)}), taken)  # in the same turn of the loop, so in the same batch
    answer = await taken
    assert session.batches == [2]
    assert float(answer.outputs["y"][0, 0]) == 3
    await engine.close(5)
    assert "could not be handed over" in caplog.text


async def test_one_bad_member_harms_none_of_its_batch(start: Start) -> None:
    session, seen = FakeSession(), Recorder()
    engine = await loaded(start, session, observer=seen)
    answers = await asyncio.gather(*(ask(engine, value) for value in (1, 666, 3)), return_exceptions=True)
    assert isinstance(answers[1], InvalidInput)
    good = [answer for answer in answers if isinstance(answer, InferResponse)]
    assert [float(answer.outputs["y"][0, 0]) for answer in good] == [2, 4]
    assert all(answer.timings.release_reason is ReleaseReason.ALONE for answer in good)
    assert sorted(seen.outcomes) == [Outcome.INVALID, Outcome.OK, Outcome.OK]


async def test_a_cancelled_caller_is_dropped_and_its_mates_are_served(start: Start) -> None:
    engine, session, seen, first = await busy(start)
    leaves, stays = ask(engine, 2), ask(engine, 3)
    await turn()
    leaves.cancel()
    await turn()
    session.gate.set()
    assert float((await stays).outputs["y"][0, 0]) == 4
    await first
    assert session.batches == [1, 1]
    assert sorted(seen.outcomes) == [Outcome.CANCELLED, Outcome.OK, Outcome.OK]


async def test_a_caller_cancelled_while_it_runs_is_counted_once(start: Start) -> None:
    engine, session, seen, first = await busy(start)
    first.cancel()
    await turn()
    session.gate.set()
    assert float((await ask(engine, 2)).outputs["y"][0, 0]) == 3
    assert seen.outcomes == [Outcome.CANCELLED, Outcome.OK]


async def test_a_caller_that_left_and_one_that_is_late_are_not_run(start: Start) -> None:
    engine, session, _, first = await busy(start)
    gone = ask(engine, 2, abandoned=lambda: True)
    late = ask(engine, 3, deadline=engine.clock() + 1e-6)
    await turn()
    session.gate.set()
    await first
    with pytest.raises(Cancelled):
        await gone
    with pytest.raises(DeadlineExceeded, match="not run"):
        await late
    assert session.batches == [1]


async def test_a_full_queue_refuses_at_once(start: Start) -> None:
    engine, session, seen, running = await busy(start, {"max_queue_size": 2})
    waiting = [ask(engine, 2), ask(engine, 3)]
    await turn()
    with pytest.raises(QueueFull):
        await ask(engine, 4)
    assert engine.status("m").queued == 2
    session.gate.set()
    await asyncio.gather(running, *waiting)
    assert seen.outcomes.count(Outcome.REJECTED) == 1


async def test_instances_run_side_by_side_on_one_session(start: Start) -> None:
    session = FakeSession()
    engine = await loaded(start, session, settings={"instances": 2})
    session.hold()
    first = ask(engine, 1)
    await entered(session)
    second = ask(engine, 2)
    await entered(session)
    session.gate.set()
    await asyncio.gather(first, second)
    assert session.batches == [1, 1]


async def test_a_session_for_one_thread_is_opened_once_for_each_instance(start: Start) -> None:
    sessions = [FakeSession(runner_threads=1) for _ in range(3)]
    opener = Opener(*sessions)
    engine = await start(opener)
    await engine.load("m", onnx_bytes(), {"instances": 3})
    assert opener.opened == sessions
    await engine.unload("m")
    assert [session.closed for session in sessions] == [1, 1, 1]


async def test_a_swap_fails_no_request_and_the_old_version_finishes_what_it_took(start: Start) -> None:
    engine, old, seen, taken = await busy(start, None, FakeSession(lambda x: x + 100))
    waiting = ask(engine, 2)
    await turn()
    result = await engine.load("m", onnx_bytes(2))
    assert (result.status.version, result.previous, result.unchanged) == ("2", "1", False)
    assert float((await ask(engine, 3)).outputs["y"][0, 0]) == 103
    old.gate.set()
    assert float((await taken).outputs["y"][0, 0]) == 2
    assert float((await waiting).outputs["y"][0, 0]) == 3
    await engine.close(5)
    assert old.closed == 1
    assert ("1", ModelState.DRAINING) in seen.states
    assert ("1", ModelState.GONE) in seen.states


async def test_the_same_model_again_is_unchanged_but_for_its_settings(start: Start) -> None:
    opener = Opener(FakeSession())
    engine = await start(opener)
    await engine.load("m", onnx_bytes())
    again = await engine.load("m", onnx_bytes())
    assert (again.unchanged, again.status.version) == (True, "1")
    again = await engine.load("m", onnx_bytes(), {"max_batch_size": 3})
    assert (again.unchanged, again.status.max_batch_size) == (False, 3)
    assert len(opener.opened) == 1


async def test_other_inputs_need_force_and_the_old_version_serves_on(start: Start) -> None:
    other = Signature((TensorSpec("z", "FP32", (FREE, 2)),), (TensorSpec("y", "FP32", (FREE, 2)),))

    class Renamed(FakeSession):
        def run(self, inputs: object, outputs: object) -> list[object]:  # type: ignore[override]
            return [inputs["z"]]  # type: ignore[index]

    engine = await start(Opener(FakeSession(), Renamed(signature=other)))
    await engine.load("m", onnx_bytes(1))
    with pytest.raises(SignatureChanged, match="input 'x' was FP32"):
        await engine.load("m", onnx_bytes(2))
    assert (await ask(engine, 1)).version == "1"
    assert [status.version for status in engine.statuses("m")] == ["1"]
    assert (await engine.load("m", onnx_bytes(2), force=True)).status.version == "2"


async def test_a_staged_version_answers_only_those_who_name_it_until_it_is_committed(
    start: Start, tmp_path: Path
) -> None:
    store = ModelStore(tmp_path / "uploads")
    engine = await start(Opener(FakeSession(lambda x: x + 1), FakeSession(lambda x: x + 2)))
    await engine.load("m", onnx_bytes(1))
    staged = await engine.stage("m", store.add_bytes(onnx_bytes(2)))
    assert (staged.status.version, staged.status.routed, staged.previous) == ("2", False, "1")
    assert float((await ask(engine, 0)).outputs["y"][0, 0]) == 1
    assert float((await ask(engine, 0, version="2")).outputs["y"][0, 0]) == 2
    committed = await engine.commit("m", "2")
    assert committed.previous == "1"
    assert float((await ask(engine, 0)).outputs["y"][0, 0]) == 2
    assert (await engine.stage("m", store.add_bytes(onnx_bytes(2)))).unchanged


async def test_a_discarded_version_is_gone_and_the_serving_one_cannot_be_discarded(
    start: Start, tmp_path: Path
) -> None:
    store = ModelStore(tmp_path / "uploads")
    engine = await start(Opener(FakeSession()))
    first = await engine.stage("m", store.add_bytes(onnx_bytes(1)))
    with pytest.raises(Unavailable, match="a request has to name one"):
        await ask(engine, 0)
    await engine.discard("m", first.status.version)
    with pytest.raises(ModelNotFound):
        await ask(engine, 0)
    await engine.load("m", onnx_bytes(1))
    with pytest.raises(Conflict, match="serves"):
        await engine.discard("m", "1")


async def test_unloading_finishes_what_was_accepted_then_forgets_the_model(start: Start) -> None:
    engine, session, _, running = await busy(start)
    waiting = ask(engine, 2)
    await turn()
    unloading = asyncio.ensure_future(engine.unload("m"))
    while engine.status("m").state is not ModelState.DRAINING:
        await asyncio.sleep(0)
    with pytest.raises(ModelNotFound):
        await ask(engine, 3)
    session.gate.set()
    await unloading
    assert float((await running).outputs["y"][0, 0]) == 2
    assert float((await waiting).outputs["y"][0, 0]) == 3
    assert session.closed == 1
    assert engine.statuses() == []
    with pytest.raises(ModelNotFound, match="cannot be unloaded"):
        await engine.unload("m")


async def test_live_settings_need_no_reload_and_others_are_swapped_in_place(start: Start) -> None:
    opener = Opener(FakeSession(), FakeSession())
    engine = await start(opener)
    await engine.load("m", onnx_bytes())
    live = await engine.configure("m", {"max_batch_size": "2", "instances": 3, "max_queue_delay_s": 0.001})
    assert live.status.config == ModelConfig(max_batch_size=2, instances=3, max_queue_delay_s=0.001)
    assert len(opener.opened) == 1
    assert live.live
    reloaded = await engine.configure("m", {"batching": "never"})
    assert len(opener.opened) == 2
    assert not reloaded.live
    assert reloaded.status.version == "1"
    assert reloaded.status.max_batch_size == 0
    assert (await engine.configure("m", {"batching": "never"})).unchanged
    assert float((await ask(engine, 1)).outputs["y"][0, 0]) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_batch_size", 3),
        ("max_queue_delay_s", 0.01),
        ("batch_sizes", (1, 8)),
        ("instances", 2),
        ("device_share", 2.0),
        ("max_queue_size", 5),
        ("queue_timeout_s", 1.0),
        ("priority_levels", 2),
        ("default_priority", 1),
        ("priority_step_s", 0.5),
    ],
)
async def test_each_setting_that_is_called_live_needs_no_reload(start: Start, name: str, value: object) -> None:
    assert name in LIVE_SETTINGS
    engine = await loaded(start)  # a second session would not be found
    changed = await engine.configure("m", {name: value})
    assert changed.live
    assert getattr(changed.status.config, name) == value
    assert float((await ask(engine, 1)).outputs["y"][0, 0]) == 2


async def test_more_instances_of_a_session_that_takes_one_thread_are_a_reload(start: Start) -> None:
    sessions = [FakeSession(), FakeSession(), FakeSession()]
    for session in sessions:
        session.runner_threads = 1
    opener = Opener(*sessions)
    engine = await start(opener)
    await engine.load("m", onnx_bytes())
    before = len(opener.opened)
    assert not (await engine.configure("m", {"instances": 2})).live
    assert len(opener.opened) > before


@pytest.mark.parametrize("settings", [{"max_batch_size": 0}, {"nonsense": 1}, {"instances": "many"}])
async def test_a_bad_setting_changes_nothing(start: Start, settings: dict[str, object]) -> None:
    engine = await loaded(start)
    with pytest.raises(InvalidInput):
        await engine.configure("m", settings)
    assert engine.status("m").config == ModelConfig()


async def test_an_unknown_model_or_version_is_not_found(start: Start) -> None:
    engine = await start(Opener(FakeSession()))
    with pytest.raises(ModelNotFound, match="no model is loaded"):
        await ask(engine, 1)
    await engine.load("m", onnx_bytes())
    with pytest.raises(ModelNotFound, match="loaded: 1"):
        await ask(engine, 1, version="9")
    with pytest.raises(ModelNotFound, match="loaded are m"):
        await engine.infer(InferRequest("other", {}))


async def test_loads_of_one_model_at_once_come_one_after_another(start: Start) -> None:
    engine = await start(Opener(*[FakeSession() for _ in range(5)]))
    results = await asyncio.gather(*(engine.load("m", onnx_bytes(amount)) for amount in range(5)))
    assert sorted(result.status.version for result in results) == ["1", "2", "3", "4", "5"]
    assert [status.version for status in engine.statuses() if status.state is ModelState.READY] == ["5"]


async def test_a_load_that_is_cancelled_leaves_the_old_version_serving(start: Start) -> None:
    slow = FakeSession()
    slow.hold()
    engine = await loaded(start, FakeSession(), slow)
    loading = asyncio.ensure_future(engine.load("m", onnx_bytes(2)))
    await entered(slow)
    assert [status.state for status in engine.statuses("m")] == [ModelState.READY, ModelState.WARMING]
    loading.cancel()
    slow.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert [status.version for status in engine.statuses("m")] == ["1"]
    assert await asyncio.to_thread(slow.gone.wait, 30)
    assert slow.closed == 1
    assert (await ask(engine, 1)).version == "1"


async def test_nothing_is_taken_before_the_start_or_after_the_end(tmp_path: Path) -> None:
    engine = Engine(ModelStore(tmp_path))
    assert not engine.ready
    with pytest.raises(Unavailable, match="not started"):
        await engine.load("m", onnx_bytes())
    await engine.start()
    assert engine.ready
    await engine.close()
    with pytest.raises(Unavailable, match="shutting down"):
        await engine.load("m", onnx_bytes())


async def test_a_model_that_failed_gives_its_number_to_the_next(start: Start, tmp_path: Path) -> None:
    engine = await start()
    with pytest.raises(ModelError):
        await engine.load("m", models.unsupported_operator().SerializeToString())
    staged = await engine.stage("m", ModelStore(tmp_path / "uploads").add_bytes(onnx_bytes()))
    assert [(each.version, each.state) for each in engine.statuses("m")] == [("1", ModelState.READY)]
    assert engine.status("m", staged.status.version).state is ModelState.READY
    assert (await engine.commit("m", "1")).status.routed


async def test_settings_outlive_a_retrained_model(start: Start) -> None:
    engine = await loaded(start, FakeSession(), FakeSession(), settings={"max_batch_size": 7})
    await engine.configure("m", {"instances": 2})
    kept = (await engine.load("m", onnx_bytes(2), {"max_queue_size": 9})).status.config
    assert (kept.max_batch_size, kept.instances, kept.max_queue_size) == (7, 2, 9)


async def test_a_runner_that_waits_holds_nothing_of_its_last_batch(start: Start) -> None:
    given: list[weakref.ref[np.ndarray]] = []

    def doubled(x: np.ndarray) -> np.ndarray:
        answer = x * 2
        given.extend((weakref.ref(x), weakref.ref(answer)))
        return answer

    engine = await loaded(start, FakeSession(doubled))
    given.clear()  # those of the warm-up
    await engine.infer(InferRequest("m", {"x": rows(3)}))
    await until_async(lambda: len(given) == 2 and all(ref() is None for ref in given))


async def test_a_staged_version_that_is_overtaken_is_given_back(start: Start, tmp_path: Path) -> None:
    sessions = [FakeSession() for _ in range(3)]
    folder = tmp_path / "repo" / "m" / "2"
    engine = await start(Opener(*sessions), repositories=[LocalRepository(tmp_path / "repo")])
    await engine.load("m", onnx_bytes(1))
    await engine.stage("m", ModelStore(tmp_path / "uploads").add_bytes(onnx_bytes(2)))
    folder.mkdir(parents=True)
    models.save(models.add_constant(3), folder / "model.onnx")
    assert (await engine.load("m")).status.version == "2"
    await engine.close(5)
    assert [session.closed for session in sessions] == [1, 1, 1]


async def test_an_engine_that_closes_knows_no_model_but_says_why(start: Start) -> None:
    engine = await start(Opener(FakeSession()))
    await engine.load("m", onnx_bytes())
    await engine.close(5)
    with pytest.raises(Draining):
        await engine.infer(InferRequest("m", {"x": rows(1)}))


async def test_closing_waits_for_a_model_that_is_being_unloaded(start: Start) -> None:
    engine, session, _, running = await busy(start)
    unloading = asyncio.ensure_future(engine.unload("m"))
    while engine.status("m").state is not ModelState.DRAINING:
        await asyncio.sleep(0)
    closing = asyncio.ensure_future(engine.close(30))
    await turn()
    assert not closing.done()
    session.gate.set()
    await asyncio.gather(closing, unloading)
    assert float((await running).outputs["y"][0, 0]) == 2
    assert session.closed == 1


@pytest.mark.parametrize("swapped_out", [False, True], ids=["that serves", "that was swapped out"])
async def test_closing_does_not_wait_longer_than_it_is_told_for_a_version(start: Start, swapped_out: bool) -> None:
    engine, session, _, running = await busy(start, None, FakeSession())
    waiting = ask(engine, 2)
    await turn()
    if swapped_out:
        await engine.load("m", onnx_bytes(2))  # the old version drains, for as long as its runner is stuck
    await engine.close(0.01)
    with pytest.raises(Unavailable, match="unloaded before"):
        await waiting
    session.gate.set()
    assert float((await running).outputs["y"][0, 0]) == 2


async def test_closing_while_a_model_warms_up_ends_the_load_and_then_frees_its_session(start: Start) -> None:
    session = FakeSession()
    session.hold()
    engine = await start(Opener(session))
    loading = asyncio.ensure_future(engine.load("m", onnx_bytes()))
    await entered(session)
    await engine.close(0.01)
    assert session.closed == 0
    session.gate.set()
    with pytest.raises(Unavailable, match="shutting down"):
        await loading
    assert session.closed == 1
    assert engine.statuses() == []


async def test_a_run_that_is_stuck_in_a_version_swapped_out_is_found_and_counted_once(start: Start) -> None:
    engine, session, seen, stuck = await busy(start, None, FakeSession())
    await engine.load("m", onnx_bytes(2))
    assert engine.longest_run_s() > 0
    assert engine.give_up_stuck(0.0) == ["m"]
    with pytest.raises(DeadlineExceeded, match="did not end"):
        await stuck
    session.gate.set()
    await ask(engine, 2)
    await engine.close(5)
    assert seen.outcomes == [Outcome.EXPIRED, Outcome.OK]


async def test_a_busy_model_and_a_quiet_one_share_the_device(start: Start) -> None:
    """Both have as many runners as there are cores; the busy one holds them all, and lets go of them in turn."""
    busy, quiet = FakeSession(), FakeSession()
    engine = await start(Opener(busy, quiet))
    cores = usable_cores()
    await engine.load("m", onnx_bytes(1), {"instances": cores, "max_batch_size": 1})
    await engine.load("n", onnx_bytes(2), {"instances": cores})
    busy.hold()
    many = [ask(engine, value) for value in range(4 * cores)]
    for _ in range(cores):
        await entered(busy)
    lone = asyncio.ensure_future(engine.infer(InferRequest("n", {"x": rows(5)})))
    await turn()
    busy.gate.set()
    assert float((await lone).outputs["y"][0, 0]) == 6
    assert [float(answer.outputs["y"][0, 0]) for answer in await asyncio.gather(*many)] == [
        value + 1 for value in range(4 * cores)
    ]


@pytest.mark.parametrize(
    ("levels", "order"),
    [
        ({"priority_levels": 3, "default_priority": 2}, ["first", "high", "none", "low"]),
        ({"priority_levels": 3, "default_priority": 9}, ["first", "high", "none", "low"]),
        ({"priority_levels": 1, "default_priority": 2}, ["first", "none", "low", "high"]),
    ],
    ids=["three levels", "a default beyond them is the last", "of one level all are alike"],
)
async def test_a_request_with_priority_overtakes_those_that_wait(
    start: Start, levels: dict[str, object], order: list[str]
) -> None:
    engine, session, _, first = await busy(start, {"max_batch_size": 1, "priority_step_s": 30, **levels})
    ends: list[str] = []
    tasks = {"first": first}
    for name, priority in (("none", 0), ("low", 3), ("high", 1)):
        tasks[name] = ask(engine, 2, priority=priority)
        await turn()
    for name, task in tasks.items():
        task.add_done_callback(lambda _, name=name: ends.append(name))
    session.gate.set()
    await asyncio.gather(*tasks.values())
    assert ends == order


async def test_padding_never_reaches_a_caller(start: Start) -> None:
    session = FakeSession(lambda x: x * 2)
    engine = await loaded(start, session, settings={"max_batch_size": 8, "batch_sizes": "4"})
    session.batches.clear()
    answers = await asyncio.gather(*(ask(engine, *range(count)) for count in (1, 2)))
    assert session.batches == [4]
    assert [answer.outputs["y"][:, 0].tolist() for answer in answers] == [[0], [0, 2]]
    assert [answer.timings.batch_size for answer in answers] == [3, 3]
    with pytest.raises(InvalidInput, match="666"):
        await ask(engine, 666)


async def test_the_status_says_what_batching_rests_on_while_there_is_any(start: Start) -> None:
    engine = await loaded(start)
    assert engine.status("m").batch_evidence == "proved"
    status = (await engine.configure("m", {"max_batch_size": 1})).status
    assert (status.batching, status.batch_evidence) == ("unbatched: max_batch_size is 1", "")
    status = (await engine.configure("m", {"max_batch_size": 2})).status
    assert (status.batching.split(";")[1], status.batch_evidence) == (" up to 2 rows a run", "proved")


def detected(x: Array) -> Array:
    """A row for each detection, as many as a row's first number says: on warm-up's numbers mostly one."""
    return np.repeat(x, np.clip(x[:, 0], 0, 9).astype(int), axis=0)


@pytest.mark.parametrize("signature", [STEADY, SIGNATURE])
async def test_outputs_that_cannot_be_split_are_run_again_alone_and_the_model_stops_batching(
    start: Start, signature: Signature, caplog: pytest.LogCaptureFixture
) -> None:
    session, seen = FakeSession(detected, signature), Recorder()
    engine = await loaded(start, session, settings={"batching": "always", "max_batch_size": 4}, observer=seen)
    before = engine.status("m")
    assert before.max_batch_size == 4
    session.batches.clear()
    answers = await asyncio.gather(*(ask(engine, count) for count in (2, 0, 3)))
    assert [len(answer.outputs["y"]) for answer in answers] == [2, 0, 3]
    # A client that had split its rows is told to send them again, whole.
    assert {answer.epoch for answer in answers} == {engine.status("m").epoch} != {before.epoch}
    assert session.batches == [3, 1, 1, 1]
    status = engine.status("m")
    assert (status.max_batch_size, status.batch_evidence) == (0, "")
    assert "output 'y' came back with shape [5, 2] for a batch of 3 rows" in status.batching
    assert status.batching in caplog.text
    answers = await asyncio.gather(*(ask(engine, count, 1) for count in (1, 0)))
    assert [len(answer.outputs["y"]) for answer in answers] == [2, 1]
    assert session.batches[4:] == [2, 2]
    assert seen.outcomes == [Outcome.OK] * 5
    await engine.configure("m", {"max_batch_size": 8})
    assert engine.status("m").max_batch_size == 0


@pytest.fixture
def unproved(monkeypatch: pytest.MonkeyPatch) -> None:
    """No graph tells anything, so what is batched rests on a trial."""
    monkeypatch.setattr("workbench.repository.onnx_file.analyse", lambda model: BatchProof())


@pytest.mark.usefixtures("unproved")
async def test_real_rows_that_influence_each_other_are_found_though_made_up_ones_did_not(start: Start) -> None:
    session, seen = FakeSession(lambda x: x.mean(axis=0) + 0 * x if (x > 1e6).any() else x + 1, STEADY), Recorder()
    engine = await loaded(start, session, observer=seen)
    assert engine.status("m").batch_evidence == "sampled"
    session.batches.clear()
    answers = await asyncio.gather(ask(engine, 1), ask(engine, 2e6), ask(engine, 4e6))
    assert [float(answer.outputs["y"][0, 0]) for answer in answers] == [2, 2e6, 4e6]
    assert session.batches == [3, 1, 1, 1]
    assert seen.outcomes == [Outcome.OK] * 3
    status = engine.status("m")
    assert (status.max_batch_size, status.batch_evidence) == (0, "")
    assert "an answer was another than for the same request alone (output 'y' by 0.5 of its range)" in status.batching


@pytest.mark.usefixtures("unproved")
async def test_only_the_first_batches_of_an_unproved_model_are_checked(start: Start) -> None:
    session, seen = FakeSession(signature=STEADY), Recorder()
    engine = await loaded(start, session, observer=seen)
    session.batches.clear()
    for _ in range(CHECKED_BATCHES + 1):
        answers = await asyncio.gather(ask(engine, 1), ask(engine, 2, 3, outputs=("y",)))
        assert [answer.timings.batch_size for answer in answers] == [3, 3]
    assert session.batches == [3, 1, 2] * CHECKED_BATCHES + [3]
    assert len(seen.batches) == CHECKED_BATCHES + 1
    assert engine.status("m").batch_evidence == "sampled"


async def test_a_lone_request_whose_padding_cannot_be_told_from_it_is_run_again_without(start: Start) -> None:
    session = FakeSession(detected)
    settings = {"batching": "always", "max_batch_size": 4, "batch_sizes": "4"}
    engine = await loaded(start, session, settings=settings)
    session.batches.clear()
    assert len((await ask(engine, 2)).outputs["y"]) == 2
    assert session.batches == [4, 1]
    assert engine.status("m").max_batch_size == 0


async def test_outputs_keep_the_callers_order_in_a_shared_batch(start: Start) -> None:
    engine = await start()
    await engine.load("m", models.two_in_two_out().SerializeToString(), {"batching": "always"})
    signature = engine.status("m").signature
    assert signature is not None
    one, two = (spec.name for spec in signature.outputs)
    inputs = warmup_inputs(signature, 1, 1)
    orders = [(one, two), (two, one), (two,), (one,)]
    answers = await asyncio.gather(*(engine.infer(InferRequest("m", inputs, outputs=order)) for order in orders))
    assert [tuple(answer.outputs) for answer in answers] == orders


async def test_a_request_that_always_comes_alone_does_not_wait_for_the_end_of_its_turn(start: Start) -> None:
    session = FakeSession(signature=STEADY)
    engine = await loaded(start, session, clock=Clock())
    session.batches.clear()

    def submit() -> asyncio.Future[InferResponse]:
        future: asyncio.Future[InferResponse] = asyncio.get_running_loop().create_future()
        engine.submit(InferRequest("m", {"x": rows(1)}), future)
        return future

    for _ in range(LONE_TURNS):
        waiting = submit()
        assert not waiting.done()
        await waiting
    alone, beside, third = submit(), submit(), submit()
    assert (alone.done(), beside.done(), third.done()) == (True, False, False)
    await asyncio.gather(beside, third)
    assert session.batches == [1] * (LONE_TURNS + 1) + [2]
    again = submit()
    assert not again.done()
    await again


async def test_a_run_that_turns_out_long_leaves_the_event_loop(start: Start) -> None:
    clock = Clock()

    def run(x: Array) -> Array:
        clock.now += 0.05 if x[0, 0] == 9 else 0
        return x

    engine = await start(Opener(FakeSession(run, STEADY)), clock=clock)
    assert "on the event loop" in (await engine.load("m", onnx_bytes())).status.execution
    for _ in range(2):
        assert "on the event loop" in engine.status("m").execution
        await ask(engine, 9)
    assert engine.status("m").execution.startswith("on one runner thread")
    assert float((await ask(engine, 1)).outputs["y"][0, 0]) == 1


async def test_a_bad_name_is_refused(start: Start) -> None:
    engine = await start()
    for name in ("", "../x", "a/b", ".hidden", "a" * 129, "a..b"):
        with pytest.raises(InvalidInput, match="cannot name a model"):
            await engine.load(name, onnx_bytes())


# A runner that does not come back


async def test_a_run_that_is_ended_harms_its_batch_alone(start: Start) -> None:
    clock, session = Clock(), EndedSession()
    engine = await start(Opener(session), clock=clock)
    await engine.load("m", onnx_bytes(), ModelConfig(batching="always"))
    session.hold()
    callers = [ask(engine, 1)]
    await entered(session)
    callers += [ask(engine, 2), ask(engine, 3)]
    await turn()
    assert engine.interrupt_stuck(10) == []
    for ended in (callers[:1], callers[1:]):
        clock.now += 11
        assert engine.interrupt_stuck(10) == ["m"]
        for caller in ended:
            with pytest.raises(DeadlineExceeded, match="did not end within 10 s"):
                await caller
        if ended == callers[:1]:
            await entered(session)
    assert session.batches == [1, 2]  # and not their members again one by one
    session.gate.set()
    assert (await ask(engine, 4)).outputs["y"].tolist() == rows(5).tolist()
    assert engine.interrupt_stuck(10) == []
    assert engine.status("m").state is ModelState.READY


async def test_callers_of_a_stuck_run_and_those_behind_it_are_answered(start: Start) -> None:
    clock, session = Clock(), FakeSession()
    engine = await start(Opener(session), clock=clock)
    await engine.load("m", onnx_bytes(), ModelConfig(batching="never"))
    session.hold()
    inside, waiting = ask(engine, 1), ask(engine, 2)
    await entered(session)
    clock.now += 5
    assert engine.longest_run_s() == 5
    assert engine.give_up_stuck(10) == []
    clock.now += 6
    assert engine.give_up_stuck(10) == ["m"]
    for caller in (inside, waiting):
        with pytest.raises(DeadlineExceeded, match="did not end within 11 s"):
            await caller
    with pytest.raises(Unavailable, match="did not end within 11 s"):
        await ask(engine, 3)
    assert engine.give_up_stuck(10) == []
    session.gate.set()  # it comes back after all: nobody is answered twice
    while engine.longest_run_s():
        await turn()

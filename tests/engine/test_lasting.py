"""The engine and its journal: what is answered is on the disk, what fails changes nothing, what was is restored."""

from __future__ import annotations

import asyncio
import io
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.engine.fakes import FakeSession, Opener
from workbench.config import ModelConfig
from workbench.core.messages import InferRequest
from workbench.core.model import DesiredModel, ModelState, ModelStatus
from workbench.core.onnx_metadata import with_metadata
from workbench.core.provenance import METADATA_KEY, AnswerCheck, Provenance, encode
from workbench.core.version_plan import VersionPlan
from workbench.engine import Engine
from workbench.engine.sources import ModelSource
from workbench.errors import Conflict, InvalidInput, ModelError, ModelNotFound, StorageError, Unavailable
from workbench.repository import desired_state
from workbench.repository.desired_state import DesiredKind, DesiredState
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore

pytestmark = pytest.mark.timeout(60)

Start = Callable[..., Awaitable[Engine]]


@pytest.fixture
def state(tmp_path: Path) -> DesiredState:
    state = DesiredState(tmp_path / "state.sqlite")
    state.open()
    return state


@pytest.fixture
async def start(tmp_path: Path, state: DesiredState) -> AsyncIterator[Start]:
    """Engines on one store and one state, closed at the end."""
    engines = []

    async def started(**more: object) -> Engine:
        engine = Engine(ModelStore(tmp_path / "store"), journal=state, **more)  # type: ignore[arg-type]
        await engine.start()
        engines.append(engine)
        return engine

    yield started
    for engine in engines:
        await engine.close(5)
    state.close()


def onnx_bytes(amount: float = 1.0) -> bytes:
    return models.add_constant(amount).SerializeToString()


def held(state: DesiredState) -> list[tuple[str, str, DesiredKind]]:
    return [(each.model.name, each.model.version, each.kind) for each in state.models()]


async def answer(engine: Engine, name: str = "m", version: str | None = None) -> float:
    response = await engine.infer(InferRequest(name, {"x": np.zeros((1, 4), np.float32)}, version))
    return float(response.outputs["y"][0, 0])


async def restored(start: Start, state: DesiredState) -> Engine:
    engine = await start()
    for each in state.models():
        await engine.restore(each.model)
    return engine


async def test_what_is_loaded_set_and_committed_comes_back_as_it_was(start: Start, state: DesiredState) -> None:
    engine = await start()
    await engine.load("a", onnx_bytes(1))
    await engine.load("a", onnx_bytes(2), {"max_batch_size": 9})
    await engine.configure("a", {"max_queue_size": 77})
    await engine.configure("a", {"batching": "never"})  # by a reload
    stored = ModelStore(state.path.parent / "store").add_bytes(onnx_bytes(3))
    staged = await engine.stage("b", stored)
    assert held(state) == [("a", "2", DesiredKind.SERVING)]
    await engine.commit("b", staged.status.version)
    await engine.load("gone", onnx_bytes(4))
    await engine.unload("gone")
    again = await restored(start, state)
    assert await answer(again, "a") == 2
    assert await answer(again, "b") == 3
    assert [(each.name, each.version, each.routed) for each in again.statuses()] == [("a", "2", True), ("b", "1", True)]
    assert again.status("a").config == ModelConfig(max_batch_size=9, max_queue_size=77, batching="never")
    assert (await again.load("a", onnx_bytes(2))).unchanged
    assert (await again.load("a", onnx_bytes(5))).status.version == "3"
    assert held(state) == [("a", "3", DesiredKind.SERVING), ("b", "1", DesiredKind.SERVING)]


async def test_a_model_from_a_folder_comes_back_without_the_folder(
    start: Start, state: DesiredState, tmp_path: Path
) -> None:
    folder = tmp_path / "repo" / "m"
    file = models.save(models.add_constant(5), folder / "7" / "model.onnx")
    (folder / "model.toml").write_text("max_batch_size = 5\n")
    engine = await start()
    assert (await engine.load("m", folder)).status.version == "7"
    file.unlink()
    again = await restored(start, state)
    assert await answer(again, version="7") == 5
    assert again.status("m").config.max_batch_size == 5


async def test_what_lay_beside_a_model_comes_back_with_it(tmp_path: Path, start: Start, state: DesiredState) -> None:
    folder = tmp_path / "m"
    models.save(models.add_constant(), folder / "1" / "model.onnx")
    (folder / "config.pbtxt").write_text(
        """name: "m" max_batch_size: 8
        input { name: "x" data_type: TYPE_FP32 dims: [ 2, 2 ] reshape { shape: [ 4 ] } }
        output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" }
        model_warmup { name: "w" batch_size: 1 inputs {
            key: "x" value { data_type: TYPE_FP32 dims: [ 2, 2 ] input_data_file: "ones" } } }"""
    )
    (folder / "labels.txt").write_text("cat\ndog\n")
    (folder / "warmup").mkdir()
    (folder / "warmup" / "ones").write_bytes(np.ones(4, np.float32).tobytes())
    engine = await start()
    await engine.load("called", folder)
    before = engine.status("called")
    await engine.close()
    shutil.rmtree(folder)
    again = await restored(start, state)
    after = again.status("called")
    assert (after.signature, after.notes, after.config) == (before.signature, (), before.config)
    assert after.size_bytes == before.size_bytes
    assert again.classes_of(after.epoch)[1] == {"y": ("cat", "dog")}
    await again.unload("called")
    await again.load("called", onnx_bytes())
    last = await restored(start, state)
    assert not last.classes_of(last.status("called").epoch)[1]


async def test_what_the_repositories_hold_and_what_shall_not_last_is_not_noted(
    start: Start, state: DesiredState, tmp_path: Path
) -> None:
    models.save(models.add_constant(5), tmp_path / "repo" / "m" / "1" / "model.onnx")
    file = models.save(models.add_constant(6), tmp_path / "flag.onnx")
    engine = await start(repositories=[LocalRepository(tmp_path / "repo")])
    await engine.load("m")
    await engine.load("flag", file, persist=False)
    await engine.configure("m", {"max_batch_size": 3})
    await engine.configure("flag", {"batching": "never"})
    assert state.models() == []
    await engine.load("m", onnx_bytes(8))
    assert held(state) == [("m", "2", DesiredKind.SERVING)]
    await engine.load("m")  # the repository's again: this is what a restart brings anyway
    assert state.models() == []


async def test_a_load_that_fails_or_is_refused_leaves_nothing_behind(start: Start, state: DesiredState) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes())
    before = held(state)
    with pytest.raises(Conflict):
        await engine.load("m", models.identity("INT64").SerializeToString())
    with pytest.raises(ModelError):
        await engine.load("m", onnx_bytes(2), {"device": "cuda:77"})
    with pytest.raises(ModelError):
        await engine.load("m", b"this is no model")
    assert held(state) == before
    staged = await engine.stage("m", ModelStore(state.path.parent / "store").add_bytes(onnx_bytes(3)))
    await engine.discard("m", staged.status.version)
    assert held(state) == before
    assert await answer(engine) == 1


async def test_the_attempt_is_noted_while_the_model_is_opened(start: Start, state: DesiredState) -> None:
    seen: list[object] = []

    def open_session(path: Path, config: ModelConfig, *, instances: int) -> FakeSession:
        seen.append(held(state))
        return FakeSession()

    engine = await start(open_session=open_session)
    await engine.load("m", onnx_bytes())
    await engine.restore(state.models()[0].model)
    assert seen[0] == [("m", "1", DesiredKind.ATTEMPTING)]
    assert held(state) == [("m", "1", DesiredKind.SERVING)]


async def test_a_restored_model_whose_file_is_gone_is_failed_and_desired_all_the_same(
    start: Start, state: DesiredState
) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes())
    store = ModelStore(state.path.parent / "store")
    (digest,) = store.digests()
    other = store.add_bytes(onnx_bytes(2))
    (store.root / digest / "model.onnx").write_bytes(other.path.read_bytes())
    for reason in ("is not the one that was stored", "no longer in the service's store"):
        again = await start()
        with pytest.raises(ModelError, match=reason):
            await again.restore(state.models()[0].model)
        status = again.status("m")
        assert (status.state, status.version) == (ModelState.FAILED, "1")
        assert reason in status.reason
        with pytest.raises(Unavailable, match=reason):
            await answer(again)
        assert held(state) == [("m", "1", DesiredKind.SERVING)]
        assert not state.models()[0].suspect
        store.discard(digest)
    assert (await again.load("m", onnx_bytes(2))).status.version == "1"
    assert [each.state for each in again.statuses()] == [ModelState.READY]


async def test_a_quarantined_model_is_listed_and_a_load_clears_it(start: Start, state: DesiredState) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes())
    engine.quarantine(DesiredModel("m", "2", "0" * 64), "it died")
    assert [(each.version, each.state) for each in engine.statuses()] == [
        ("1", ModelState.READY),
        ("2", ModelState.FAILED),
    ]
    assert await answer(engine) == 1
    await engine.load("m", onnx_bytes(2))
    served = [each.version for each in engine.statuses() if each.state is ModelState.READY]
    assert served == ["2"]
    engine.quarantine(DesiredModel("lone", "4", "0" * 64), "it died")
    with pytest.raises(Unavailable, match="it died"):
        await answer(engine, "lone")
    await engine.unload("lone")
    with pytest.raises(ModelNotFound):
        engine.status("lone")


async def test_a_suspect_is_tried_again_and_others_once(start: Start, state: DesiredState) -> None:
    tried: list[bool] = []

    def trial(source: ModelSource, config: ModelConfig, *, again: bool = False) -> None:
        tried.append(again)
        if again:
            raise ModelError("it harms")

    engine = await start()
    await engine.load("m", onnx_bytes())
    other = await start(trial=trial)
    (each,) = state.models()
    await other.restore(each.model)
    with pytest.raises(ModelError, match="it harms"):
        await (await start(trial=trial)).restore(each.model, suspect=True)
    assert tried == [False, True]
    assert held(state) == [("m", "1", DesiredKind.SERVING)]
    assert not state.models()[0].suspect


async def test_a_model_that_fails_its_trial_is_not_opened(start: Start, state: DesiredState) -> None:
    def trial(source: ModelSource, config: ModelConfig, *, again: bool = False) -> None:
        raise ModelError("it harms")

    opener = Opener(FakeSession())
    engine = await start(trial=trial, open_session=opener)
    with pytest.raises(ModelError, match="it harms"):
        await engine.load("m", onnx_bytes())
    assert engine.statuses() == []
    assert opener.opened == []
    assert state.models() == []


CHANGES: dict[str, Callable[[Engine], Awaitable[object]]] = {
    "load": lambda engine: engine.load("m", onnx_bytes(2)),
    "commit": lambda engine: engine.commit("m", "2"),
    "set": lambda engine: engine.configure("m", {"max_batch_size": 3}),
    "reload": lambda engine: engine.configure("m", {"batching": "never"}),
    "unload": lambda engine: engine.unload("m"),
}


@pytest.mark.parametrize("change", list(CHANGES))
async def test_a_full_disk_at_any_write_fails_the_change_and_the_model_goes_on(
    start: Start, state: DesiredState, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    if change == "commit":
        stored = ModelStore(state.path.parent / "store").add_bytes(onnx_bytes(2))
        await engine.stage("m", stored)
    before, serving = statuses(engine), [each.model for each in state.models()]
    real, failed = desired_state.execute, 0
    while True:
        left = failed

        def execute(connection: sqlite3.Connection, statement: str, parameters: Sequence[object] = ()) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise sqlite3.OperationalError("database or disk is full")
            real(connection, statement, parameters)

        with monkeypatch.context() as patched:
            patched.setattr(desired_state, "execute", execute)
            try:
                await CHANGES[change](engine)
            except StorageError as error:
                assert "disk of the data folder is full" in error.message
            else:
                break
        assert statuses(engine) == before
        assert await answer(engine) == 1
        assert [each.model for each in state.models() if each.kind is DesiredKind.SERVING] == serving
        failed += 1
    assert failed >= 4
    assert statuses(engine) != before


def statuses(engine: Engine) -> list[ModelStatus]:
    return engine.statuses()


async def test_a_caller_who_leaves_while_it_is_noted_leaves_both_sides_alike(
    start: Start, state: DesiredState, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    real = state.serving
    loop = asyncio.get_running_loop()

    def serving(model: DesiredModel, plan: VersionPlan, beside: Sequence[DesiredModel]) -> None:
        loop.call_soon_threadsafe(loading.cancel)
        real(model, plan, beside)

    monkeypatch.setattr(state, "serving", serving)
    loading = asyncio.ensure_future(engine.load("m", onnx_bytes(2)))
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert await answer(engine) == 2
    assert held(state) == [("m", "2", DesiredKind.SERVING)]


async def test_a_load_that_is_given_up_during_its_trial_notes_no_attempt(start: Start, state: DesiredState) -> None:
    inside, go = threading.Event(), threading.Event()

    def trial(source: ModelSource, config: ModelConfig, *, again: bool = False) -> None:
        inside.set()
        assert go.wait(30)

    noted: list[DesiredModel] = []
    state.attempting = noted.append  # type: ignore[method-assign]
    engine = await start(trial=trial)
    loading = asyncio.ensure_future(engine.load("m", onnx_bytes()))
    await asyncio.to_thread(inside.wait)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    before = set(threading.enumerate())
    go.set()
    for thread in before - {threading.current_thread()}:
        if thread.name == "infer-work":
            await asyncio.to_thread(thread.join)
    assert noted == []


async def test_what_is_loaded_while_others_are_restored_is_not_undone(start: Start, state: DesiredState) -> None:
    await (await start()).load("m", onnx_bytes(1))
    (remembered,) = state.models()
    engine = await start()
    await engine.load("m", onnx_bytes(2))
    assert (await engine.restore(remembered.model)).unchanged
    assert await answer(engine) == 2
    assert [each.model.digest for each in state.models()] == [engine.status("m").digest]


async def test_settings_out_of_range_are_never_noted(start: Start, state: DesiredState) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    with pytest.raises(InvalidInput):
        await engine.configure("m", {"max_batch_size": 0})
    assert state.models()[0].model.config == ModelConfig()


async def test_where_a_model_came_from_is_told_after_a_restart_too(start: Start, state: DesiredState) -> None:
    check = AnswerCheck(False, 3, True, 0.001, "1 label differs on 3 rows")
    record = Provenance("net", {"torch": "2.13.0"}, 1.7e9, ("batch axis free",), check)
    engine = await start()
    store = ModelStore(state.path.parent / "store")
    staged = await engine.stage("m", store.add_bytes(onnx_bytes()))
    assert staged.status.provenance is None
    result = await engine.commit("m", staged.status.version, provenance=record)
    assert result.status.provenance == record
    assert "loaded with force, though it does not answer as the original: 1 label differs" in result.status.notes[0]
    await engine.configure("m", {"instances": 1, "device": "cpu"})
    assert engine.status("m").provenance == record
    await engine.close()
    again = (await restored(start, state)).status("m")
    assert again.provenance == record
    assert again.notes[0] == result.status.notes[0]


async def test_the_same_file_from_a_path_keeps_the_record_of_where_it_came_from(
    start: Start, state: DesiredState, tmp_path: Path
) -> None:
    record = Provenance("net", {"torch": "2.13.0"}, 1.7e9)
    engine = await start()
    staged = await engine.stage("m", ModelStore(state.path.parent / "store").add_bytes(onnx_bytes()))
    await engine.commit("m", staged.status.version, provenance=record)
    (tmp_path / "m.onnx").write_bytes(onnx_bytes())
    assert (await engine.stage("m", tmp_path / "m.onnx")).unchanged
    assert (await engine.load("m", tmp_path / "m.onnx")).unchanged
    await engine.close()
    assert (await restored(start, state)).status("m").provenance == record


async def test_a_folder_that_is_staged_brings_its_settings(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(onnx_bytes())
    (folder / "model.toml").write_text("max_batch_size = 5\n")
    engine = await start()
    assert (await engine.stage("m", folder)).status.config.max_batch_size == 5
    assert (await engine.stage("n", folder, {"max_batch_size": 3})).status.config.max_batch_size == 3


async def test_a_record_that_was_spoilt_on_the_disk_is_left_out(start: Start, state: DesiredState) -> None:
    engine = await start()
    store = ModelStore(state.path.parent / "store")
    staged = await engine.stage("m", store.add_bytes(onnx_bytes()))
    await engine.commit("m", staged.status.version, provenance=Provenance("net"))
    (kept,) = state.path.parent.rglob("provenance.json")
    kept.write_bytes(b'{"source": ')
    await engine.close()
    again = (await restored(start, state)).status("m")
    assert (again.state, again.provenance) == (ModelState.READY, None)


async def test_what_an_exported_file_says_of_itself_is_told(start: Start) -> None:
    engine = await start()
    record = Provenance("net", {"torch": "2.13.0"}, 1.7e9)
    content = io.BytesIO()
    with_metadata(io.BytesIO(onnx_bytes()), content, {METADATA_KEY: encode(record).decode()})
    assert (await engine.load("m", content.getvalue())).status.provenance == record
    other = io.BytesIO()
    with_metadata(io.BytesIO(onnx_bytes(2.0)), other, {METADATA_KEY: '{"source": "' + "x" * 500 + '"}'})
    assert (await engine.load("m", other.getvalue())).status.provenance is None

"""Several versions of one model at once: what is loaded beside the routed one, until when, and after a restart."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.helpers import sequence_models as made
from workbench.core.messages import InferRequest
from workbench.core.model import ModelState
from workbench.engine import Engine
from workbench.errors import Conflict, InvalidInput, ModelError, ModelNotFound, StorageError, Unavailable, Unsupported
from workbench.repository import desired_state
from workbench.repository.desired_state import DesiredKind, DesiredState
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore

pytestmark = pytest.mark.timeout(60)

Start = Callable[..., Awaitable[Engine]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Each call ends the engine before, in an orderly way unless `died`, and restores what its state held."""
    engines: list[Engine] = []
    states: list[DesiredState] = []

    async def started(died: bool = False, **more: object) -> Engine:
        for engine in engines:
            await engine.close(5)
        for state in states:
            if died and state._connection is not None:
                state._connection.close()
                state._connection = None
            state.close()
        state = DesiredState(tmp_path / "state.sqlite")
        state.open()
        engine = Engine(ModelStore(tmp_path / "store"), journal=state, **more)  # type: ignore[arg-type]
        engines[:], states[:] = [engine], [state]
        await engine.start()
        for name, plan in state.plans().items():
            engine.versions.plan_restored(name, plan)
        for each in state.models():
            if each.kind is DesiredKind.SERVING:
                await engine.restore(each.model, suspect=each.suspect)
        for model, suspect in state.beside():
            await engine.versions.restore(model, suspect=suspect)
        return engine

    yield started
    for engine in engines:
        await engine.close(5)
    for state in states:
        state.close()


def onnx_bytes(amount: float) -> bytes:
    return models.add_constant(amount).SerializeToString()


async def answer(engine: Engine, version: str | None = None) -> float:
    response = await engine.infer(InferRequest("m", {"x": np.zeros((1, 4), np.float32)}, version))
    assert version in (None, response.version)
    return float(response.outputs["y"][0, 0])


@contextmanager
def full_disk_for(monkeypatch: pytest.MonkeyPatch, what: str) -> Iterator[None]:
    """Statements of the state that hold `what` find the disk full."""

    def execute(connection: sqlite3.Connection, statement: str, parameters: Sequence[object] = ()) -> None:
        if what in statement:
            raise sqlite3.OperationalError("database or disk is full")
        connection.execute(statement, parameters)

    with monkeypatch.context() as patched:
        patched.setattr(desired_state, "execute", execute)
        yield


def loaded(engine: Engine) -> dict[str, bool]:
    """Version -> whether it is routed to, of those that are Ready."""
    return {each.version: each.routed for each in engine.statuses("m") if each.state is ModelState.READY}


async def test_a_version_that_is_loaded_without_a_route_answers_to_its_name_alone(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    result = await engine.load("m", onnx_bytes(2), route=False)
    assert (result.status.version, result.previous, result.status.routed) == ("2", "1", False)
    assert (await answer(engine), await answer(engine, "1"), await answer(engine, "2")) == (1, 1, 2)
    again = await engine.load("m", onnx_bytes(2), route=False)
    assert (again.unchanged, again.status.version) == (True, "2")
    engine = await start()
    assert loaded(engine) == {"1": True, "2": False}
    assert (await answer(engine), await answer(engine, "2")) == (1, 2)
    await engine.load("m", onnx_bytes(3))
    assert loaded(engine) == {"2": False, "3": True}, "no policy unloads what was loaded by its name"


async def test_the_first_version_may_have_no_route_and_calls_without_a_version_are_told_so(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1), route=False)
    for each in (engine, None):
        engine = each or await start()
        assert await answer(engine, "1") == 1
        with pytest.raises(Unavailable, match="a request has to name one; loaded: 1"):
            await answer(engine)


async def test_a_staged_version_can_be_kept_beside_the_one_that_serves(start: Start, tmp_path: Path) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    stored = ModelStore(tmp_path / "store").add_bytes(onnx_bytes(2))
    staged = await engine.stage("m", stored, route=False, keep_s=1e-3)
    kept = await engine.commit("m", staged.status.version, route=False)
    assert (kept.status.version, kept.status.routed) == ("2", False)
    engine._drop_uncommitted(engine._deployments.member("m", "2"))
    assert (await engine.stage("m", stored, route=False)).unchanged
    assert loaded(engine) == loaded(await start()) == {"1": True, "2": False}


async def test_the_latest_two_stay_loaded_where_the_policy_says_so_and_come_back(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1), {"versions": "latest:2"})
    for amount in (2, 3):
        await engine.load("m", onnx_bytes(amount))
    assert loaded(engine) == {"2": False, "3": True}
    with pytest.raises(ModelNotFound, match="version 1 is not found; loaded: 2, 3"):
        await answer(engine, "1")
    engine = await start()
    assert loaded(engine) == {"2": False, "3": True}
    assert (await engine.configure("m", {"versions": "latest:1"})).live
    assert loaded(engine) == {"3": True}
    assert loaded(await start()) == {"3": True}


async def test_one_version_is_unloaded_and_the_one_that_serves_is_not(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    await engine.load("m", onnx_bytes(2), route=False)
    with pytest.raises(Conflict, match="version 1 of model 'm' serves, so it cannot be unloaded alone"):
        await engine.unload("m", "1")
    with pytest.raises(ModelNotFound, match=r"no version 9 that is loaded \(loaded: 1, 2\)"):
        await engine.unload("m", "9")
    await engine.unload("m", "2")
    assert loaded(engine) == {"1": True}
    engine = await start()
    assert loaded(engine) == {"1": True}
    assert (await engine.load("m", onnx_bytes(4))).status.version == "3", "a number is given once"


async def test_a_folder_gives_the_versions_that_its_policy_names_and_the_highest_serves(
    start: Start, tmp_path: Path
) -> None:
    folder = tmp_path / "repository" / "m"
    for version in (1, 2, 3, 10):
        models.save(models.add_constant(version), folder / str(version) / "model.onnx")
    config = 'name: "m" max_batch_size: 4 version_policy {{ {} }}'
    (folder / "config.pbtxt").write_text(config.format("specific { versions: [ 1, 3 ] }"))
    repository = LocalRepository(folder.parent)
    engine = await start(repositories=[repository])
    await engine.load("m")
    assert loaded(engine) == {"1": False, "3": True}
    assert (await answer(engine), await answer(engine, "1")) == (3, 1)
    (folder / "config.pbtxt").write_text(config.format("all { }"))
    await engine.load("m")
    assert loaded(engine) == {"1": False, "2": False, "3": False, "10": True}
    await engine.unload("m")
    (folder / "config.pbtxt").write_text(config.format("latest { num_versions: 2 }"))
    await engine.load("m", folder)  # by its path, so it is the user's own, and comes back
    assert loaded(engine) == loaded(await start()) == {"3": False, "10": True}


async def test_of_a_repository_those_versions_alone_are_taken_that_are_named(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "m"
    for version in (1, 2, 3):
        models.save(models.add_constant(version), folder / str(version) / "model.onnx")
    (folder / "model.toml").write_text('versions = "latest:2"')
    engine = await start(repositories=[LocalRepository(folder.parent)])
    await engine.load("m", among=("1", "2"))
    assert loaded(engine) == {"1": False, "2": True}, "3 may be half a copy"
    (folder / "3" / "model.onnx").write_bytes(b"none")
    with pytest.raises(ModelError):
        await engine.load("m", among=("2", "3"))
    assert [each.version for each in engine.statuses("m") if each.state is ModelState.FAILED] == ["3"]
    assert await answer(engine) == 2


def folder_of_two_versions(tmp_path: Path) -> Path:
    """The folder of a model `m` in a repository, which keeps both loaded."""
    folder = tmp_path / "repository" / "m"
    for version in (1, 2):
        models.save(models.add_constant(version), folder / str(version) / "model.onnx")
    (folder / "model.toml").write_text('versions = "all"')
    return folder


async def test_a_version_beside_is_loaded_anew_where_its_file_is_another_and_no_request_fails(
    start: Start, tmp_path: Path
) -> None:
    folder = folder_of_two_versions(tmp_path)
    engine = await start(repositories=[LocalRepository(folder.parent)])
    await engine.load("m")
    await engine.versions.label("m", {"old": "1"})
    before = engine._deployments.get("m", "1")
    await engine.load("m", anew=("1", "2"))
    assert engine._deployments.get("m", "1") is before, "its file is the same"
    models.save(models.add_constant(100), folder / "1" / "model.onnx")
    await engine.load("m")
    assert await answer(engine, "1") == 1, "it was not asked for"
    loading = asyncio.ensure_future(engine.load("m", anew=("1",)))
    answers = []
    while not loading.done():
        response = await engine.infer(InferRequest("m", {"x": np.zeros((1, 4), np.float32)}, "old"))
        answers.append(float(response.outputs["y"][0, 0]))
    assert set(answers) <= {1, 100}
    assert (await answer(engine, "1"), await answer(engine)) == (100, 2)
    assert loaded(engine) == {"1": False, "2": True}
    models.save(models.identity(shape=("batch", 3)), folder / "1" / "model.onnx")
    await engine.load("m", anew=("1",))
    assert await answer(engine, "1") == 100, "with other inputs it cannot take the place of one that is called"


async def test_a_broken_version_beside_is_failed_and_the_others_serve(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "m"
    models.save(models.add_constant(2), folder / "2" / "model.onnx")
    (folder / "1").mkdir()
    (folder / "1" / "model.onnx").write_bytes(b"none")
    (folder / "model.toml").write_text('versions = "all"')
    engine = await start(repositories=[LocalRepository(folder.parent)])
    assert (await engine.load("m")).status.version == "2"
    assert loaded(engine) == {"2": True}
    assert await answer(engine) == 2


async def test_where_the_disk_is_full_nothing_has_changed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))

    with (
        full_disk_for(monkeypatch, "INTO beside"),
        pytest.raises(StorageError, match="disk of the data folder is full"),
    ):
        await engine.load("m", onnx_bytes(2), route=False)
    assert loaded(engine) == loaded(await start()) == {"1": True}


async def test_a_version_beside_that_ends_the_process_twice_is_not_tried_a_third_time(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    version = (await engine.load("m", onnx_bytes(2), route=False)).status.version
    journal = engine._journal
    assert isinstance(journal, DesiredState)
    model = journal.remembered("m", version)
    assert model is not None
    journal.restoring(model)
    engine = await start(died=True)
    assert loaded(engine) == {"1": True, "2": False}, "it may have been innocent"
    journal = engine._journal
    assert isinstance(journal, DesiredState)
    for _ in range(2):
        journal.restoring(model)
    engine = await start(died=True)
    assert loaded(engine) == {"1": True}
    journal = engine._journal
    assert isinstance(journal, DesiredState)
    assert [(each.model.version, each.kind) for each in journal.models()] == [
        ("1", DesiredKind.SERVING),
        ("2", DesiredKind.QUARANTINED),
    ]


async def test_a_version_beside_whose_runs_end_the_process_is_quarantined_and_the_other_serves(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    await engine.load("m", onnx_bytes(2), route=False)
    journal = engine._journal
    assert isinstance(journal, DesiredState)
    model = journal.remembered("m", "2")
    assert model is not None
    journal.quarantined(model, "its runs ended the service")
    engine = await start()
    assert loaded(engine) == {"1": True}


# The way back


async def test_a_rollback_goes_to_the_version_before_and_each_further_one_to_the_one_before_that(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1), {"versions": "latest:2"})
    with pytest.raises(Conflict, match="version 1 of model 'm' is the first that serves since it was loaded"):
        await engine.versions.rollback("m")
    for amount in (2, 3):
        await engine.load("m", onnx_bytes(amount))
    back = await engine.versions.rollback("m")
    assert (back.status.version, back.previous, back.live, back.status.routed) == ("2", "3", True, True)
    assert (await answer(engine), loaded(engine)) == (2, {"2": True, "3": False})
    engine = await start()
    assert loaded(engine) == {"2": True, "3": False}
    back = await engine.versions.rollback("m")
    assert (back.status.version, back.previous, back.live) == ("1", "2", False), "it had to be loaded again"
    assert (await answer(engine), loaded(engine)) == (1, {"1": True, "3": False})
    with pytest.raises(Conflict, match="so there is none to go back to"):
        await engine.versions.rollback("m")
    assert (await engine.load("m", onnx_bytes(4))).status.version == "4", "what was taken back keeps its number"
    assert (await engine.versions.rollback("m")).status.version == "1"
    with pytest.raises(ModelNotFound):
        await engine.versions.rollback("other")


async def test_the_latest_alone_is_loaded_by_default_and_a_rollback_loads_the_one_before(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    await engine.load("m", onnx_bytes(2))
    back = await engine.versions.rollback("m")
    assert (back.live, loaded(engine)) == (False, {"1": True})
    assert loaded(await start()) == {"1": True}


async def test_requests_under_way_are_answered_through_a_rollback(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1), {"versions": "latest:2"})
    await engine.load("m", onnx_bytes(2))
    asked = [asyncio.ensure_future(answer(engine)) for _ in range(50)]
    back = asyncio.ensure_future(engine.versions.rollback("m"))
    while not back.done():
        asked.append(asyncio.ensure_future(answer(engine)))
        await asyncio.sleep(0)
    asked += [asyncio.ensure_future(answer(engine)) for _ in range(50)]
    answers = await asyncio.gather(*asked)
    assert answers == sorted(answers, reverse=True), "one table, one moment"
    assert set(answers) == {1, 2}


async def test_a_rollback_goes_back_in_a_repository_too_and_holds_after_a_restart(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "m"
    repository = LocalRepository(folder.parent)
    engine = await start(repositories=[repository])
    for version in (1, 2):
        models.save(models.add_constant(version), folder / str(version) / "model.onnx")
        await engine.load("m")
    assert (await engine.versions.rollback("m")).status.version == "1"
    engine = await start(repositories=[repository])
    assert loaded(engine) == {"1": True}


async def test_a_rollback_to_a_file_that_is_gone_says_so_and_changes_nothing(start: Start, tmp_path: Path) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    digest = engine.status("m").digest
    await engine.load("m", onnx_bytes(2))
    shutil.rmtree(tmp_path / "store" / digest)
    with pytest.raises(ModelError, match="its file is no longer in the service's store; load it again"):
        await engine.versions.rollback("m")
    assert (await answer(engine), loaded(engine)) == (2, {"2": True})


async def test_where_a_rollback_cannot_be_noted_the_version_goes_on_serving(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    await engine.load("m", onnx_bytes(2))

    with full_disk_for(monkeypatch, "INTO versions"), pytest.raises(StorageError):
        await engine.versions.rollback("m")
    assert loaded(engine) == {"2": True}
    assert (await engine.versions.rollback("m")).status.version == "1"


# Labels


async def test_a_request_names_a_label_wherever_it_can_name_a_version_and_the_answer_names_the_version(
    start: Start,
) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    await engine.load("m", onnx_bytes(2), route=False)
    assert await engine.versions.label("m", {"stable": "1", "canary": "2"}) == {"stable": "1", "canary": "2"}
    for each in (engine, None):
        engine = each or await start()
        response = await engine.infer(InferRequest("m", {"x": np.zeros((1, 4), np.float32)}, "canary"))
        assert (response.version, float(response.outputs["y"][0, 0])) == ("2", 2)
        assert engine.status("m", "stable").version == "1"
        assert [each.version_labels for each in engine.statuses("m")] == [("stable",), ("canary",)]
    with pytest.raises(ModelNotFound, match="version other is not found; loaded: 1, 2, canary, stable"):
        await engine.infer(InferRequest("m", {}, "other"))


async def test_labels_move_between_versions_at_one_moment(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    await engine.load("m", onnx_bytes(2), route=False)
    await engine.versions.label("m", {"a": "1", "b": "2"})
    moving = asyncio.ensure_future(engine.versions.label("m", {"a": "2", "b": "1"}))
    seen = set()
    while not moving.done():
        table = engine._deployments.table
        seen.add((table.choose("m", "a").version, table.choose("m", "b").version))
        await asyncio.sleep(0)
    table = engine._deployments.table
    seen.add((table.choose("m", "a").version, table.choose("m", "b").version))
    assert seen == {("1", "2"), ("2", "1")}


async def test_a_version_with_a_label_stays_loaded_until_the_label_goes(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    await engine.versions.label("m", {"stable": "1"})
    await engine.load("m", onnx_bytes(2))
    await engine.load("m", onnx_bytes(3))
    assert loaded(engine) == {"1": False, "3": True}
    engine = await start()
    assert loaded(engine) == {"1": False, "3": True}
    assert (await answer(engine, "1"), engine.status("m", "stable").version) == (1, "1")
    await engine.versions.label("m", {"stable": "3"})
    assert loaded(engine) == {"3": True}
    await engine.versions.label("m", {"stable": None})
    assert loaded(engine) == loaded(await start()) == {"3": True}


async def test_a_label_of_a_version_that_is_not_ready_is_refused_and_nothing_moves(start: Start) -> None:
    engine = await start()
    with pytest.raises(ModelNotFound, match="'m' is not found"):
        await engine.versions.label("m", {"stable": "1"})
    await engine.load("m", onnx_bytes(1))
    with pytest.raises(InvalidInput, match=r"cannot point to version '2', which is not Ready \(Ready: 1\)"):
        await engine.versions.label("m", {"stable": "1", "canary": "2"})
    with pytest.raises(InvalidInput, match="looks like a version"):
        await engine.versions.label("m", {"v1": "1"})
    with pytest.raises(ModelNotFound, match="version stable is not found"):
        await engine.infer(InferRequest("m", {}, "stable"))


async def test_a_version_that_is_unloaded_takes_its_labels_with_it(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    await engine.load("m", onnx_bytes(2), route=False)
    await engine.versions.label("m", {"canary": "2"})
    await engine.unload("m", "2")
    with pytest.raises(ModelNotFound, match="version canary is not found; loaded: 1"):
        await engine.infer(InferRequest("m", {}, "canary"))
    assert loaded(await start()) == {"1": True}


# Weights


def renamed() -> bytes:
    """A model with another input."""
    other = models.add_constant(9)
    other.graph.input[0].name = "other"
    other.graph.node[0].input[0] = "other"
    return other.SerializeToString()


async def two(start: Start) -> Engine:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    await engine.load("m", onnx_bytes(2), route=False)
    return engine


async def split(engine: Engine, calls: int = 200, caller: str = "", **parameters: str) -> dict[str, int]:
    """How many calls each version got; every answer is that version's."""
    found: dict[str, int] = {}
    for _ in range(calls):
        request = InferRequest("m", {"x": np.zeros((1, 4), np.float32)}, parameters=dict(parameters), caller=caller)
        response = await engine.infer(request)
        assert float(response.outputs["y"][0, 0]) == int(response.version)
        found[response.version] = found.get(response.version, 0) + 1
    return found


async def test_calls_without_a_version_are_split_by_weight_and_still_are_after_a_restart(start: Start) -> None:
    engine = await two(start)
    result = await engine.routing.route("m", {"2": 0.1})
    assert (result.previous, result.live, result.status.weight) == ("1", True, 0.9)
    for each in (engine, None):
        engine = each or await start()
        assert await split(engine) == pytest.approx({"1": 180, "2": 20}, abs=3)
        assert [each.weight for each in engine.statuses("m")] == [0.9, 0.1]
        assert (await answer(engine, "1"), await answer(engine, "2")) == (1, 2)
    assert (await engine.routing.route("m", {"2": 0.0})).status.weight == 1.0
    assert await split(engine) == {"1": 200}
    assert await split(await start()) == {"1": 200}


async def test_a_key_sticks_to_its_side_over_a_restart_and_a_higher_weight(start: Start) -> None:
    engine = await two(start)
    await engine.routing.route("m", {"2": 0.2}, by="user")
    users = [f"user-{each}" for each in range(60)]
    chosen = {user for user in users if await split(engine, 1, user=user) == {"2": 1}}
    assert 0 < len(chosen) < 40
    engine = await start()
    assert chosen == {user for user in users if await split(engine, 1, user=user) == {"2": 1}}
    await engine.routing.route("m", {"2": 0.5}, by="user")
    assert chosen < {user for user in users if await split(engine, 1, user=user) == {"2": 1}}


async def test_all_calls_are_a_promotion_and_a_rollback_takes_back_a_split_first(start: Start) -> None:
    engine = await two(start)
    await engine.routing.route("m", {"2": 0.5})
    back = await engine.versions.rollback("m")
    assert (back.status.version, back.previous, loaded(engine)) == ("1", "1", {"1": True, "2": False})
    assert await split(engine, 20) == {"1": 20}
    await engine.routing.route("m", {"2": 0.5})
    promoted = await engine.routing.route("m", {"v2": 1.0})
    assert (promoted.status.version, promoted.previous, promoted.status.weight) == ("2", "1", 1.0)
    assert await split(engine, 20) == {"2": 20}
    assert loaded(engine) == {"2": True}
    assert (await engine.versions.rollback("m")).status.version == "1"


async def test_weights_over_all_or_of_a_version_that_is_not_ready_are_refused_and_nothing_changes(start: Start) -> None:
    engine = await two(start)
    await engine.routing.route("m", {"2": 0.1})
    with pytest.raises(InvalidInput, match="110 % together, and at most 100 %"):
        await engine.routing.route("m", {"1": 0.5, "2": 0.6})
    with pytest.raises(ModelNotFound, match="version 7 is not found; loaded: 1, 2"):
        await engine.routing.route("m", {"7": 0.1})
    await engine.load("m", renamed(), route=False)
    with pytest.raises(Conflict, match="version 3 of model 'm' cannot take a part of the calls of version 1"):
        await engine.routing.route("m", {"3": 0.1})
    with pytest.raises(Conflict, match="has other inputs or outputs than version 1"):
        await engine.routing.route("m", {"3": 1.0})
    assert await split(engine, 100) == pytest.approx({"1": 90, "2": 10}, abs=3)
    assert (await engine.routing.route("m", {"3": 1.0}, force=True)).status.version == "3"


async def test_a_route_waits_for_a_load_where_that_is_asked_for(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    loading = asyncio.ensure_future(engine.load("m", onnx_bytes(2), route=False))
    while not engine.changing:
        await asyncio.sleep(0)
    with pytest.raises((ModelNotFound, Unavailable)):
        await engine.routing.route("m", {"2": 0.5})
    await engine.routing.route("m", {"2": 0.5}, wait=True)
    assert await split(engine, 100) == pytest.approx({"1": 50, "2": 50}, abs=3)
    await loading


async def test_a_split_goes_on_when_the_routed_version_is_replaced_and_ends_with_its_version(start: Start) -> None:
    engine = await two(start)
    await engine.routing.route("m", {"2": 0.25})
    await engine.load("m", onnx_bytes(3))
    assert await split(engine, 100) == pytest.approx({"3": 75, "2": 25}, abs=3)
    await engine.unload("m", "2")
    assert await split(engine, 20) == {"3": 20}


async def test_labels_name_the_sides_of_a_split(start: Start) -> None:
    engine = await two(start)
    await engine.versions.label("m", {"canary": "2"})
    await engine.routing.route("m", {"canary": 0.01})
    assert await split(engine, 20, route="canary") == {"2": 20}
    assert await split(engine, 20, route="1") == {"1": 20}
    with pytest.raises(InvalidInput, match="the parameter route asks for '9'"):
        await split(engine, 1, route="9")


async def test_what_is_answered_under_swaps_rollbacks_and_weights_is_right_and_nothing_fails(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1), {"versions": "latest:3"})
    done = asyncio.Event()
    answered = 0

    async def call() -> None:
        nonlocal answered
        while not done.is_set():
            request = InferRequest("m", {"x": np.zeros((1, 4), np.float32)})
            response = await engine.infer(request)
            assert float(response.outputs["y"][0, 0]) == int(response.version)
            answered += 1

    calls = [asyncio.ensure_future(call()) for _ in range(4)]
    for amount in range(2, 14):
        assert (await engine.load("m", onnx_bytes(amount))).status.version == str(amount)
        if amount % 3 == 0:
            assert (await engine.versions.rollback("m")).live
            await engine.routing.route("m", {str(amount): 0.5})
            await engine.routing.route("m", {str(amount): 0.9})
            await engine.versions.rollback("m")
    assert answered > 0
    done.set()
    await asyncio.gather(*calls)


async def test_a_rollback_is_not_kept_waiting_by_lent_settings(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    await engine.load("m", onnx_bytes(2))
    async with engine.lend("m", {"max_batch_size": 8}):
        with pytest.raises(Conflict, match="are lent to a load test"):
            await engine.routing.route("m", {"2": 0.5})
        assert (await engine.versions.rollback("m")).status.version == "1"
    assert await answer(engine) == 1


async def test_a_model_of_a_repository_keeps_its_labels_and_weights_after_a_restart(
    start: Start, tmp_path: Path
) -> None:
    folder = folder_of_two_versions(tmp_path)
    repository = LocalRepository(folder.parent)
    engine = await start(repositories=[repository])
    await engine.load("m")
    await engine.versions.label("m", {"old": "1"})
    await engine.routing.route("m", {"1": 0.5})
    engine = await start(repositories=[repository])
    await engine.load("m")  # as the service does at its start
    assert loaded(engine) == {"1": False, "2": True}
    assert await split(engine, 100) == pytest.approx({"1": 50, "2": 50}, abs=3)
    assert engine.status("m", "old").version == "1"


async def test_the_policy_of_a_model_holds_for_a_version_that_was_loaded_before_it_was_set(start: Start) -> None:
    engine = await two(start)
    await engine.configure("m", {"versions": "latest:2"})
    assert (await engine.commit("m", "2")).status.config.versions == "latest:2"
    assert loaded(engine) == loaded(await start()) == {"1": False, "2": True}


async def test_a_new_version_with_other_inputs_shares_its_calls_with_none_that_takes_the_former_ones(
    start: Start,
) -> None:
    engine = await two(start)
    await engine.routing.route("m", {"2": 0.5}, by="user")
    await engine.load("m", renamed(), force=True)
    for each in (engine, None):
        engine = each or await start()
        assert [each.weight for each in engine.statuses("m") if each.routed] == [1.0]
        for _ in range(20):
            response = await engine.infer(InferRequest("m", {"other": np.zeros((1, 4), np.float32)}))
            assert response.version == "3"
        assert await answer(engine, "2") == 2


async def test_models_with_state_are_not_split(start: Start, tmp_path: Path) -> None:
    folder = made.save(tmp_path / "repository", "m", made.accumulator(), made.config(made.state()))
    engine = await start()
    await engine.load("m", folder)
    second = made.accumulator()
    second.doc_string = "another version"
    models.save(second, folder / "2" / "model.onnx")
    await engine.load("m", folder, route=False)
    with pytest.raises(Unsupported, match="keeps state between requests, so its calls cannot be split"):
        await engine.routing.route("m", {"2": 0.5})


async def test_the_part_of_a_version_that_does_not_come_back_is_the_routed_ones(start: Start) -> None:
    engine = await two(start)
    await engine.routing.route("m", {"2": 0.5})
    journal = engine._journal
    assert isinstance(journal, DesiredState)
    model = journal.remembered("m", "2")
    assert model is not None
    journal.quarantined(model, "its runs ended the service")
    engine = await start()
    assert engine.status("m").weight == 1.0
    assert await split(engine, 20) == {"1": 20}


async def test_the_calls_of_a_share_go_by_weights_of_their_own_and_still_do_after_a_restart(start: Start) -> None:
    engine = await two(start)
    await engine.routing.route_share("m", "s1", {"2": 1.0})
    await engine.routing.route_share("m", "s2", {"2": 0.25})
    for each in (engine, None):
        engine = each or await start()
        assert await split(engine, 20, "s1") == {"2": 20}
        assert await split(engine, 100, "s2") == pytest.approx({"1": 75, "2": 25}, abs=2)
        assert await split(engine, 20) == await split(engine, 20, "s3") == {"1": 20}
        assert [each.weight for each in engine.statuses("m")] == [1.0, 0.0]
    await engine.routing.route("m", {"2": 0.5})
    assert await split(engine, 100, "s3") == pytest.approx({"1": 50, "2": 50}, abs=2)
    assert await split(engine, 20, "s1") == {"2": 20}, "what others go by is nothing to it"
    assert await split(engine, 5, "s1", route="1") == {"1": 5}, "but its own word is"


async def test_a_share_stays_on_its_version_when_others_go_to_another_one(start: Start) -> None:
    engine = await start()
    await engine.load("m", onnx_bytes(1))
    await engine.routing.route_share("m", "s1", {"1": 1.0})
    await engine.load("m", onnx_bytes(2))
    assert loaded(engine) == {"1": False, "2": True}, "it stays loaded for the share"
    assert (await split(engine, 5, "s1"), await split(engine, 5)) == ({"1": 5}, {"2": 5})
    await engine.load("m", onnx_bytes(3))
    assert (await split(engine, 5, "s1"), await split(engine, 5)) == ({"1": 5}, {"3": 5})
    await engine.routing.keep_shares("m", ["s1"])
    assert engine.routing.for_shares() == {"m": {"s1"}}
    await engine.routing.keep_shares("m", [])
    assert engine.routing.for_shares() == {}
    assert loaded(engine) == {"3": True}, "nothing holds it any more"
    assert await split(engine, 5, "s1") == {"3": 5}


async def test_the_route_of_a_share_ends_with_its_version_or_for_one_with_other_inputs(start: Start) -> None:
    engine = await two(start)
    await engine.routing.route_share("m", "s1", {"2": 1.0})
    await engine.routing.route_share("m", "s1", {"2": 0.0})
    assert await split(engine, 5, "s1") == {"1": 5}
    await engine.routing.route_share("m", "s1", {"2": 1.0})
    await engine.unload("m", "2")
    assert (await split(engine, 5, "s1"), engine.routing.for_shares()) == ({"1": 5}, {})
    await engine.load("m", onnx_bytes(2), route=False)
    await engine.routing.route_share("m", "s1", {"3": 1.0})
    await engine.load("m", renamed(), force=True)
    response = await engine.infer(InferRequest("m", {"other": np.zeros((1, 4), np.float32)}, caller="s1"))
    assert (response.version, engine.routing.for_shares()) == ("4", {})


async def test_what_no_share_can_be_routed_to_is_refused_and_nothing_changes(start: Start) -> None:
    engine = await two(start)
    await engine.load("m", renamed(), route=False)
    with pytest.raises(ModelNotFound):
        await engine.routing.route_share("m", "s1", {"9": 1.0})
    with pytest.raises(ModelNotFound):
        await engine.routing.route_share("nothing", "s1", {})
    with pytest.raises(InvalidInput, match="110 % together"):
        await engine.routing.route_share("m", "s1", {"1": 0.5, "2": 0.6})
    with pytest.raises(Conflict, match="its inputs or outputs are others"):
        await engine.routing.route_share("m", "s1", {"3": 1.0})
    assert (await split(engine, 5, "s1"), engine.routing.for_shares()) == ({"1": 5}, {})

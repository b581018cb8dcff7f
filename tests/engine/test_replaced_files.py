"""Whoever can write to a model repository changes files between the look at them and the load, and later."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests import models
from workbench.config import ModelConfig
from workbench.core.messages import InferRequest
from workbench.core.model import ModelState
from workbench.core.ports import Session
from workbench.engine import Engine
from workbench.errors import Conflict, WorkbenchError
from workbench.repository import incoming, opened_file
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore
from workbench.runtimes.registry import open_session

WEIGHTS = 64 * 1024
"""Elements of the weights beside the model: enough for ONNX Runtime to map their file instead of reading it."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "repository"


@asynccontextmanager
async def serving(
    root: Path, before_opening: Callable[[], object] = lambda: None, **more: bool
) -> AsyncIterator[Engine]:
    """An engine on the repository, which calls `before_opening` once when a model has been looked at."""
    calls = [before_opening]

    def opened(path: Path, config: ModelConfig, *, instances: int) -> Session:
        if calls:
            calls.pop()()
        return open_session(path, config, instances=instances)

    engine = Engine(
        ModelStore(root.parent / "store"), repositories=[LocalRepository(root, **more)], open_session=opened
    )
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close(5)


def save_constant(root: Path, amount: float) -> Path:
    return models.save(models.add_constant(amount), root / "m" / "1" / "model.onnx")


def save_beside(root: Path, amount: float) -> Path:
    """A model that adds weights which lie in weights.bin beside it: that file."""
    weights = numpy_helper.from_array(np.full(WEIGHTS, amount, np.float32), "w")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WEIGHTS]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = root / "m" / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path.with_name("weights.bin")


async def answer(engine: Engine, columns: int = 4) -> float:
    response = await engine.infer(InferRequest("m", {"x": np.zeros((1, columns), np.float32)}))
    return float(response.outputs["y"][0, 0])


async def test_what_is_looked_at_is_loaded_though_another_file_takes_its_place(root: Path) -> None:
    save_constant(root, 1)
    async with serving(root, lambda: save_constant(root, 666)) as engine:
        await engine.load("m")
        assert await answer(engine) == 1
        await engine.load("m")
        assert await answer(engine) == 666


async def test_weights_that_are_written_to_while_they_serve_change_no_answer(root: Path) -> None:
    weights = save_beside(root, 1)
    async with serving(root) as engine:
        await engine.load("m")
        with weights.open("r+b") as file:
            file.write(np.full(WEIGHTS, 666, np.float32).tobytes())
        assert await answer(engine, WEIGHTS) == 1
        os.truncate(weights, 0)  # a page that is mapped and gone would end this process
        assert await answer(engine, WEIGHTS) == 1


async def test_settings_are_changed_of_the_model_that_serves_whatever_its_folder_holds(root: Path) -> None:
    save_constant(root, 1)
    async with serving(root) as engine:
        await engine.load("m")
        save_constant(root, 2)
        await engine.configure("m", {"batching": "never"})  # by a load of its file
        assert await answer(engine) == 1
        assert not (await engine.load("m")).unchanged
        assert await answer(engine) == 2


async def test_in_place_a_file_replaced_while_it_is_loaded_is_refused(root: Path) -> None:
    save_constant(root, 1)
    async with serving(root, lambda: save_constant(root, 666), in_place=True) as engine:
        with pytest.raises(Conflict, match="was replaced"):
            await engine.load("m")
        assert [(each.state, each.routed) for each in engine.statuses()] == [(ModelState.FAILED, False)]
        await engine.load("m")
        assert await answer(engine) == 666
        assert engine._deployments.routed("m").source.path == root / "m/1/model.onnx"  # type: ignore[union-attr]


async def test_in_place_a_file_replaced_since_is_not_served_under_the_old_name(root: Path) -> None:
    save_constant(root, 1)
    async with serving(root, in_place=True) as engine:
        await engine.load("m")
        save_constant(root, 2)
        with pytest.raises(Conflict, match="was replaced"):
            await engine.configure("m", {"batching": "never"})
        assert await answer(engine) == 1
        assert not (await engine.load("m")).unchanged


async def test_in_place_weights_that_are_replaced_while_they_are_loaded_are_refused(root: Path) -> None:
    weights = save_beside(root, 1)

    def replace() -> None:
        content = weights.read_bytes()
        weights.with_name("other").write_bytes(content)
        weights.with_name("other").rename(weights)

    async with serving(root, replace, in_place=True) as engine:
        with pytest.raises(Conflict, match="was replaced"):
            await engine.load("m")


@pytest.mark.parametrize("way", ["the file", "its folder"])
async def test_a_link_that_takes_a_names_place_after_the_look_leads_nowhere(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The secret is a well-formed model of the same size, so that nothing but the link can give it away."""
    weights = save_beside(root, 1)
    secret = tmp_path / "secret" / "weights.bin"
    secret.parent.mkdir()
    secret.write_bytes(weights.read_bytes())
    link, target = (weights, secret) if way == "the file" else (weights.parent, secret.parent)
    copies: list[str] = []
    contained = opened_file.contained

    def then_linked(path: Path, root: Path, what: str) -> Path:
        found = contained(path, root, what)
        if path == weights:
            link.rename(tmp_path / "gone")
            link.symlink_to(target)
        return found

    monkeypatch.setattr(opened_file, "contained", then_linked)
    monkeypatch.setattr(incoming.IncomingFolder, "copy", lambda self, file, target: copies.append(target.name))
    async with serving(root) as engine:
        with pytest.raises(WorkbenchError, match="was replaced while it was opened"):
            await engine.load("m")
    assert copies == ["model.onnx"]

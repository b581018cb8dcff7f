"""Settings that are lent: in force for as long as somebody holds them, and noted nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import models
from tests.engine.fakes import FakeSession, Opener
from workbench.config import ModelConfig
from workbench.engine import Engine
from workbench.errors import Conflict, InvalidInput, ModelNotFound
from workbench.repository.desired_state import DesiredState
from workbench.repository.store import ModelStore

pytestmark = pytest.mark.timeout(60)

BEFORE = ModelConfig(max_batch_size=32, max_queue_size=100)


@pytest.fixture
def state(tmp_path: Path) -> DesiredState:
    state = DesiredState(tmp_path / "state.sqlite")
    state.open()
    return state


@pytest.fixture
async def engine(tmp_path: Path, state: DesiredState) -> AsyncIterator[Engine]:
    opener = Opener(FakeSession(), FakeSession())
    engine = Engine(ModelStore(tmp_path / "store"), journal=state, open_session=opener)
    await engine.start()
    onnx = models.add_constant(1.0).SerializeToString()
    await engine.load("m", onnx, {"max_batch_size": 32, "max_queue_size": 100})
    yield engine
    await engine.close(5)
    state.close()


def config(engine: Engine) -> ModelConfig:
    return engine.status("m").config


async def test_lent_settings_hold_while_they_are_held_and_are_never_noted(engine: Engine, state: DesiredState) -> None:
    async with engine.lend("m", {"max_batch_size": 4}) as status:
        assert status.config.max_batch_size == config(engine).max_batch_size == 4
        assert config(engine).max_queue_size == 100
        assert [entry.model.config for entry in state.models()] == [BEFORE]  # what a restart would serve
    assert config(engine) == BEFORE


async def test_they_are_given_back_by_a_borrower_who_fails_or_is_cancelled(engine: Engine) -> None:
    with pytest.raises(RuntimeError):
        async with engine.lend("m", {"max_batch_size": 4}):
            raise RuntimeError
    assert config(engine) == BEFORE
    held = asyncio.Event()

    async def hold() -> None:
        async with engine.lend("m", {"max_batch_size": 8}):
            held.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await held.wait()
    assert config(engine).max_batch_size == 8
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert config(engine) == BEFORE


async def test_meanwhile_nobody_else_changes_the_model_but_it_can_be_unloaded(engine: Engine) -> None:
    async with engine.lend("m", {"max_batch_size": 4}):
        with pytest.raises(Conflict, match="lent to a load test"):
            await engine.configure("m", {"max_batch_size": 2})
        with pytest.raises(Conflict, match="lent to a load test"):
            async with engine.lend("m", {}):
                pass
        with pytest.raises(Conflict, match="lent to a load test"):
            await engine.load("m", models.add_constant(2.0).SerializeToString())
        await engine.unload("m")
    with pytest.raises(ModelNotFound):
        engine.status("m")


async def test_only_settings_that_need_no_reload_are_lent(engine: Engine) -> None:
    for settings in ({"batching": "never"}, {"max_batch_size": 0}, {"nothing": 1}):
        with pytest.raises(InvalidInput):
            async with engine.lend("m", settings):
                pass
    assert config(engine) == BEFORE
    with pytest.raises(ModelNotFound):
        async with engine.lend("other", {"max_batch_size": 4}):
            pass

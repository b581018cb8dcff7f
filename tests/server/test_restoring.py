"""How far a restore has come, as it is told while it lasts, and what it brings back to fall back to."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import cast

import pytest

from tests import models
from tests.engine.fakes import FakeSession, Opener
from tests.helpers.waiting import until_async
from workbench.config import ModelConfig, ServerConfig
from workbench.core.model import DesiredModel, ModelState
from workbench.engine import Engine
from workbench.errors import ModelError
from workbench.repository.store import ModelStore
from workbench.server.persistence import ModelPersistence


class Slow:
    """An engine that is done with a model each time it is let; one of them fails."""

    def __init__(self) -> None:
        self.let = asyncio.Semaphore(0)

    async def restore(self, model: DesiredModel, *, suspect: bool) -> None:
        await self.let.acquire()
        if model.name == "m1":
            raise ModelError("it does not load")

    @property
    def versions(self) -> Slow:
        return self

    async def restore_fallback(self, name: str) -> None:
        """It has none."""


async def test_each_model_that_is_done_with_counts_also_one_that_fails(tmp_path: Path) -> None:
    persistence = ModelPersistence(ServerConfig(data_dir=tmp_path), ModelStore(tmp_path / "models"))
    persistence.open()
    try:
        for number in range(3):
            persistence.state.serving(DesiredModel(f"m{number}", "1", f"{number:064}", ModelConfig()))
        engine = Slow()
        restoring = asyncio.create_task(persistence.restore(cast(Engine, engine)))
        for done in range(3):
            told = f"restoring models, {done} of 3 done"
            await until_async(lambda told=told: persistence.progress == told)
            engine.let.release()
        await restoring
        assert persistence.progress == ""
    finally:
        persistence.close()


@pytest.mark.parametrize("trouble", ["", "its file is gone", "it ended the process before"])
async def test_a_version_to_fall_back_to_is_loaded_again(
    tmp_path: Path, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    for start in ("first", "second"):
        store = ModelStore(tmp_path / "models")
        persistence = ModelPersistence(ServerConfig(data_dir=tmp_path, trial=False), store)
        persistence.open()
        engine = Engine(store, journal=persistence.state, open_session=Opener(FakeSession(), FakeSession()))
        await engine.start()
        try:
            assert await persistence.restore(engine) == (set() if start == "first" else {"m"})
            if start == "first":
                await engine.load("m", models.add_constant(1.0).SerializeToString(), {"fallback": "previous"})
                await engine.load("m", models.add_constant(2.0).SerializeToString())
            await persistence.tidy_start(engine)
            states = {each.version: each.state for each in engine.statuses("m") if each.state is not ModelState.GONE}
            if start == "first" or not trouble:
                assert states == {"1": ModelState.READY, "2": ModelState.READY} and told(engine) == "1"
            elif trouble == "its file is gone":
                assert states == {"2": ModelState.READY} and not told(engine)
                assert "model m has no version to fall back to" in caplog.text
            else:
                assert states == {"1": ModelState.FAILED, "2": ModelState.READY} and not told(engine)
            kept = next((each for each in engine.statuses("m") if each.version == "1"), None)
        finally:
            await engine.close()
            if start == "first" and trouble and kept is not None:
                if trouble == "its file is gone":
                    shutil.rmtree(store.root / kept.digest)
                else:
                    persistence.state.attempting(DesiredModel("m", "1", kept.digest, kept.config))
                    assert persistence.state._connection is not None
                    persistence.state._connection.close()  # it ends here, and tidies nothing up
                    persistence.state._connection = None
            persistence.close()


def told(engine: Engine) -> str:
    circuit = engine.status("m").circuit
    return circuit.fallback if circuit is not None else ""

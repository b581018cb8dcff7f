"""How far a restore has come, as it is told while it lasts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from tests.helpers.waiting import until_async
from workbench.config import ModelConfig, ServerConfig
from workbench.core.model import DesiredModel
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

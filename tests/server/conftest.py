from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests import models
from tests.engine.fakes import FakeSession, Opener
from tests.server.driver import HOST, Driver
from workbench.config import Limits, ServerConfig
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.engine import Engine
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore
from workbench.server.http.app import App, create_app
from workbench.server.persistence import ModelPersistence
from workbench.server.service import Service
from workbench.telemetry.metrics import Metrics

SIGNATURE = Signature((TensorSpec("x", "FP32", (FREE, 2)),), (TensorSpec("y", "FP32", (FREE, 2)),))

TOKEN = "a-token-of-the-tests-0123456789"


@dataclass
class House:
    """A whole service in this process, but for the socket; the runtime under it is a fake."""

    service: Service
    session: FakeSession
    app: App
    call: Driver
    """With the owner's token."""
    stranger: Driver
    """Without one."""
    onnx: bytes
    """A model whose signature is the fake's."""

    @property
    def stored(self) -> list[str]:
        """What lies in the store, but for the copy of the repository's model that every house serves."""
        root = self.service.store.root
        served = {each.digest for each in self.service.engine.statuses("digits")}
        return sorted(path.name for path in root.iterdir() if path.name not in served) if root.exists() else []


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as house:
        yield house


LIMITS = Limits(max_body_bytes=10_000, max_upload_bytes=20_000, max_in_flight=4)
"""Low enough to be met."""


@asynccontextmanager
async def open_house(
    tmp_path: Path,
    session: FakeSession | None = None,
    limits: Limits = LIMITS,
    *,
    beside: FakeSession | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    """`settings` are of the ServerConfig. `beside` is the session of all that is loaded later."""
    repository = tmp_path / "repository"
    for name in ("digits", "spare"):
        models.save(models.identity(shape=("batch", 2)), repository / name / "1" / "model.onnx")
    config = ServerConfig(data_dir=tmp_path / "data", limits=limits, trial=False, **settings)
    config.data_dir.mkdir()
    store = ModelStore(tmp_path / "data" / "models")
    # On a thread, so that a test may hold it.
    session = session or FakeSession(signature=SIGNATURE, runner_threads=1)
    metrics = Metrics()
    persistence = ModelPersistence(config, store)
    persistence.open()
    repositories = [LocalRepository(repository)]
    opener = Opener(session, beside or session)
    engine = Engine(store, repositories=repositories, observer=metrics, journal=persistence.state, open_session=opener)
    metrics.watch(engine.statuses, store=lambda: store.space.use, routes=engine.routes_counted)
    service = Service(engine, store, metrics, config, persistence, url=f"http://{HOST}", starting=False)
    app = create_app(service, TOKEN)
    await engine.start()
    await engine.load("digits")
    onnx = models.identity(shape=("batch", 2)).SerializeToString()
    try:
        yield House(service, session, app, Driver(app, TOKEN), Driver(app), onnx)
    finally:
        session.gate.set()
        await service.rollouts.close()
        await engine.close()
        persistence.close()


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner

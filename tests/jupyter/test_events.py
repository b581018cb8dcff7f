"""What happens is emitted once, with the schemas that lie beside it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from jupyter_events import EventLogger
from tornado.httpclient import HTTPClientError

from tests.jupyter.conftest import Ask
from tests.models import add_constant
from workbench.client.shared_service import SharedService
from workbench.jupyter.events import MODEL, SCHEMAS, SERVICE, Events
from workbench.jupyter.extension import InferWorkbench
from workbench.live.view import ServiceView
from workbench.rendezvous.service_record import ServiceState

BEGAN = 1000.0
LONG_S = 30.0


class Emitted:
    """What was emitted, in words; each one fits its schema."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def emit(self, *, schema_id: str, data: dict[str, Any]) -> None:
        jsonschema.validate(data, yaml.safe_load(SCHEMAS[schema_id].read_text()))
        self.said.append(f"{data.get('name', 'service')} {data.get('version', '')} {data['event']}".replace("  ", " "))


@pytest.fixture
def emitted() -> Emitted:
    return Emitted()


@pytest.fixture
def events(emitted: Emitted) -> Events:
    return Events(emitted, logging.getLogger("events"), clock=lambda: BEGAN)


def ready(pid: int, since: float = BEGAN + 1) -> ServiceView:
    return ServiceView(ServiceState.READY, since=since, pid=pid)


def status(name: str, version: str = "1", state: str = "Ready", loaded_at: float = BEGAN + 1) -> dict[str, Any]:
    return {"name": name, "version": version, "state": state, "loaded_at": loaded_at, "reason": "", "device": "cpu"}


def test_a_service_starts_is_restarted_and_stops(events: Events, emitted: Emitted) -> None:
    for view in (
        ServiceView(ServiceState.STARTING),
        ready(7),
        ready(7),  # with another note, say
        ServiceView(ServiceState.RESTARTING, "it was killed", pid=None),
        ServiceView(ServiceState.RESTARTING, "it was killed", pid=8),
        ready(8),
        ServiceView(ServiceState.STOPPING),
        ServiceView(ServiceState.STOPPED, "it was told to stop"),
        ServiceView(ServiceState.STOPPED, "it was told to stop", since=5.0),
        ready(9),
        ServiceView(ServiceState.RESTARTING),
        ServiceView(ServiceState.FAILED, "3 starts in a row failed"),
    ):
        events.service_changed(view)
    assert emitted.said == [
        *("service started", "service restarted", "service stopped"),
        *("service started", "service failed"),
    ]


def test_a_service_and_models_that_were_there_before_are_no_events(events: Events, emitted: Emitted) -> None:
    events.service_changed(ready(7, since=BEGAN - 60))
    events.models_changed([status("old", loaded_at=BEGAN - 50)])
    events.models_changed([status("old", loaded_at=BEGAN - 50), status("new")])
    assert emitted.said == ["new 1 loaded"]


def test_models_are_loaded_replaced_reloaded_unloaded_and_fail(events: Events, emitted: Emitted) -> None:
    events.service_changed(ready(7))
    emitted.said.clear()
    for models in (
        [status("m", state="Loading")],
        [status("m")],
        [status("m"), status("m", "2", "Warming")],
        [status("m", state="Draining"), status("m", "2")],
        [status("m", "2")],
        [status("m", "2", loaded_at=BEGAN + 9)],  # with other settings
        [status("m", "2", loaded_at=BEGAN + 9), status("junk", state="Failed")],
        [status("m", "2", "Failed"), status("junk", state="Failed")],
        [status("junk", state="Failed")],
        [],
    ):
        events.models_changed(models)
    assert emitted.said == [
        "m 1 loaded",
        "m 2 loaded",
        "m 1 unloaded",
        "m 2 loaded",
        "junk 1 failed",
        "m 2 failed",
    ]


def test_models_that_end_with_their_service_are_not_told_one_by_one(events: Events, emitted: Emitted) -> None:
    events.service_changed(ready(7))
    events.models_changed([status("m")])
    events.service_changed(ServiceView(ServiceState.STOPPING))
    events.models_changed([])
    events.service_changed(ServiceView(ServiceState.STOPPED))
    events.service_changed(ready(8))
    events.models_changed([status("m", loaded_at=BEGAN + 5)])
    assert emitted.said == ["service started", "m 1 loaded", "service stopped", "service started", "m 1 loaded"]


def test_who_cannot_take_an_event_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def emit(self, *, schema_id: str, data: dict[str, Any]) -> None:
            raise OSError("the disk is full")

    events = Events(Broken(), logging.getLogger("events"), clock=lambda: BEGAN)
    events.service_changed(ready(7))
    assert "could not be emitted" in caplog.text


async def test_the_jupyter_server_emits_what_happens_to_a_real_service(
    ask: Ask, extension: InferWorkbench, workplace: SharedService, jp_root_dir: Path
) -> None:
    assert extension.serverapp is not None
    told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def hear(logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        told.put_nowait((schema_id, data["event"]))

    for schema in (SERVICE, MODEL):
        extension.serverapp.event_logger.add_listener(schema_id=schema, listener=hear)

    async def next_ones(count: int) -> list[tuple[str, str]]:
        async with asyncio.timeout(LONG_S):
            return [await told.get() for _ in range(count)]

    (jp_root_dir / "plus.onnx").write_bytes(add_constant(1.0).SerializeToString())
    (jp_root_dir / "junk.onnx").write_bytes(b"this is no model")
    await ask("models", "plus", "load", body={"path": "plus.onnx"})
    assert await next_ones(2) == [(SERVICE, "started"), (MODEL, "loaded")]
    with pytest.raises(HTTPClientError):  # whoever asked has the error, and nothing is listed
        await ask("models", "junk", "load", body={"path": "junk.onnx"})

    record = workplace.record()
    assert record is not None
    assert record.worker is not None
    os.kill(record.worker.pid, signal.SIGKILL)
    assert set(await next_ones(2)) == {(SERVICE, "restarted"), (MODEL, "loaded")}  # it answers before it is Ready
    await ask("models", "plus", "unload", body={})
    assert await next_ones(1) == [(MODEL, "unloaded")]
    await ask("stop", body={})
    assert await next_ones(1) == [(SERVICE, "stopped")]

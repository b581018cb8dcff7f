"""A Jupyter server as a user starts it, in a process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.jupyter_process import JupyterProcess, jupyter_process
from tests.helpers.waiting import until
from workbench.client.shared_service import SharedService
from workbench.rendezvous.leases import holders


@pytest.fixture
def server(workplace: SharedService, tmp_path: Path) -> Iterator[JupyterProcess]:
    with jupyter_process(tmp_path) as server:
        yield server


def test_it_serves_a_model_loads_no_runtime_and_ends_well(server: JupyterProcess, workplace: SharedService) -> None:
    assert server.ask("infer-workbench/api/status")["service"]["state"] == "Stopped"
    loaded = server.ask("infer-workbench/api/models/plus/load", {"path": "plus.onnx"})
    assert loaded["model"]["state"] == "Ready"
    pid = server.process.pid
    assert [holder.pid for holder in holders(workplace.rendezvous.leases)] == [pid]
    mapped = Path(f"/proc/{pid}/maps").read_text()
    assert "tornado" in mapped
    for runtime in ("onnxruntime", "onnx_cpp", "skl2onnx", "sklearn"):
        assert runtime not in mapped

    record = workplace.record()
    assert record is not None
    assert record.worker is not None
    killed = record.worker.pid
    os.kill(killed, signal.SIGKILL)

    def is_back() -> bool:
        service = server.ask("infer-workbench/api/status")["service"]
        return service["state"] == "Ready" and service["pid"] != killed

    until(is_back)
    assert [model["state"] for model in server.ask("infer-workbench/api/models")] == ["Ready"]

    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert holders(workplace.rendezvous.leases) == []
    said = server.log.read_text()
    assert "Traceback" not in said
    assert record.token not in said
    ours = [line for line in said.splitlines() if "InferWorkbench" in line]
    assert 3 <= len(ours) <= 12, ours

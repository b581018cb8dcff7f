"""A Jupyter server as a user starts it, in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.waiting import until
from tests.models import add_constant
from workbench.client.shared_service import SharedService
from workbench.rendezvous.leases import holders

TOKEN = "a-token-of-the-tests"


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        method = "GET" if body is None else "POST"
        sent = None if body is None else json.dumps(body)
        connection.request(method, f"/hub/user/bob/{path}", sent, {"Authorization": f"token {TOKEN}"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status == 200, answer
        return answer

    def listens(self) -> bool:
        try:
            self.ask("api/status")
        except OSError:
            assert self.process.poll() is None, self.log.read_text()
            return False
        return True


@pytest.fixture
def server(workplace: SharedService, tmp_path: Path) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    root = tmp_path / "root"
    root.mkdir()
    (root / "plus.onnx").write_bytes(add_constant(1.0).SerializeToString())
    log = tmp_path / "jupyter.log"
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--ServerApp.base_url=/hub/user/bob", f"--IdentityProvider.token={TOKEN}"]
    command += [f"--ServerApp.root_dir={root}", "--ServerApp.port_retries=0"]
    command += ["--ServerApp.jpserver_extensions=workbench.jupyter=True"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=tmp_path)
    try:
        server = Server(process, port, log)
        until(server.listens)
        yield server
    finally:
        process.kill()
        process.wait()


def test_it_serves_a_model_loads_no_runtime_and_ends_well(server: Server, workplace: SharedService) -> None:
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

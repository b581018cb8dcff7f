"""A Jupyter server as a user starts it, in a process of its own."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.waiting import until
from tests.models import add_constant

TOKEN = "a-token-of-the-tests"
BASE_URL = "/hub/user/bob/"


@dataclass
class JupyterProcess:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{BASE_URL}"

    def ask(self, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        method = "GET" if body is None else "POST"
        sent = None if body is None else json.dumps(body)
        connection.request(method, f"{BASE_URL}{path}", sent, {"Authorization": f"token {TOKEN}"})
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


@contextmanager
def jupyter_process(folder: Path, *flags: str) -> Iterator[JupyterProcess]:
    """It listens, on loopback below a base URL, and its files are `folder`/root with the model plus.onnx."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    root = folder / "root"
    root.mkdir()
    (root / "plus.onnx").write_bytes(add_constant(1.0).SerializeToString())
    log = folder / "jupyter.log"
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--port={port}"]
    command += [f"--ServerApp.base_url={BASE_URL}", f"--IdentityProvider.token={TOKEN}"]
    command += [f"--ServerApp.root_dir={root}", "--ServerApp.port_retries=0"]
    command += ["--ServerApp.jpserver_extensions=workbench.jupyter=True", *flags]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=folder)
    try:
        server = JupyterProcess(process, port, log)
        until(server.listens)
        yield server
    finally:
        process.kill()
        process.wait()

"""A Jupyter server with the service behind it, as a user starts both, and a model that it serves."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import accepts, free_port, running
from benchmarks.serving import START_S

TOKEN = "a-token-of-the-benchmarks"

FOLDERS = (
    *("HOME", "IPYTHONDIR", "INFER_WORKBENCH_DATA_DIR", "INFER_WORKBENCH_RUNTIME_DIR"),
    *("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"),
)
"""Variables that name a folder of the user's."""


@dataclass(frozen=True, slots=True)
class Jupyter:
    """One running, and where its service listens."""

    port: int
    service_port: int
    service_token: str
    """Of the service's owner."""

    def ask(self, path: str, body: object = None) -> Any:
        """The JSON that a route of this server answers with; a POST where there is a body."""
        return ask(self.port, path, body)


@contextlib.contextmanager
def jupyter(folder: Path, name: str, model: Path) -> Iterator[Jupyter]:
    """Serves `model` as `name`. All that both keep lies below `folder`."""
    root, port = folder / "root", free_port()
    root.mkdir(parents=True)
    (root / "model.onnx").write_bytes(model.read_bytes())
    environment = {**os.environ, **{each: str(folder / each.lower()) for each in FOLDERS}}
    for each in FOLDERS:
        (folder / each.lower()).mkdir(mode=0o700)
    line = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--port={port}"]
    line += [f"--ServerApp.root_dir={root}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    line += ["--ServerApp.jpserver_extensions=workbench.jupyter=True"]
    with running(line, folder / "jupyter.log", environment) as started:
        started.wait_until(lambda: accepts(port), START_S)
        ask(port, f"infer-workbench/api/models/{name}/load", {"path": "model.onnx"})
        try:
            (published,) = (folder / "infer_workbench_runtime_dir").rglob("service.json")
            service = json.loads(published.read_text())
            yield Jupyter(port, int(service["url"].rpartition(":")[2]), service["token"])
        finally:
            ask(port, "infer-workbench/api/stop", {})


def ask(port: int, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", data, headers)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.load(answer)

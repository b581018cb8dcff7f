"""A real Jupyter server in a process of its own, with folders of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workbench.api import Workbench, connect
from workbench.client.shared_service import SharedService
from workbench.rendezvous.folder import rendezvous
from workbench.rendezvous.service_record import ServiceRecord

START_S = 180.0
TOKEN = "a-token-of-the-tests"

_QUIET = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
"""No pop-up asks for news, and nothing is looked up outside."""


class Jupyter:
    """`jupyter lab` (or `notebook`) on `root`. Its service lives in folders below `home`, and outlives it."""

    def __init__(self, home: Path, root: Path, *, application: str = "lab", base_url: str = "/") -> None:
        self.home = home
        self.root = root
        self.application = application
        self.base_url = base_url
        self.settings = {name: dict(values) for name, values in _QUIET.items()}
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None
        self._told_to_end = False

    @property
    def environment(self) -> dict[str, str]:
        folders = {
            "HOME": "home",
            "IPYTHONDIR": "ipython",
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "INFER_WORKBENCH_RUNTIME_DIR": "service runtime",
            "INFER_WORKBENCH_DATA_DIR": "service data",
        }
        mine = {name: str(self.home / folder) for name, folder in folders.items()}
        return {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID"} | mine

    def start(self) -> Jupyter:
        environment = self.environment
        for folder in ("home", "runtime"):
            (self.home / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        for plugin, values in self.settings.items():
            path = self.home / "settings" / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        port = urlsplit(self.url).port or 0  # the one it had, where it is started again
        command = [sys.executable, "-m", "jupyter", self.application, "--no-browser", "--allow-root", f"--port={port}"]
        command += [f"--ServerApp.root_dir={self.root}", f"--ServerApp.base_url={self.base_url}"]
        command += [f"--IdentityProvider.token={TOKEN}"]
        with (self.home / "jupyter.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.root
            )
        found = self.home / "runtime" / f"jpserver-{self.process.pid}.json"
        until = time.monotonic() + START_S
        while not (url := _listening(found)):
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.05)
        self.url = url
        return self

    def stop(self, limit_s: float = 30.0) -> None:
        """Jupyter ends, its kernels with it; the service stays."""
        if self.process is not None:
            if not self._told_to_end:
                self.process.send_signal(signal.SIGTERM)
            self._told_to_end = False
            try:
                self.process.wait(limit_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)
            self.process = None

    def end(self) -> None:
        """Jupyter and its service end, both at once. One that waits for a kernel which just starts is killed."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self._told_to_end = True
        SharedService(rendezvous(self.environment), self.home).stop()
        self.stop(5.0)

    def infer(self, *words: str) -> str:
        """`jupyter-infer WORDS` on the service of this Jupyter."""
        command = [sys.executable, "-m", "workbench", *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def api(self, verb: str, body: dict[str, Any] | None = None) -> Any:
        """What the server extension answers: GET, or POST where there is a body."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(f"{self.url}infer-workbench/api/{verb}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def record(self) -> ServiceRecord:
        """What the service, which runs, has published of itself."""
        record = rendezvous(self.environment).read()
        assert record is not None
        return record

    @contextmanager
    def served(self) -> Iterator[Workbench]:
        """Its service, as a program beside it sees it; started where it does not run."""
        self.api("start", {})
        record = self.record()
        with connect(record.url, record.token) as wb:
            yield wb

    def log(self) -> str:
        return (self.home / "jupyter.log").read_text(errors="replace")


def _listening(published: Path) -> str:
    """The URL that a Jupyter has published, once it listens there, which begins a little later; empty before."""
    try:
        url: str = json.loads(published.read_text())["url"]
        address = urlsplit(url)
        socket.create_connection((address.hostname, address.port or 80), timeout=1).close()
    except (OSError, ValueError):  # not there or not listened at; written in part
        return ""
    return url

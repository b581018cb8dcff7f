"""A service of this process's own: started as a child, ended with it.

The child is told to end when its standard input does, which the kernel closes for us however this process ends,
`kill -9` included. It runs in a temporary folder, with the environment that this process was started with: what a
notebook has since set for itself (PYTHONPATH, thread counts, visible devices) is not the service's business.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path

from workbench.client.environment import service_environment
from workbench.client.shared_service import Address
from workbench.errors import Unavailable

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
"""How long requests under way may take to finish at the end; then the child is killed."""

LAST_LINES = 5


class OwnService:
    """A service started by this process. `start()` returns once it takes requests; `stop()` ends it."""

    def __init__(self, arguments: tuple[str, ...] = ()) -> None:
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._owner = os.getpid()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> Address:
        """Start it and wait until it is ready. Raises Unavailable with its last words when it is not to be had."""
        self._folder = Path(tempfile.mkdtemp(prefix="infer-workbench-"))
        ready = self._folder / "ready.json"
        command = [sys.executable, "-m", "workbench", "serve", "--http-port", "0", "--until-eof"]
        command += ["--data-dir", str(self._folder / "data"), "--ready-file", str(ready), *self._arguments]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=service_environment(),
                start_new_session=True,  # Ctrl-C in a terminal is for the notebook, not for its service
            )
        _services.add(self)
        try:
            return self._address(ready)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it: what is under way may finish for some seconds. A second call, or one in a fork, does nothing."""
        process, self._process = self._process, None
        if process is None or os.getpid() != self._owner:
            return
        if process.stdin is not None:
            process.stdin.close()
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def last_words(self) -> str:
        """Why it ended, with its last log lines; empty while it runs."""
        if self._process is None:
            return "it was stopped; workbench.connect() starts another"
        code = self._process.poll()
        if code is None:
            return ""
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
        words = " | ".join(self._last_lines())
        return f"the service {ended}; workbench.connect() starts another" + (
            f". Its log ends: {words}" if words else ""
        )

    @property
    def _output(self) -> Path:
        assert self._folder is not None
        return self._folder / "service.log"

    def _last_lines(self) -> list[str]:
        try:
            lines = self._output.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        return [line.strip()[:200] for line in lines if line.strip()][-LAST_LINES:]

    def _address(self, ready: Path) -> Address:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready.exists():  # written whole and renamed, so what exists can be read
            if self._process.poll() is not None:
                words = " | ".join(self._last_lines()) or f"exit status {self._process.returncode}"
                raise Unavailable(f"the service did not start: {words}")
            if time.monotonic() > deadline:
                words = " | ".join(self._last_lines()) or "it said nothing"
                raise Unavailable(f"the service was not ready after {START_TIMEOUT_S:.0f} s: {words}")
            time.sleep(0.02)
        said = json.loads(ready.read_text(encoding="utf-8"))
        token_file = said.get("token_file")
        token = Path(token_file).read_text(encoding="utf-8").strip() if token_file else None
        return Address(said["url"], token, token_file or "")

    def _let_go(self) -> None:
        """In a forked child: the parent's pipe must not be kept open here, or its end would go unnoticed."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.returncode = 0  # not this process's child: never waited for
        self._process = None


_services: weakref.WeakSet[OwnService] = weakref.WeakSet()
_own: OwnService | None = None
_own_address: Address | None = None
_lock = threading.Lock()


def own_service() -> tuple[OwnService, Address]:
    """This process's one service: the running one, or a new one. A fork starts one of its own."""
    global _own, _own_address
    with _lock:
        if _own is None or _own_address is None or not _own.running:
            if _own is not None:
                _own.stop()
            service = OwnService()
            _own_address = service.start()
            _own = service
            atexit.register(service.stop)
        return _own, _own_address


def _after_fork() -> None:
    global _own, _own_address, _lock
    _lock = threading.Lock()
    _own = _own_address = None
    for service in list(_services):
        service._let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

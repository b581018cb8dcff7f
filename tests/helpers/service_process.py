"""The real service in a process of its own, on a free port."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

import psutil

from tests.helpers.waiting import until

START_S = 120.0


class Serve:
    """`python -m workbench serve` with a free port, a data folder and a ready file in `folder`. End it with `with`.

    `nofile`: how many files it may open, as `ulimit -n` says it; None: as many as this process.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        nofile: int | None = None,
    ) -> None:
        self.data_dir = folder / "data"
        self.ready_file = folder / "ready.json"
        command = [sys.executable, "-m", "workbench", "serve", "--http-port", "0"]
        command += ["--data-dir", str(self.data_dir), "--ready-file", str(self.ready_file), *arguments]
        if nofile is not None:
            command = ["sh", "-c", f'ulimit -n {nofile} && exec "$@"', "sh", *command]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, **(environment or {})},
        )
        self.seen: list[str] = []
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def until(self, text: str) -> str:
        """The first further line on stderr that holds `text`."""
        while (line := self._lines.get(timeout=START_S)) is not None:
            self.seen.append(line)
            if text in line:
                return line
        raise AssertionError(f"the service ended without saying {text!r}:\n" + "\n".join(self.seen))

    def said(self) -> list[str]:
        """Further lines on stderr, as far as they have come."""
        lines: list[str] = []
        while not self._lines.empty():
            if (line := self._lines.get()) is None:
                self._lines.put(None)  # for whoever waits for the end
                break
            lines.append(line)
        self.seen += lines
        return lines

    def ready(self) -> Self:
        self.until("workbench.serve: ready")
        return self

    def ended(self) -> int:
        """Its exit status; `seen` then holds all that it said."""
        status = self.process.wait(START_S)
        while (line := self._lines.get(timeout=START_S)) is not None:
            self.seen.append(line)
        return status

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    @property
    def published(self) -> dict[str, Any]:
        """What the ready file says."""
        found: dict[str, Any] = json.loads(self.ready_file.read_text(encoding="utf-8"))
        return found

    @property
    def address(self) -> str:
        """host:port"""
        return str(self.published["url"]).partition("://")[2]

    @property
    def grpc(self) -> str:
        """host:port"""
        return str(self.published["grpc"])

    @property
    def token(self) -> str:
        return Path(self.published["token_file"]).read_text(encoding="utf-8").strip()

    def call(
        self, method: str, path: str, body: bytes | Mapping[str, Any] | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """Status and body of one call with the token."""
        return self.call_at(self.address, method, path, body, **{"Authorization": f"Bearer {self.token}", **headers})

    def call_at(
        self, address: str, method: str, path: str, body: bytes | Mapping[str, Any] | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """The same at an address that no ready file names, and without a token."""
        sent: dict[str, str] = {}
        if isinstance(body, Mapping):
            body = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = self._connection(address)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _connection(self, address: str) -> http.client.HTTPConnection:
        try:
            ca_file = self.published["ca_file"]
        except FileNotFoundError:  # no service is ready
            ca_file = None
        if ca_file is None:
            return http.client.HTTPConnection(address, timeout=30)
        return http.client.HTTPSConnection(address, timeout=30, context=ssl.create_default_context(cafile=ca_file))

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


def worker_of(serve: Serve) -> psutil.Process:
    """The one child of the keeper."""

    def look() -> psutil.Process | None:
        children = psutil.Process(serve.process.pid).children()
        return children[0] if len(children) == 1 else None

    return until(look)

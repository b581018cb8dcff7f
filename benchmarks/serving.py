"""The two servers that every comparison has: the real service, as a user starts it, and a bare echo."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import Running, accepts, free_port, running

START_S = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """A running one, with everything on: the token gate, validation, batching, telemetry."""

    url: str
    token: str
    running: Running

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@contextlib.contextmanager
def service(
    folder: Path,
    models: Mapping[str, Path],
    command: tuple[str, ...] = ("workbench",),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """`command` is what follows `python -m`, up to the verb; `folder` keeps its data and its log; `environment` comes
    on top of ours."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    line = [sys.executable, "-m", *command, "serve", "--http-port", "0", "--ready-file", str(ready)]
    line += ["--data-dir", str(folder / "data")]
    for name, path in models.items():
        line += ["--load", f"{name}={path}"]
    with running(line, folder / "service.log", {**os.environ, **(environment or {})}) as started:
        started.wait_until(ready.exists, START_S)
        found = json.loads(ready.read_text())
        yield Service(found["url"], Path(found["token_file"]).read_text().strip(), started)


@contextlib.contextmanager
def echo(size: int, folder: Path) -> Iterator[str]:
    """The URL of a bare uvicorn application (uvloop, httptools) that answers with `size` bytes."""
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.bare", "echo", str(port), str(size)], folder / "echo.log") as run:
        run.wait_until(lambda: accepts(port), START_S)
        yield f"http://127.0.0.1:{port}/"


def bare_runs(path: Path, seconds: float) -> dict[str, Any]:
    """Bare `session.run` in a process of its own: rows/s of each setting for so many `seconds`, and the best."""
    command = [sys.executable, "-m", "benchmarks.bare", "runs", str(path), str(seconds)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(printed)
    return found

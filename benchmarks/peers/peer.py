"""What a peer is to the comparison: how it is installed, started, called and read."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.bodies import Row
from benchmarks.load import Body

SERVERS = Path(__file__).with_name("servers")

MAX_BATCH_SIZE = 32
"""Of every peer: as many as there are connections at most, and a power of two, as Ray's guide wants it."""


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """One way to run a peer."""

    delay: str
    """"advised" or "0"."""
    delay_s: float
    workers: int

    @property
    def threads(self) -> int:
        """ONNX Runtime's in one worker; 0 leaves it the choice: all cores."""
        return 0 if self.workers == 1 else max(1, len(os.sched_getaffinity(0)) // self.workers)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one start of a peer happens."""

    environment: Path
    """Its virtual environment."""
    scratch: Path
    port: int
    models: Mapping[str, Path]

    @property
    def bin(self) -> Path:
        return self.environment / "bin"


@dataclass(frozen=True, slots=True)
class Launch:
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """On top of ours."""


class Peer(Protocol):
    name: str
    key: str
    """Names it in results and on the command line, and its environment's folder."""
    requirements: tuple[str, ...]
    package: str
    """The distribution whose version counts."""
    delay_s: float
    """The advised delay."""
    settings: str
    """For readers: what is set, and who advises it."""
    encodings: tuple[str, ...]
    """"json", and "binary" where it takes a tensor's bytes over HTTP."""
    one_model: bool
    """Serves one model at a time, because its idle workers would take the cores of the others."""

    def launch(self, place: Place, variant: Variant) -> Launch: ...

    def path(self, model: str) -> str: ...

    def body(self, row: Row, encoding: str) -> Body: ...

    def read(self, answer: bytes, headers: Mapping[str, str], encoding: str) -> Row:
        """The output row; `headers` have names in lower case. Any exception says that it holds none."""
        ...


def variants(peer: Peer) -> list[Variant]:
    """With its advised delay and with none; one worker, and one a core, which is what the peers' guides advise."""
    cores = len(os.sched_getaffinity(0))
    counts = sorted({1, cores})
    return [Variant(name, s, count) for name, s in (("advised", peer.delay_s), ("0", 0.0)) for count in counts]


def given(place: Place, variant: Variant) -> dict[str, str]:
    """The environment in which the files in `servers` find what they are to serve."""
    settings = {
        "port": place.port,
        "models": {name: str(path) for name, path in place.models.items()},
        "delay_s": variant.delay_s,
        "workers": variant.workers,
        "threads": variant.threads,
        "max_batch_size": MAX_BATCH_SIZE,
        "scratch": str(place.scratch),
    }
    return {"BENCH_SETTINGS": json.dumps(settings)}


def python_of_ours() -> str:
    """The interpreter that environments are made with: the one below our own virtual environment."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")

"""Opens a model with the runtime that its file's ending names."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from workbench.config import ModelConfig
from workbench.core.ports import Session
from workbench.core.runtime import Runtime, imported, runtime_of_file, suffixes
from workbench.errors import ModelError


class Opener(Protocol):
    def __call__(self, path: Path, config: ModelConfig, *, instances: int) -> Session: ...


def open_session(path: Path, config: ModelConfig, *, instances: int) -> Session:
    """A session for the (validated) model at `path`, for `instances` threads; ModelError with the reason if none."""
    opener: Opener = imported(runtime_for(path).opener)
    return opener(path, config, instances=instances)


def runtime_for(path: Path) -> Runtime:
    """The runtime that serves a file of this name; ModelError where there is none."""
    runtime = runtime_of_file(path)
    if runtime is None:
        raise ModelError(
            f"a model file named *{path.suffix[:20]} cannot be served; the kinds are {', '.join(suffixes())}"
        )
    return runtime

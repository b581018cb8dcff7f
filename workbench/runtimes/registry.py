"""Platform name -> what opens it. A new runtime is one line here."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from workbench.config import ModelConfig
from workbench.core.ports import Session
from workbench.errors import ModelError


class Opener(Protocol):
    def __call__(self, path: Path, config: ModelConfig, *, instances: int) -> Session: ...


def open_session(path: Path, config: ModelConfig, *, instances: int) -> Session:
    """A session for the (validated) model at `path`, for `instances` threads; ModelError with the reason if none."""
    return OPENERS[platform_of(path)](path, config, instances=instances)


def platform_of(path: Path) -> str:
    """The platform that serves a file of this name."""
    try:
        return PLATFORMS[path.suffix.lower()]
    except KeyError:
        raise ModelError(
            f"a model file named *{path.suffix[:20]} cannot be served; the kinds are {', '.join(PLATFORMS)}"
        ) from None


def _open_onnx(path: Path, config: ModelConfig, *, instances: int) -> Session:
    # Loaded with the first model, since importing onnxruntime takes a while and memory.
    from workbench.runtimes.onnx import open_onnx

    return open_onnx(path, config, instances=instances)


PLATFORMS: dict[str, str] = {".onnx": "onnxruntime_onnx"}
"""File ending -> platform, as the protocol's metadata names it."""

OPENERS: dict[str, Opener] = {"onnxruntime_onnx": _open_onnx}

"""A second runtime, which only tests register: y = x @ weight + bias, from an .npz file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from workbench.config import ModelConfig
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.runtime import Runtime
from workbench.core.tensor import Array
from workbench.errors import ModelError
from workbench.repository.inspection import Inspection

LINEAR = Runtime(
    name="linear",
    title="NumPy",
    format="linear",
    platform="numpy_linear",
    model_file="model.npz",
    suffixes=(".npz",),
    opener="tests.runtimes.linear:open_linear",
    inspector="tests.runtimes.linear:inspect_linear",
)

_SITE = """
from tests.runtimes.linear import LINEAR
from workbench.core.runtime import register

register(LINEAR)
"""


class LinearSession:
    platform = LINEAR.platform
    device = "cpu"
    runner_threads = 0
    notes = ()

    def __init__(self, weight: Array, bias: Array) -> None:
        self._weight, self._bias = weight, bias
        takes, gives = weight.shape
        self.signature = Signature((TensorSpec("x", "FP32", (FREE, takes)),), (TensorSpec("y", "FP32", (FREE, gives)),))

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        return [inputs["x"] @ self._weight + self._bias for _ in outputs]

    def close(self) -> None:
        pass


def inspect_linear(path: Path) -> Inspection:
    _weights(path)
    return Inspection(hashlib.sha256(path.read_bytes()).hexdigest())


def open_linear(path: Path, config: ModelConfig, *, instances: int) -> LinearSession:
    return LinearSession(*_weights(path))


def _weights(path: Path) -> tuple[Array, Array]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["weight"], file["bias"]
    except Exception:
        raise ModelError("the file is no linear model") from None


def save_linear(path: Path, weight: list[list[float]], bias: list[float]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, weight=np.array(weight, np.float32), bias=np.array(bias, np.float32))
    return path


def register_in_children(folder: Path, setenv: Callable[[str, str], None]) -> None:
    """From now on, processes that are started with this environment serve linear models too."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_SITE)
    paths = [str(site), str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    setenv("PYTHONPATH", os.pathsep.join(paths))

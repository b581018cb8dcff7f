"""Bundles of functions for tests, from their text."""

from __future__ import annotations

import os
from pathlib import Path

from workbench.convert.python.python_function import interpreter
from workbench.functions.function_bundle import Block, FunctionSpec, ValueSpec, bundle

ROWS = (ValueSpec("x", "FP32", (-1, 2)),)
GIVES_ROWS = (ValueSpec("y", "FP32", (-1, 2)),)


def function_spec(
    inputs: tuple[ValueSpec, ...] = ROWS, outputs: tuple[ValueSpec, ...] = GIVES_ROWS, *, rows: bool = False
) -> FunctionSpec:
    steps = ({"import": "numpy", "as": "np"}, {"import": "os", "as": "os"}, {"block": 0})
    return FunctionSpec("predict", inputs, outputs, interpreter(), rows, (Block("the cell", 2),), steps)


def save_function(path: Path, text: str, spec: FunctionSpec | None = None) -> Path:
    """A bundle of `predict`, which may use np and os."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bundle(spec or function_spec(), [text], []))
    return path


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))

"""Imports torch's exporter once, for tests of many exports."""

from __future__ import annotations

import importlib


def import_exporter() -> None:
    """Each export's process begins as a copy of this one, and so with what this one has imported."""
    for name in ("torch._dynamo", "torch.onnx._internal.exporter._core", "torch.onnx._internal.exporter._torchlib.ops"):
        importlib.import_module(name)

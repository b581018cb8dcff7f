"""Converts torch modules, by torch.onnx.export."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

from workbench.convert.converters import Converted, exported_as
from workbench.convert.torch_example import first_layer_example, given_example, needs_example
from workbench.convert.torch_export import export_module, unwrapped
from workbench.errors import InvalidInput


def convert(source: object, sample: object | None) -> Converted:
    """The export of a module. `sample`: what it is called with; see `torch_example.given_example`."""
    if not isinstance(source, torch.nn.Module):
        raise InvalidInput(f"a {type(source).__name__} of torch is no model; load the module (nn.Module) itself")
    module: Any = unwrapped(source)
    kind = type(module).__name__
    example = first_layer_example(module) if sample is None else given_example(module, sample, kind)
    if example is None:
        raise needs_example(module, kind)
    export = export_module(module, example.args, example.kwargs, kind=kind)
    torch_version = version("torch").partition("+")[0]
    return Converted(
        export.model,
        exported_as(kind, "torch", torch_version, export.opset),
        export.checks,
        example.made_up,
        export.labels,
        kind,
        notes=export.notes,
        versions={"torch": torch_version, "onnxscript": version("onnxscript")},
        tolerance=export.tolerance,
    )

"""Converts torch modules, by torch.onnx.export."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

from workbench.convert.converters import Converted, exported_as
from workbench.convert.last_calls import last_call
from workbench.convert.torch_example import as_called, first_layer_example, given_example, needs_example
from workbench.convert.torch_export import export_module, unwrapped
from workbench.errors import InvalidInput


def convert(source: object, sample: object | None) -> Converted:
    """The export of a module. `sample`: what it is called with; see `torch_example.given_example`."""
    if not isinstance(source, torch.nn.Module):
        raise InvalidInput(f"a {type(source).__name__} of torch is no model; load the module (nn.Module) itself")
    module: Any = unwrapped(source)
    kind = type(module).__name__
    said = ""
    if sample is not None:
        example = given_example(module, sample, kind)
    elif (called := last_call(source) or last_call(module)) is not None:
        example, said = as_called(module, *called), "as last called here"
    elif (made_up := first_layer_example(module)) is not None:
        example = made_up
    else:
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
        notes=(*export.notes, said) if said else export.notes,
        versions={"torch": torch_version, "onnxscript": version("onnxscript")},
        tolerance=export.tolerance,
    )

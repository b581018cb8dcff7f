"""Converts torch modules, by torch.onnx.export: an nn.Module of any kind, lightning's too, and an ExportedProgram."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

from workbench.convert.conversion import expect_inputs
from workbench.convert.converters import Converted, exported_as
from workbench.convert.pytorch.last_calls import last_call
from workbench.convert.pytorch.torch_example import (
    Example,
    as_called,
    first_layer_example,
    given_example,
    needs_example,
)
from workbench.convert.pytorch.torch_export import ModuleExport, export_module, unwrapped
from workbench.convert.pytorch.torch_values import call_of
from workbench.core.model import FREE
from workbench.errors import InvalidInput


def convert(source: object, sample: object | None) -> Converted:
    """The export of a module. `sample`: what it is called with; see `torch_example.given_example`."""
    kind = type(source).__name__
    called, said = last_call(source), "as it was last called"
    if isinstance(source, torch.export.ExportedProgram):
        called, said = source.example_inputs, ""
        source = source.module()
    if not isinstance(source, torch.nn.Module):
        raise InvalidInput(
            f"{kind} is no model of torch: load the nn.Module itself, with its weights in it"
            + (", as net.load_state_dict(...) gives it" if isinstance(source, torch.Tensor) else "")
        )
    module: Any = unwrapped(source)
    kind = kind if kind == "ExportedProgram" else type(module).__name__
    _check_weights(module, kind)
    example = example_of(module, sample, called or last_call(module), kind, said)
    call = call_of(module, tuple(example.args), example.kwargs or {})
    expect_inputs({name: [FREE] * each.dim() for name, each in zip(call.names, call.tensors, strict=True)})
    return converted(export_module(module, example.args, example.kwargs, kind=kind), example, kind)


def _check_weights(module: Any, kind: str) -> None:
    """InvalidInput for lazy layers without weights: the first call makes them up, in the export others than here."""
    for name, part in module.named_modules():
        own = (*part.parameters(recurse=False), *part.buffers(recurse=False))
        if any(torch.nn.parameter.is_lazy(each) for each in own):
            layer = f"its layer {name!r} ({type(part).__name__})" if name else "it"
            raise InvalidInput(
                f"{kind} is not ready yet: {layer} has no weights; call it once, train it, and load it then"
            )


def example_of(
    module: Any, sample: object | None, called: Any, kind: str, said: str = "as it was last called"
) -> Example:
    """What the user gave, or else the last call, or what the module knows of itself. InvalidInput asks for one."""
    if sample is not None:
        return given_example(module, sample, kind)
    if called is not None:
        args, kwargs = called
        return as_called(module, args, kwargs, said)
    if (known := getattr(module, "example_input_array", None)) is not None:  # lightning's
        return given_example(module, known, kind)
    if (made_up := first_layer_example(module)) is not None:
        return made_up
    raise needs_example(module, kind)


def converted(export: ModuleExport, example: Example, kind: str, **versions: str) -> Converted:
    torch_version = version("torch").partition("+")[0]
    return Converted(
        export.model,
        exported_as(kind, "torch", torch_version, export.opset),
        export.checks,
        example.made_up,
        export.labels,
        kind,
        notes=tuple(filter(None, (*export.notes, example.said))),
        versions={"torch": torch_version, "onnxscript": version("onnxscript"), **versions},
        tolerance=export.tolerance,
    )

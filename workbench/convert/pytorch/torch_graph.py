"""Writes the ONNX file of a module, with those axes free at which the file answers as the module does."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.convert.pytorch.index_guard import refuse_negative_indices, translations
from workbench.convert.pytorch.mask_guard import hide_wholly
from workbench.convert.pytorch.torch_axes import Axis, fresh, resized
from workbench.convert.pytorch.torch_errors import specialised
from workbench.convert.pytorch.torch_values import Flat

OPSET = 20
"""What torch 2.13 writes without a conversion; ONNX Runtime reads it since 1.17."""

BESIDE = 1_800_000_000
"""Bytes of weights from which on they lie in a file beside the graph: one file holds 2 GB at most."""

SIZES = (1, 3, 7)
_CLOSE = 0.02
"""A graph of another branch, or one with a size baked into it, is off by more than this share of the largest value."""


@dataclass(frozen=True, slots=True)
class Saved:
    opset: int
    axes: list[Axis]
    """The free ones."""
    fixed: list[Axis]
    """Those that the module takes in other sizes, and its graph does not; each of the size that the graph takes."""


def save(
    path: Path,
    module: Flat,
    inputs: Sequence[str],
    outputs: Sequence[str],
    tensors: Sequence[torch.Tensor],
    axes: Sequence[Axis],
    say: Any,
) -> Saved:
    """Write `module` to `path`. An axis that the exporter found to have one size is tried once more without its name,
    which is less strict. Where the file then answers wrongly at other sizes, it is fixed at the one that the user gave.

    Raises what torch does.
    """
    free, fixed, unnamed = list(axes), list[Axis](), set[str]()
    older = any(isinstance(part, torch.jit.ScriptModule) for part in module.modules())
    while True:
        try:
            if older:
                opset = _traced(path, module, inputs, outputs, tensors, free)
            else:
                opset = _exported(path, module, inputs, outputs, tensors, free, unnamed)
        except Exception as error:
            places = specialised(error)
            wrong = {axis.name for axis in free if places & set(axis.places)}
            if wrong - unnamed:
                unnamed |= wrong
                continue
            if not wrong:
                raise
        else:
            say("comparing the file with the original at other sizes")
            wrong = _wrong(path, module, inputs, tensors, free)
            if not wrong:
                return Saved(opset, free, fixed)
        if not older:  # it keeps the lengths of some recurrent layers free that the other does not
            with contextlib.suppress(Exception):
                opset = _traced(path, module, inputs, outputs, tensors, free)
                if not _wrong(path, module, inputs, tensors, free):
                    return Saved(opset, free, fixed)
        say("exporting once more, with a fixed size")
        for axis in [axis for axis in free if axis.name in wrong]:
            free.remove(axis)
            fixed.append(replace(axis, size=axis.given or axis.size))
            tensors = resized(tensors, axis, fixed[-1].size)


def _exported(
    path: Path,
    module: Flat,
    inputs: Sequence[str],
    outputs: Sequence[str],
    tensors: Sequence[torch.Tensor],
    axes: Sequence[Axis],
    unnamed: set[str],
) -> int:
    shapes: list[dict[int, Any]] = [{} for _ in tensors]
    for axis in axes:
        for which, place in axis.places:
            shapes[which][place] = torch.export.Dim.AUTO if axis.name in unnamed else axis.name
    program: Any = torch.onnx.export(
        module,
        tuple(tensors),
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        dynamic_shapes={"tensors": tuple(shapes)},
        input_names=list(inputs),
        output_names=list(outputs),
        custom_translation_table=translations(),
    )
    _free_names(program.model)
    _name_axes(program.model, module, tensors, axes)
    refuse_negative_indices(program.model)
    hide_wholly(program.model)
    size = sum(each.numel() * each.element_size() for each in (*module.parameters(), *module.buffers()))
    program.save(path, external_data=size > BESIDE)
    return int(program.model.opset_imports[""])


def _traced(
    path: Path,
    module: Flat,
    inputs: Sequence[str],
    outputs: Sequence[str],
    tensors: Sequence[torch.Tensor],
    axes: Sequence[Axis],
) -> int:
    """By the older exporter, which alone takes TorchScript."""
    free: dict[str, dict[int, str]] = {}
    for axis in axes:
        for which, place in axis.places:
            free.setdefault(inputs[which], {})[place] = axis.name
    traced: Any = torch.jit.trace(module, tuple(tensors), check_trace=False)
    torch.onnx.export(
        traced,
        tuple(tensors),
        str(path),
        dynamo=False,
        opset_version=OPSET,
        dynamic_axes=free,
        input_names=list(inputs),
        output_names=list(outputs),
    )
    import onnx_ir

    model = onnx_ir.load(path)
    _name_axes(model, module, tensors, axes)
    onnx_ir.save(model, path)
    return int(model.opset_imports[""])


def _free_names(model: Any) -> None:
    """Have no value inside of the graph the name of an input or output.

    The exporter calls values after torch's functions, as "mean" or "relu", and outputs as it is told, as "mean" too.
    """
    ends = {value.name: value for value in (*model.graph.inputs, *model.graph.outputs)}
    taken = set(ends)
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if value.name in ends and value is not ends[value.name]:
                while value.name in taken:
                    value.name += "_inner"
                taken.add(value.name)


def _name_axes(model: Any, module: Flat, tensors: Sequence[torch.Tensor], axes: Sequence[Axis]) -> None:
    """Declare what is free, and nothing else, with the axes' names.

    An exporter may write a fixed size that it saw once, and names of its own. What an output's size depends on is
    found by running the module.
    """
    import onnx_ir

    for which, value in enumerate(model.graph.inputs):
        sizes: list[Any] = list(tensors[which].shape)
        for axis in axes:
            for of, place in axis.places:
                if of == which:
                    sizes[place] = axis.name
        value.shape = onnx_ir.Shape(sizes)
    before = [list(each.shape) for each in module(*tensors)]
    declared: list[list[Any]] = [list(each) for each in before]
    for axis in axes:
        more = [list(each.shape) for each in module(*resized(tensors, axis, axis.size + 1))]
        for which, (shape, other) in enumerate(zip(before, more, strict=True)):
            for place, (size, new) in enumerate(zip(shape, other, strict=True)):
                if size != new:
                    grows = (size, new) == (axis.size, axis.size + 1) and declared[which][place] == size
                    declared[which][place] = axis.name if grows else f"output_{which}_{place}"
    for which, value in enumerate(model.graph.outputs):
        known = list(value.shape) if value.shape is not None else []
        for place, size in enumerate(known):
            if isinstance(size, int) or len(known) != len(declared[which]):
                continue
            if isinstance(declared[which][place], int) and not _is_of(size, axes):
                declared[which][place] = str(size)  # it depends on the values, as of nonzero
        value.shape = onnx_ir.Shape(declared[which])


def _wrong(
    path: Path, module: Flat, inputs: Sequence[str], tensors: Sequence[torch.Tensor], axes: Sequence[Axis]
) -> set[str]:
    return {axis.name for axis in axes if not _right(path, module, inputs, tensors, axis)}


def _is_of(size: Any, axes: Sequence[Axis]) -> bool:
    """Whether a symbolic size is made of the named axes."""
    return any(axis.name in str(size) for axis in axes)


def _right(path: Path, module: Flat, inputs: Sequence[str], tensors: Sequence[torch.Tensor], axis: Axis) -> bool:
    """Whether the file answers as the module does at other sizes of `axis`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for size in SIZES:
        given = fresh(resized(tensors, axis, size), size)
        try:
            own = module(*given)
        except Exception:  # the module itself does not take it
            continue
        try:
            got = session.run(None, {name: each.numpy() for name, each in zip(inputs, given, strict=True)})
        except Exception:  # ONNX Runtime's, of several classes
            return False
        if not all(_close(one.numpy(), other) for one, other in zip(own, got, strict=True)):
            return False
    return True


def _close(own: Any, got: Any) -> bool:
    if own.shape != got.shape:
        return False
    if own.dtype.kind not in "f":
        return bool(np.mean(own != got) < 0.5) if own.size > 1 else True
    scale = float(np.abs(own[np.isfinite(own)]).max(initial=0.0)) or 1.0
    return bool(np.allclose(own, got, rtol=0.0, atol=_CLOSE * scale, equal_nan=True))

"""Draws the proof from what a walk of a model's graph finds about its outputs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from workbench.core.batch_proof import BatchProof, Verdict
from workbench.graph.batch_axis import (  # noqa: F401 - each puts its rules into the table
    rules_control,
    rules_cutting,
    rules_elementwise,
    rules_gather,
    rules_image,
    rules_layout,
    rules_matmul,
    rules_ml,
    rules_quantized,
    rules_random,
    rules_recurrent,
    rules_reduce,
    rules_sequence,
    rules_shapes,
    rules_transformer,
)
from workbench.graph.batch_axis.batch_values import Mixed, Result, Rows, Unknown, Value
from workbench.graph.batch_axis.graph_walker import GraphWalker, TooLarge
from workbench.graph.batch_axis.input_hints import input_hints
from workbench.graph.batch_axis.symbolic_sizes import BATCH, Number, named


def analyse(model: onnx.ModelProto, *, strict: bool = False) -> BatchProof:
    """What the model's graph proves about the rows of a batch that joins the first axis of each of its inputs.

    `strict` lets the exceptions of faulty rules through; without it, the node that met one is not understood.
    """
    try:
        found = _proof(model.graph, GraphWalker(model, strict=strict), by_name=False)
        if found.verdict == Verdict.UNKNOWN and not found.operators:
            # What holds only if axes with one name have one size, as ONNX has it and no runtime ensures.
            found = _proof(model.graph, GraphWalker(model, strict=strict), by_name=True)
        return found
    except TooLarge as error:
        return BatchProof(reason=str(error))
    except Exception as error:  # a malformed graph, which the runtime refuses in better words
        if strict:
            raise
        return BatchProof(reason=f"its graph cannot be followed ({type(error).__name__})")


def _proof(graph: onnx.GraphProto, walker: GraphWalker, *, by_name: bool) -> BatchProof:
    inputs = _inputs(graph, by_name)
    results = walker.graph(graph, inputs)
    # Others than tensors are not served.
    outputs = [
        (str(output.name), result)
        for output, result in zip(graph.output, results, strict=True)
        if output.type.WhichOneof("value") in (None, "tensor_type")
    ]
    rows = tuple(name for name, result in outputs if _is_row_output(result))
    hints = input_hints(graph, inputs, walker.found())
    for _, result in outputs:
        if isinstance(result, Mixed):
            return BatchProof(Verdict.DEPENDENT, result.reason, row_outputs=rows, hints=hints)
    for name, result in outputs:
        if isinstance(result, Value) and (reason := _misses_rows(result)):
            return BatchProof(Verdict.DEPENDENT, f"output {name!r} {reason}", row_outputs=rows, hints=hints)
    unknown = next((result.reason for _, result in outputs if isinstance(result, Unknown)), "")
    quantized = next((result.quantized for _, result in outputs if isinstance(result, Value) and result.quantized), "")
    if quantized:
        return BatchProof(Verdict.DEPENDENT, quantized, not unknown, rows, hints=hints)
    if outputs and len(rows) == len(outputs):
        return BatchProof(Verdict.INDEPENDENT, "each row is computed by itself", row_outputs=rows, hints=hints)
    left = next((name for name, _ in outputs if name not in rows), "")
    reason = unknown or f"output {left!r} may have several slices for a row"
    return BatchProof(Verdict.UNKNOWN, reason, False, rows, tuple(walker.without_rule), hints)


def _inputs(graph: onnx.GraphProto, by_name: bool) -> dict[str, Result]:
    constants = {tensor.name for tensor in graph.initializer} | {one.values.name for one in graph.sparse_initializer}
    return {given.name: _input(given, by_name) for given in graph.input if given.name not in constants}


def _input(given: onnx.ValueInfoProto, by_name: bool) -> Result:
    if not given.type.HasField("tensor_type"):
        return Unknown(f"input {given.name!r} is no tensor")
    tensor = given.type.tensor_type
    if not tensor.HasField("shape"):
        return Unknown(f"input {given.name!r} is of unknown rank")
    dims = tensor.shape.dim
    sizes: tuple[Number, ...] = tuple(
        # A negative one is taken for a free one by the runtime.
        dim.dim_value
        if dim.HasField("dim_value") and dim.dim_value >= 0
        else _free_size(given.name, axis, dims, by_name)
        for axis, dim in enumerate(dims)
    )
    if not sizes or isinstance(sizes[0], int):
        return Value(sizes)  # such a model is not batched
    return Value((BATCH, *sizes[1:]), Rows(0))


def _free_size(name: str, axis: int, dims: Sequence[onnx.TensorShapeProto.Dimension], by_name: bool) -> Number:
    given = dims[axis].dim_param
    tells = given.isidentifier() and given.lower() not in _NO_NAMES and sum(dim.dim_param == given for dim in dims) == 1
    return named(f"axis {given}" if by_name and tells else f"{name}[{axis}]")


_NO_NAMES = ("dim", "dynamic", "none", "unk", "unknown")
"""Names that say no more than that an axis is free."""


def _is_row_output(result: Result) -> bool:
    if not isinstance(result, Value) or result.sequence:
        return False
    return result.rows is not None and result.rows.axis == 0 and result.rows.plain


def _misses_rows(value: Value) -> str:
    """Why an output cannot be split into its rows; empty: it can, or that is not known."""
    if value.sized:
        return "tells how many rows are in the batch"
    if value.place is not None:
        return "tells each row its place in the batch"
    if value.rows is None:
        return "has no row for each row of the inputs"
    if value.rows.axis != 0:
        return f"has its rows along axis {value.rows.axis}, not along its first"
    if isinstance(value.rows.outer, int) and value.rows.outer > 1:
        return f"repeats the rows {value.rows.outer} times"
    if isinstance(value.rows.inner, int) and value.rows.inner > 1:
        return f"has {value.rows.inner} slices for each row"
    return ""

"""Rules of control flow: branches, loops and scans, whose graphs are walked in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import onnx

from workbench.graph.batch_axis import symbolic_sizes as sizes
from workbench.graph.batch_axis.batch_values import (
    FREE,
    Mixed,
    NotUnderstood,
    Result,
    Rows,
    RowsMix,
    Unknown,
    Value,
    axis_of,
    rank_of,
    shape_of,
    union,
)
from workbench.graph.batch_axis.operator_rules import Node, control_rule
from workbench.graph.batch_axis.symbolic_sizes import Number, fresh

_MOST_ROUNDS = 5


@control_rule("If")
def branch(node: Node, inputs: Sequence[Result | None]) -> Sequence[Result]:
    condition = inputs[0] if inputs else None
    stops = _decides(node, condition)
    if stops is not None:
        return [stops] * node.outputs
    then, other = _graph(node, "then_branch"), _graph(node, "else_branch")
    numbers = condition.numbers if isinstance(condition, Value) else None
    if numbers and not isinstance(numbers[0], sizes.Polynomial):
        return node.walk.subgraph(then if numbers[0] else other, [])
    found = zip(node.walk.subgraph(then, []), node.walk.subgraph(other, []), strict=True)
    return [union(one, two, node.label) for one, two in found]


def _graph(node: Node, name: str) -> onnx.GraphProto:
    found = node.attributes.get(name)
    if not isinstance(found, onnx.GraphProto):
        raise NotUnderstood(f"has no {name}")
    return found


def _decides(node: Node, condition: Result | None) -> Mixed | Unknown | None:
    """What follows where the run of the whole batch hangs on a value; None: nothing, it is the same for all batches."""
    if isinstance(condition, Mixed):
        return Mixed(f"{condition.reason}, and {node.label} decides by it for all rows")
    if isinstance(condition, Unknown):
        return condition
    if condition is not None and condition.rows is not None:
        raise RowsMix("decides for all rows by what rows say")
    if condition is not None and condition.sized:
        raise RowsMix("decides by the number of rows in the batch")
    if condition is not None and condition.quantized:
        return Mixed(f"{condition.quantized}, and {node.label} decides by it for all rows")
    return None


@control_rule("Loop")
def loop(node: Node, inputs: Sequence[Result | None]) -> Sequence[Result]:
    body = _graph(node, "body")
    times = inputs[0] if inputs else None
    if isinstance(times, Value) and times.sized:
        raise NotUnderstood("runs as often as there are rows in the batch")
    for one in inputs[:2]:
        stops = _decides(node, one)
        if stops is not None:
            return [stops] * node.outputs
    numbers = times.numbers if isinstance(times, Value) else None
    count = numbers[0] if numbers and len(body.output) == node.outputs + 1 else fresh()
    if len(inputs) < 2 or inputs[1] is not None or not sizes.is_count(count):
        count = fresh()  # which the body's condition may cut short
    first = [FREE if one is None else one for one in inputs[2:]]
    carried, outputs = _rounds(node, body, [Value(()), Value(())], first, [])
    stops = _decides(node, outputs[0])
    if stops is not None:
        return [stops] * node.outputs
    return [*carried, *(_stacked(one, 0, count) for one in outputs[1 + len(first) :])]


def _rounds(
    node: Node, body: onnx.GraphProto, before: Sequence[Result], first: Sequence[Result], after: Sequence[Result]
) -> tuple[list[Result], list[Result]]:
    """(what is carried from one round to the next, the body's outputs), as they are in every round."""
    carried, skip = list(first), len(before) // 2
    open_sizes: set[Number] = set()
    for _ in range(_MOST_ROUNDS):
        outputs = node.walk.subgraph(body, [*before, *carried, *after])
        found = outputs[skip : skip + len(first)]
        if len(found) < len(first):
            raise NotUnderstood("carries more than its graph gives")
        wider = [_widened(node, was, now, open_sizes) for was, now in zip(carried, found, strict=True)]
        if wider == carried:
            return carried, outputs
        carried = wider
    raise NotUnderstood("carries tensors that never come to rest")


def _widened(node: Node, was: Result, now: Result, open_sizes: set[Number]) -> Result:
    """What holds before and after a round. A size that changes is not known from then on."""
    if isinstance(was, Value) and isinstance(now, Value) and was.shape and now.shape:
        kept = [one if one in open_sizes else other for one, other in zip(was.shape, now.shape, strict=False)]
        if len(now.shape) == len(was.shape):
            now = dataclasses.replace(now, shape=tuple(kept))
    found = union(was, now, node.label)
    if isinstance(found, Value) and isinstance(was, Value) and found.shape is not None:
        open_sizes.update(one for one in found.shape if one not in (was.shape or ()))
    return found


def _stacked(result: Result, axis: int, count: Number) -> Result:
    """The outputs of all rounds along a new axis."""
    if not isinstance(result, Value):
        return Mixed(result.reason) if isinstance(result, Mixed) else result
    if result.shape is None or result.place is not None:
        return Unknown("a loop stacks what is not known") if result.rows else Value(sized=result.sized)
    axis = axis_of(axis, rank_of(result) + 1)
    rows = result.rows and result.rows.at(result.rows.axis + (result.rows.axis >= axis))
    shape = (*result.shape[:axis], count, *result.shape[axis:])
    return Value(shape, rows, sized=result.sized, quantized=result.quantized)


@control_rule("Scan")
def scan(node: Node, inputs: Sequence[Result | None]) -> Sequence[Result]:
    if node.opset < 9:
        raise NotUnderstood("scans as opset 8 did")
    body, scanned = _graph(node, "body"), node.whole("num_scan_inputs")
    first = [FREE if one is None else one for one in inputs[: len(inputs) - scanned]]
    axes = node.list("scan_input_axes") or (0,) * scanned
    slices: list[Result] = []
    count: Number = fresh()
    for result, given in zip(inputs[len(first) :], axes, strict=True):
        if not isinstance(result, Value):
            slices.append(Mixed(result.reason) if isinstance(result, Mixed) else result or FREE)
            continue
        axis = axis_of(given, rank_of(result))
        rows = result.rows
        if rows is not None and rows.axis == axis:
            if first:
                raise RowsMix("steps through the rows of the batch")
            raise NotUnderstood("steps through the rows of the batch, with nothing from one to the next")
        if result.place is not None:
            raise NotUnderstood("steps through places")
        count = shape_of(result)[axis]
        shape = tuple(size for at, size in enumerate(shape_of(result)) if at != axis)
        rows = rows and Rows(rows.axis - (rows.axis > axis), rows.outer, rows.inner)
        slices.append(Value(shape, rows, sized=result.sized, quantized=result.quantized))
    carried, outputs = _rounds(node, body, [], first, slices)
    results = outputs[len(first) :]
    onto = node.list("scan_output_axes") or (0,) * len(results)
    return [*carried, *(_stacked(one, axis, count) for one, axis in zip(results, onto, strict=True))]

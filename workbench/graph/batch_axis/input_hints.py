"""Finds what a trial of a model should put into its inputs: indices its tables have, values near its thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import onnx

from workbench.core.batch_proof import InputHint
from workbench.graph.batch_axis.batch_values import Result, Value

_KEEPS = frozenset(
    """
    Cast Expand Flatten Gather GatherElements GatherND Identity Reshape Slice Split Squeeze Tile Transpose Unsqueeze
    """.split()  # noqa: SIM905
)
"""Operators whose first output has elements of their first input only."""
_COMPARES = frozenset(["Clip", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min"])
_TABLES = {
    "Gather": (0, 1),
    "EmbedLayerNormalization": (2, 0),
    "GatherBlockQuantized": (0, 1),
    "TorchEmbedding": (0, 1),
}
"""Operator -> (the input that is a table, the input that indexes it)."""

_MOST_CONSTANTS = 16
_MOST_LINES = 8


class _Line(NamedTuple):
    """factor * input + offset."""

    input: str
    factor: float = 1.0
    offset: float = 0.0


def input_hints(graph: onnx.GraphProto, inputs: Iterable[str], values: Mapping[str, Result]) -> Mapping[str, InputHint]:
    """The hints by input, where there are any; `values` is what a walk found of each tensor."""
    lines: dict[str, list[_Line]] = {name: [_Line(name)] for name in inputs}
    below: dict[str, int] = {}
    constants: dict[str, dict[float, None]] = {}
    for node in graph.node:
        ours = [index for index, name in enumerate(node.input) if name in lines]
        if not ours:
            continue
        operator, first = node.op_type, lines.get(node.input[0])
        table, index = _TABLES.get(operator, (0, 0))
        if index in ours and index != table < len(node.input):
            size = _table_size(node, values.get(node.input[table]))
            for line in lines[node.input[index]] if size else ():
                if line == _Line(line.input):
                    below[line.input] = min(size, below.get(line.input, size))
        if operator in _COMPARES:
            others = [
                number for at, name in enumerate(node.input) if at not in ours for number in _numbers(values, name)
            ]
            for line in (line for at in ours for line in lines[node.input[at]]):
                known = constants.setdefault(line.input, {})
                for number in others[: _MOST_CONSTANTS - len(known)]:
                    known[(number - line.offset) / line.factor] = None
        if first and operator in _KEEPS:
            lines.update((name, first) for name in node.output)
        elif operator in ("Add", "Sub", "Mul", "Div") and len(ours) == 1 and len(node.input) == 2 and node.output:
            numbers = _numbers(values, node.input[1 - ours[0]])
            moved = [
                _moved(operator, line, number, ours[0]) for line in lines[node.input[ours[0]]] for number in numbers
            ]
            if kept := [line for line in dict.fromkeys(moved) if line is not None and line.factor]:
                lines[node.output[0]] = kept[:_MOST_LINES]
    return {
        name: InputHint(below.get(name), tuple(number for number in constants.get(name, ()) if math.isfinite(number)))
        for name in (below | constants)
        if name in below or constants[name]
    }


def _table_size(node: onnx.NodeProto, table: Result | None) -> int:
    """How many entries it has along the axis that is indexed; 0: not known."""
    axis = next((attribute.i for attribute in node.attribute if attribute.name in ("axis", "gather_axis")), 0)
    shape = table.shape if isinstance(table, Value) and table.rows is None else None
    size = shape[axis] if shape and -len(shape) <= axis < len(shape) else 0
    return size if isinstance(size, int) else 0


def _numbers(values: Mapping[str, Result], name: str) -> Sequence[float]:
    found = values.get(name)
    numbers = found.numbers if isinstance(found, Value) else None
    return [float(number) for number in dict.fromkeys(numbers or ()) if isinstance(number, int | float)]


def _moved(operator: str, line: _Line, number: float, place: int) -> _Line | None:
    if operator == "Add":
        return line._replace(offset=line.offset + number)
    if operator == "Sub" and place == 0:
        return line._replace(offset=line.offset - number)
    if operator == "Sub":
        return _Line(line.input, -line.factor, number - line.offset)
    if operator == "Div" and (place == 1 or not number):
        return None
    factor = 1 / number if operator == "Div" else number
    return _Line(line.input, line.factor * factor, line.offset * factor)

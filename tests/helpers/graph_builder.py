"""Builds an ONNX graph node by node, knowing each tensor's shape for several numbers of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeAlias

import numpy as np
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

ROWS = (1, 2, 3)
"""The numbers of rows for which shapes are known."""

Dim: TypeAlias = tuple[int, int, int]
"""The size of an axis for each number of ROWS."""

N: Dim = ROWS
FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def fixed(size: int) -> Dim:
    return (size, size, size)


def is_fixed(dim: Dim) -> bool:
    return len(set(dim)) == 1


def times(dims: Sequence[Dim]) -> Dim:
    found = np.prod(np.array(dims, int).reshape(-1, len(ROWS)), axis=0).tolist()
    return (found[0], found[1], found[2])


@dataclass(frozen=True)
class Value:
    """A tensor of the graph."""

    name: str
    kind: int
    dims: tuple[Dim, ...] | None
    """None: they depend on the data."""

    @property
    def rank(self) -> int:
        assert self.dims is not None
        return len(self.dims)


@dataclass
class GraphBuilder:
    """What was built so far. `random` makes every choice, so that Hypothesis can shrink them."""

    random: Random
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    functions: list[FunctionProto] = field(default_factory=list)
    _names: int = 0

    def name(self) -> str:
        self._names += 1
        return f"t{self._names}"

    def add(self, operator: str, inputs: Sequence[Value | str], outputs: int = 1, **attributes: Any) -> list[str]:
        """The names of the new node's outputs."""
        names = [self.name() for _ in range(outputs)]
        given = [each.name if isinstance(each, Value) else each for each in inputs]
        self.nodes.append(helper.make_node(operator, given, names, **attributes))
        return names

    def one(self, operator: str, inputs: Sequence[Value | str], **attributes: Any) -> str:
        return self.add(operator, inputs, **attributes)[0]

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        name = self.name()
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weights(self, *shape: int) -> str:
        """A constant of small multiples of 1/4, so that most sums of them are exact."""
        size = int(np.prod(shape))
        numbers = [self.random.randint(-4, 4) / 4 for _ in range(size)]
        return self.constant(np.array(numbers).reshape(shape), np.float32)

    def size_of(self, value: Value, axis: int) -> str:
        """The size of an axis as a tensor of shape [1], computed in one of the ways of exporters."""
        way = self.random.randrange(3)
        if way == 0:
            return self.one("Shape", [value], start=axis, end=axis + 1)
        shape = self.one("Shape", [value])
        if way == 1:
            scalar = self.one("Gather", [shape, self.constant(axis)], axis=0)
            return self.one("Unsqueeze", [scalar, self.constant([0])])
        return self.one("Slice", [shape, self.constant([axis]), self.constant([axis + 1]), self.constant([0])])

    def pick(self, wanted: Callable[[Value], bool]) -> Value | None:
        """One of the values that are wanted, a late one more often."""
        found = [value for value in self.values if value.dims is not None and wanted(value)]
        if not found:
            return None
        return found[-1] if self.random.random() < 0.5 else self.random.choice(found)

    def model(self, outputs: Sequence[Value]) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [_info(value) for value in self.inputs],
            [_info(value) for value in outputs],
            self.constants,
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=self.functions)

    def branch(self, name: str, operator: str, value: Value) -> tuple[GraphProto, str]:
        """A subgraph without inputs that applies a unary operator to an outer value."""
        out = f"{name}_{self.name()}"
        node = helper.make_node(operator, [value.name], [out])
        return helper.make_graph([node], name, [], [helper.make_empty_tensor_value_info(out)]), out


def _info(value: Value) -> Any:
    if value.dims is None:
        return helper.make_tensor_value_info(value.name, value.kind, None)
    dims = [dim[0] if is_fixed(dim) else "N" if dim == N else None for dim in value.dims]
    return helper.make_tensor_value_info(value.name, value.kind, dims)

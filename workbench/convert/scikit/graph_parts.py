"""An ONNX graph that is put together from steps: single nodes, and whole graphs that another exporter made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from workbench.core.tensor import Array

OPSETS = {"": 21, "ai.onnx.ml": 3}
IR_VERSION = 10


class GraphParts:
    """Nodes and constants in order of their making, so that the same steps give the same bytes each time."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []
        self._functions: dict[tuple[str, str], Any] = {}
        self._made = 0

    @property
    def outputs(self) -> list[str]:
        return [value.name for value in self._outputs]

    def input(self, name: str, element: int, shape: Sequence[int | None]) -> str:
        """`element` is an onnx.TensorProto data type; None in `shape` is a free axis."""
        self._inputs.append(helper.make_tensor_value_info(name, element, list(shape)))
        return name

    def constant(self, value: Array) -> str:
        """The name of a constant; an array of objects holds text."""
        name = self._next("constant")
        if value.dtype == object:
            texts = [str(each).encode() for each in value.reshape(-1)]
            self._constants.append(helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(np.dtype(object)),
                                                      value.shape, texts))  # fmt: skip
        else:
            self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(
        self, operator: str, inputs: Sequence[str], *, called: str = "", domain: str = "", **attributes: Any
    ) -> str:
        """The name of the one output. `called` is what errors of ONNX Runtime name the node; the next one that is
        called so gets a number, since ONNX Runtime refuses two nodes of one name."""
        name = self._next(operator)
        alike = sum(node.name.startswith(called) for node in self._nodes) if called else 0
        called = f"{called} ({alike + 1})" if alike else called or name
        made = helper.make_node(operator, list(inputs), [name], name=called, domain=domain, **attributes)
        made.attribute.sort(key=lambda attribute: attribute.name)
        self._nodes.append(made)
        return name

    def cast(self, tensor: str, element: int) -> str:
        return self.node("Cast", [tensor], to=element)

    def graft(self, model: ModelProto, inputs: Mapping[str, str]) -> list[tuple[str, ValueInfoProto]]:
        """Add the nodes of another model, whose inputs are these tensors; its outputs as (tensor, what it declares)."""
        prefix = self._next("step") + "/"
        names = dict(inputs)
        graph = model.graph
        _prefixed(graph, names, prefix)
        self._constants += graph.initializer
        self._nodes += graph.node
        self._functions |= {(function.domain, function.name): function for function in model.functions}
        return [(names[value.name], value) for value in graph.output]

    def output(self, tensor: str, name: str, like: ValueInfoProto) -> None:
        """Give `tensor` as the output `name`, of the type and shape of `like`."""
        self._nodes.append(helper.make_node("Identity", [tensor], [name], name=self._next("Identity")))
        value = ValueInfoProto()
        value.CopyFrom(like)
        value.name = name
        self._outputs.append(value)

    def model(self, name: str) -> ModelProto:
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._constants)
        versions = {**{domain: 1 for domain, _ in self._functions}, **OPSETS}
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in versions.items()],
            ir_version=IR_VERSION,
            producer_name="workbench",
            functions=list(self._functions.values()),
        )

    def _next(self, what: str) -> str:
        self._made += 1
        return f"{what}_{self._made}"


def _prefixed(graph: Any, names: dict[str, str], prefix: str) -> None:
    """Subtleness ahead: an inner graph sees the outer names, so it goes on with a copy of what they became."""
    for initializer in graph.initializer:
        initializer.name = names.setdefault(initializer.name, prefix + initializer.name)
    for node in graph.node:
        node.name = prefix + node.name
        node.input[:] = [names[name] if name else "" for name in node.input]
        for name in node.output:
            if name:
                names[name] = prefix + name
        node.output[:] = [names[name] if name else "" for name in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                inside = dict(names)
                for value in inner.input:
                    inside[value.name] = prefix + value.name
                    value.name = inside[value.name]
                _prefixed(inner, inside, prefix)
                for value in inner.output:
                    value.name = inside[value.name]

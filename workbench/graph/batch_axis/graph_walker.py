"""Walks a graph from its inputs to its outputs, and finds where the rows of a batch lie in each tensor on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import onnx

from workbench.graph.batch_axis.batch_values import FREE, Mixed, NotUnderstood, Result, RowsMix, Unknown, Value
from workbench.graph.batch_axis.constant_tensors import tensor_value
from workbench.graph.batch_axis.operator_rules import (
    ML,
    UNKNOWN_NUMBERS,
    Inputs,
    Node,
    Registered,
    control_rule_for,
    present,
    rule_for,
)
from workbench.graph.batch_axis.symbolic_sizes import equal, of_batch

MOST_STEPS = 100_000
"""Nodes visited, those of a subgraph or function as often as they are: a hostile file is given up in a few seconds."""
MOST_NESTED = 12
_LOOKS_A_STEP = 8
"""As many nodes can be looked at in the time that following one takes."""

_OWN_DOMAINS = ("", "ai.onnx")
_DETERMINISTIC = ("", ML, "com.microsoft")
"""Domains whose operators give the same for the same inputs, but for the random ones, which have rules."""


class TooLarge(Exception):
    """The graph is beyond what is walked at a load."""


class GraphWalker:
    """`strict` lets the exceptions of faulty rules through, for tests."""

    def __init__(self, model: onnx.ModelProto, *, strict: bool = False) -> None:
        self.without_rule: dict[str, None] = {}
        """The operators met that no rule covers, in order."""
        self._strict = strict
        self._opsets = {entry.domain: entry.version for entry in model.opset_import}
        self._functions = {(one.domain, one.name, one.overload): one for one in model.functions}
        self._scopes: list[dict[str, Result]] = []
        self._given: Mapping[str, onnx.AttributeProto] = {}
        self._depth = 0
        self._steps = 0

    def graph(self, graph: onnx.GraphProto, inputs: Mapping[str, Result]) -> list[Result]:
        """The results of the model's outputs. Raises TooLarge."""
        self._scopes = [dict(inputs)]
        self._bind_constants(graph)
        self._walk(graph.node, [output.name for output in graph.output])
        return [self._lookup(output.name) for output in graph.output]

    def found(self) -> Mapping[str, Result]:
        """What was found of each tensor of the model's own graph that its outputs need."""
        return self._scopes[0]

    def subgraph(self, graph: onnx.GraphProto, inputs: Sequence[Result]) -> list[Result]:
        """See operator_rules.Walk."""
        self._scopes.append({})
        self._deeper()
        try:
            self._bind_constants(graph)
            self._scopes[-1].update(zip([given.name for given in graph.input], inputs, strict=False))
            self._walk(graph.node, [output.name for output in graph.output])
            return [self._lookup(output.name) for output in graph.output]
        finally:
            self._depth -= 1
            self._scopes.pop()

    def _function(self, node: Node, function: onnx.FunctionProto, inputs: Sequence[Result | None]) -> list[Result]:
        """A call of a function of the model: it sees its own names only."""
        outside = self._scopes, self._given, self._opsets
        given = {attribute.name: attribute for attribute in function.attribute_proto}
        given |= {
            attribute.name: self._given.get(attribute.ref_attr_name, attribute) for attribute in node.proto.attribute
        }
        self._deeper()
        try:
            self._scopes = [{name: value for name, value in zip(function.input, inputs, strict=False) if value}]
            self._given = given
            self._opsets = {entry.domain: entry.version for entry in function.opset_import}
            self._walk(function.node, list(function.output))
            return [self._lookup(name) for name in function.output]
        finally:
            self._depth -= 1
            self._scopes, self._given, self._opsets = outside

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MOST_NESTED:
            raise TooLarge(f"its graphs are nested more than {MOST_NESTED} deep")

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise TooLarge(f"it takes more than {MOST_STEPS} steps to follow")

    def _bind_constants(self, graph: onnx.GraphProto) -> None:
        self._spend(len(graph.initializer) // _LOOKS_A_STEP)
        for tensor in graph.initializer:
            self._scopes[-1][tensor.name] = tensor_value(tensor)
        for sparse in graph.sparse_initializer:
            self._scopes[-1][sparse.values.name] = Value(tuple(sparse.dims))

    def _lookup(self, name: str) -> Result:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return Unknown(f"nothing computes {name[:80]!r}")

    def _walk(self, nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> None:
        for proto in self._needed(nodes, outputs):
            self._spend(1)
            results = self._visit(proto)
            for name, result in zip(proto.output, results, strict=False):
                self._scopes[-1][name] = result
            for name in proto.output[len(results) :]:
                self._scopes[-1][name] = Unknown(f"{proto.op_type} has an output {name[:80]!r} that it should not have")

    def _needed(self, nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
        """The nodes that the outputs need, in order."""
        self._spend(len(nodes) // _LOOKS_A_STEP)
        wanted = set(outputs)
        kept = []
        for node in reversed(nodes):
            if not wanted.isdisjoint(node.output):
                kept.append(node)
                wanted.update(node.input)
                for attribute in node.attribute:
                    for graph in (attribute.g, *attribute.graphs) if attribute.type in _GRAPHS else ():
                        wanted.update(self._names_used(graph))
        return kept[::-1]

    def _names_used(self, graph: onnx.GraphProto) -> set[str]:
        """All names that a graph and those in it read, whether of their own or from around them."""
        names: set[str] = set()
        waiting = [graph]
        while waiting:
            one = waiting.pop()
            self._spend(len(one.node) // _LOOKS_A_STEP)
            names.update(output.name for output in one.output)
            for node in one.node:
                names.update(node.input)
                for attribute in node.attribute:
                    if attribute.type in _GRAPHS:
                        waiting.extend((attribute.g, *attribute.graphs))
        return names

    def _visit(self, proto: onnx.NodeProto) -> Sequence[Result]:
        domain = "" if proto.domain in _OWN_DOMAINS else proto.domain
        opset = self._opsets.get(domain) or self._opsets.get("ai.onnx") or 1
        node = Node(proto, proto.op_type, domain, opset, self, self._given)
        inputs = [self._lookup(name) if name else None for name in proto.input]
        function = self._functions.get((proto.domain, proto.op_type, proto.overload))
        try:
            if function is not None:
                if domain in _DETERMINISTIC:
                    raise NotUnderstood("is a function of the model in a domain with operators of its own")
                return self._function(node, function, inputs)
            control = control_rule_for(domain, proto.op_type)
            return control(node, inputs) if control else self._apply(node, inputs)
        except RowsMix as mixes:
            result: Result = Mixed(f"{node.label} {mixes}")
        except NotUnderstood as trouble:
            result = Unknown(f"{node.label} {trouble}")
        except TooLarge:
            raise
        except Exception as error:  # a rule met what it was not made for: a load must not fail by it
            if self._strict:
                raise
            result = Unknown(f"{node.label} is not as its rule expects ({type(error).__name__})")
        return [result] * len(proto.output)

    def _apply(self, node: Node, results: Sequence[Result | None]) -> Sequence[Result]:
        found = rule_for(node.domain, node.operator)
        values: list[Value | None] = []
        trouble: Mixed | Unknown | None = None
        for index, result in enumerate(results):
            if isinstance(result, Mixed) and result.value is not None and found and index in found.ignores:
                values.append(result.value)
            elif isinstance(result, Mixed | Unknown):
                # The shape is this input's, and none of what comes of it.
                came = Mixed(result.reason) if isinstance(result, Mixed) else result
                trouble = came if trouble is None or isinstance(came, Mixed) else trouble
            else:
                values.append(result)
        free = not trouble and all(value is None or _is_free(value) for value in values)
        if found is None:
            if free and node.domain in _DETERMINISTIC:
                return [FREE] * len(node.proto.output)
            self.without_rule[f"{node.domain}:{node.operator}" if node.domain else node.operator] = None
            trouble = trouble or Unknown(f"no rule covers {node.label}")
        if trouble is not None or found is None:
            return [trouble or FREE] * len(node.proto.output)
        sized, misuse = _check(node.operator, found, values)
        try:
            given = found.rule(node, values)
        except NotUnderstood:
            if free:  # so that the outputs are the same whatever the batch, if not of a shape that is known
                return [FREE] * len(node.proto.output)
            if misuse:
                raise RowsMix(misuse) from None
            raise
        outputs = [given] if isinstance(given, Value) else given
        read = [value for index, value in enumerate(values) if value and index not in found.ignores]
        quantized = next((value.quantized for value in read if value.quantized), "")
        finished = [_finished(node, output, sized and not misuse, quantized) for output in outputs]
        if misuse:
            reason = f"{node.label} {misuse}"
            return [Mixed(reason, one) if isinstance(one, Value) else one for one in finished]
        return finished


def _is_free(value: Value) -> bool:
    return value.rows is None and not value.sized and not value.quantized


def _check(operator: str, found: Registered, values: Inputs) -> tuple[bool, str]:
    """(whether the elements that it reads depend on the batch size, what mixes rows whatever its rule says)."""
    sized = False
    for index, value in enumerate(values):
        if value is None or not value.sized or index in found.ignores:
            continue
        if index not in found.shapes:
            sized = True
        elif value.numbers is None:
            raise NotUnderstood(UNKNOWN_NUMBERS)
    if sized and any(value.rows is not None for value in present(values)):
        return True, "computes with the number of rows in the batch"
    if not found.places and any(value.place is not None for value in present(values)):
        return sized, "computes with each row's place in the batch"
    if any(value.quantized and value.rows is None for value in present(values)):
        plain = any(value.rows is not None and not value.quantized for value in present(values))
        if operator not in _TAKES_SCALES or (operator == "Mul" and plain):
            return sized, "computes with a scale that the whole batch shares"
    return sized, ""


_TAKES_SCALES = frozenset(
    """
    Cast ConvInteger DequantizeLinear Identity MatMulInteger MatMulIntegerToFloat Mul QAttention QLinearConv
    QLinearMatMul Reshape Shape Squeeze Unsqueeze
    """.split()  # noqa: SIM905
)
"""What is done with the scale of a tensor that was quantized, and makes up for it."""


def _finished(node: Node, result: Result, sized: bool, quantized: str) -> Result:
    """With what holds whatever the operator is."""
    if not isinstance(result, Value):
        return result
    numbers = result.numbers
    if numbers is not None:
        sized = any(map(of_batch, numbers))
    elif result.sized:
        sized = True
    for axis, size in enumerate(result.shape or ()):
        if of_batch(size) and (result.rows is None or axis != result.rows.axis):
            # Such as [batch, batch], or a tensor with a row more than the batch.
            return Unknown(f"{node.label} gives a tensor with an axis that grows with the batch and is not its rows")
    if sized and result.rows is not None:
        return Mixed(f"{node.label} computes with the number of rows in the batch")
    if result.rows is not None and equal(result.rows.size, (result.shape or ())[result.rows.axis]) is not True:
        raise AssertionError(f"{node.label}: rows {result.rows} in {result.shape}")
    if sized == result.sized and quantized in ("", result.quantized):
        return result
    return dataclasses.replace(result, sized=sized, quantized=quantized or result.quantized)


_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)

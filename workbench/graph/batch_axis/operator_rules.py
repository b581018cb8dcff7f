"""The table of operator rules, and what a rule sees of its node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import onnx

from workbench.graph.batch_axis.batch_values import (
    NotUnderstood,
    Result,
    Rows,
    Value,
    check_no_other_rows,
    shape_of,
)
from workbench.graph.batch_axis.symbolic_sizes import Number

MICROSOFT = "com.microsoft"
ML = "ai.onnx.ml"


class Walk(Protocol):
    """What rules of control flow ask of the walk that they are part of."""

    def subgraph(self, graph: onnx.GraphProto, inputs: Sequence[Result]) -> list[Result]:
        """The results of a subgraph's outputs; names of the graphs around it are seen in it."""
        ...


@dataclass
class Node:
    """A node, as rules see it."""

    proto: onnx.NodeProto
    operator: str
    domain: str
    """ONNX's own is ""."""
    opset: int
    walk: Walk
    given: Mapping[str, onnx.AttributeProto]
    """The attributes of the function's call that it is part of, by name."""

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        found = {}
        for attribute in self.proto.attribute:
            name = attribute.name
            if attribute.ref_attr_name:
                if attribute.ref_attr_name not in self.given:
                    continue
                attribute = self.given[attribute.ref_attr_name]
            found[name] = onnx.helper.get_attribute_value(attribute)
        return found

    def whole(self, name: str, default: int = 0) -> int:
        found = self.attributes.get(name, default)
        if not isinstance(found, int):
            raise NotUnderstood(f"has no whole number as its {name}")
        return found

    def text(self, name: str, default: str = "") -> str:
        found = self.attributes.get(name, default)
        return found.decode(errors="replace") if isinstance(found, bytes) else str(found)

    def list(self, name: str) -> tuple[int, ...] | None:
        found = self.attributes.get(name)
        return None if found is None else tuple(found)

    @property
    def outputs(self) -> int:
        """How many outputs it has."""
        return len(self.proto.output)

    @property
    def label(self) -> str:
        """As a finding names it."""
        outputs = [name for name in self.proto.output if name]
        name = self.proto.name or (outputs[0] if outputs else "")
        return f"{self.operator} {name[:80]!r}"


UNKNOWN_NUMBERS = "takes sizes or positions that are computed in a way that is not followed"

Inputs = Sequence[Value | None]
"""A node's inputs in order; None where an optional one is absent."""

Rule = Callable[[Node, Inputs], Value | Sequence[Result]]
"""Gives each output's result, or a lone Value for the first output.

Raises RowsMix and NotUnderstood, which hold for all outputs. It need not think of inputs that are mixed or unknown, of
rounding, nor (unless registered so) of elements that depend on the batch size or on a row's place.
"""

ControlRule = Callable[[Node, Sequence[Result | None]], Sequence[Result]]
"""A rule that is given whatever its inputs are, and sees to everything itself."""


@dataclass(frozen=True, slots=True)
class Registered:
    rule: Rule
    shapes: frozenset[int]
    """The inputs that say sizes or positions; the rule looks at their numbers, which may depend on the batch size."""
    ignores: frozenset[int]
    """The inputs of which it looks at the shape only."""
    places: bool
    """It follows a row's place."""


_RULES: dict[tuple[str, str], Registered] = {}
_CONTROL: dict[str, ControlRule] = {}


def rule(
    names: str,
    *,
    domain: str = "",
    shapes: Sequence[int] = (),
    ignores: Sequence[int] = (),
    places: bool = False,
) -> Callable[[Rule], Rule]:
    """Registers a rule for operators, named with spaces between them."""

    def register(function: Rule) -> Rule:
        for name in names.split():
            if (domain, name) in _RULES:
                raise ValueError(f"two rules for {domain}:{name}")
            _RULES[domain, name] = Registered(function, frozenset(shapes), frozenset(ignores), places)
        return function

    return register


def control_rule(name: str) -> Callable[[ControlRule], ControlRule]:
    def register(function: ControlRule) -> ControlRule:
        _CONTROL[name] = function
        return function

    return register


def control_rule_for(domain: str, operator: str) -> ControlRule | None:
    return None if domain else _CONTROL.get(operator)


def rule_for(domain: str, operator: str) -> Registered | None:
    return _RULES.get((domain, operator))


def operators() -> frozenset[tuple[str, str]]:
    """(domain, operator) of all that have a rule."""
    return frozenset(_RULES) | {("", name) for name in _CONTROL}


def given(inputs: Inputs, index: int) -> Value | None:
    """An optional input."""
    return inputs[index] if index < len(inputs) else None


def needed(inputs: Inputs, index: int) -> Value:
    found = given(inputs, index)
    if found is None:
        raise NotUnderstood(f"lacks its input {index}")
    return found


def known_numbers(inputs: Inputs, index: int) -> tuple[Number, ...]:
    """The elements of an input. Raises NotUnderstood where they are not known."""
    found = needed(inputs, index)
    if found.numbers is None:
        raise NotUnderstood(UNKNOWN_NUMBERS)
    return found.numbers


def numbers_of(inputs: Inputs, index: int) -> tuple[Number, ...] | None:
    """The same of an optional input; None where it is absent."""
    return None if given(inputs, index) is None else known_numbers(inputs, index)


def axes_of(node: Node, inputs: Inputs, index: int, rank: int) -> tuple[int, ...] | None:
    """The axes that an attribute or, in later opsets, an input names, each from 0; None: it names none."""
    found: Sequence[Number] | None = node.list("axes")
    if found is None:
        found = numbers_of(inputs, index)
    if found is None:
        return None
    axes = []
    for axis in found:
        if not isinstance(axis, int) or not -rank <= axis < rank:
            raise NotUnderstood(f"names axis {axis} of {rank}")
        axes.append(axis % rank)
    return tuple(axes)


def rows_axis(value: Value) -> int | None:
    return None if value.rows is None else value.rows.axis


def free_of_rows(values: Inputs) -> None:
    """Weights and such are the same for all rows."""
    if any(value is not None and value.rows is not None for value in values):
        raise NotUnderstood("takes from rows what is the same for all rows in most models")


def rows_first(values: Sequence[Value]) -> Rows | None:
    """The rows of values that all have the batch as their first axis, some perhaps one for all rows."""
    found: Rows | None = None
    for value in values:
        if value.rows is None:
            continue
        if value.rows.axis != 0:
            raise NotUnderstood("has the rows of the batch along another axis than most models")
        if found not in (None, value.rows):
            raise NotUnderstood("pairs rows that are laid out in different ways")
        found = value.rows
    if found is not None:
        check_no_other_rows([shape_of(value)[0] for value in values if value.rows is None and shape_of(value)])
    return found


def present(inputs: Inputs) -> list[Value]:
    return [value for value in inputs if value is not None]

"""Rules of operators that compute each element from the elements at the same place, with broadcasting."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx

from workbench.graph.batch_axis import symbolic_sizes as sizes
from workbench.graph.batch_axis.batch_values import (
    NotUnderstood,
    Place,
    Result,
    RowsMix,
    Unknown,
    Value,
    bound_of,
    broadcast,
    rearranged,
)
from workbench.graph.batch_axis.operator_rules import MICROSOFT, Inputs, Node, needed, present, rule
from workbench.graph.batch_axis.symbolic_sizes import Number

_ONE = """
    Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Celu Cos Cosh Elu Erf Exp Gelu HardSigmoid HardSwish
    IsInf IsNaN LeakyRelu Log Mish Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus
    Softsign Swish Tan Tanh ThresholdedRelu RegexFullMatch BitCast
"""
_MANY = "BitShift BitwiseAnd BitwiseOr BitwiseXor Mean PRelu Pow StringConcat Sum SwiGLU Xor"


@rule(_ONE)
@rule(_MANY)
def element_wise(node: Node, inputs: Inputs) -> Value:
    return broadcast(present(inputs))


@rule("BiasGelu FastGelu Gelu QuickGelu BiasAdd MurmurHash3", domain=MICROSOFT)
def element_wise_microsoft(node: Node, inputs: Inputs) -> Value:
    return broadcast(present(inputs))


@rule("Clip")
def clip(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    if any(value.rows is not None or value.sized for value in present(inputs[1:])):
        raise RowsMix("clips all rows by a bound that rows set")
    return Value(x.shape, x.rows)


@rule("Identity", places=True)
def identity(node: Node, inputs: Inputs) -> Value:
    return needed(inputs, 0)


@rule("Cast", places=True)
@rule("CastLike", ignores=(1,))
def cast(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    to = node.whole("to", onnx.TensorProto.UNDEFINED)
    numbers = None if x.numbers is None else tuple(_as_type(number, to) for number in x.numbers)
    if to in _INTEGERS and x.shape is not None:
        return rearranged(x, x.shape, x.rows, numbers)
    if x.place is not None:
        raise RowsMix("computes with each row's place in the batch")
    return Value(x.shape, x.rows, numbers)


_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16)
_INTEGERS = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)


def _as_type(number: Number, to: int) -> Number:
    if isinstance(number, sizes.Polynomial):
        if to in _INTEGERS and not number.is_size:
            return sizes.opaque("whole", number)
        return number if to in _FLOATS or to in _INTEGERS else sizes.opaque(f"cast{to}", number)
    if to in _FLOATS:
        return float(number)
    if to in _INTEGERS and math.isfinite(number):
        return int(number)
    if to == onnx.TensorProto.BOOL:
        return int(number != 0)
    return sizes.fresh(is_size=False)


def _floor(number: Number) -> Number:
    if isinstance(number, sizes.Polynomial):
        return number if number.is_size else sizes.opaque("floor", number)
    return float(math.floor(number)) if math.isfinite(number) else number


def _ceil(number: Number) -> Number:
    if isinstance(number, sizes.Polynomial):
        return number if number.is_size else sizes.opaque("ceil", number)
    return float(math.ceil(number)) if math.isfinite(number) else number


def _minimum(left: Number, right: Number) -> Number:
    if isinstance(left, sizes.Polynomial) or isinstance(right, sizes.Polynomial):
        return (
            left if sizes.greater(right, left) else right if sizes.greater(left, right) else _opaque("min", left, right)
        )
    return min(left, right)


def _maximum(left: Number, right: Number) -> Number:
    if isinstance(left, sizes.Polynomial) or isinstance(right, sizes.Polynomial):
        return (
            left if sizes.greater(left, right) else right if sizes.greater(right, left) else _opaque("max", left, right)
        )
    return max(left, right)


def _opaque(name: str, left: Number, right: Number) -> Number:
    return left if left == right else sizes.opaque(name, left, right)


def _modulo(left: Number, right: Number) -> Number:
    if isinstance(right, int) and right > 0 and sizes.exactly(left, right) is not None:
        return 0
    if isinstance(left, int) and isinstance(right, int) and left >= 0 and right > 0:
        return left % right  # of negative ones, an attribute says the sign
    return sizes.opaque("mod", left, right)


def _truth(found: bool | None, name: str, left: Number, right: Number) -> Number:
    return sizes.opaque(name, left, right) if found is None else int(found)


def _equal(left: Number, right: Number) -> Number:
    return _truth(sizes.equal(left, right), "equal", left, right)


def _greater(left: Number, right: Number) -> Number:
    return _truth(sizes.greater(left, right), "greater", left, right)


def _negated(number: Number) -> Number:
    return sizes.opaque("not", number) if isinstance(number, sizes.Polynomial) else int(not number)


def _and(left: Number, right: Number) -> Number:
    if left == 0 or right == 0:
        return 0
    return sizes.apply(lambda one, other: int(bool(one) and bool(other)), "and", left, right)


def _or(left: Number, right: Number) -> Number:
    if 1 in (left, right):
        return 1
    return sizes.apply(lambda one, other: int(bool(one) or bool(other)), "or", left, right)


def _where(condition: Number, left: Number, right: Number) -> Number:
    if isinstance(condition, sizes.Polynomial):
        return left if left == right else sizes.opaque("where", condition, left, right)
    return left if condition else right


_COMPUTED: dict[str, Callable[..., Number]] = {
    "Add": sizes.add,
    "Sub": sizes.subtract,
    "Mul": sizes.multiply,
    "Div": sizes.divide,
    "Mod": _modulo,
    "Neg": lambda number: sizes.multiply(number, -1),
    "Min": _minimum,
    "Max": _maximum,
    "Floor": _floor,
    "Ceil": _ceil,
    "Sqrt": lambda number: sizes.apply(lambda x: math.sqrt(x) if x >= 0 else math.nan, "sqrt", number),
    "Equal": _equal,
    "Greater": _greater,
    "Less": lambda left, right: _greater(right, left),
    "GreaterOrEqual": lambda left, right: _negated(_greater(right, left)),
    "LessOrEqual": lambda left, right: _negated(_greater(left, right)),
    "Not": _negated,
    "And": _and,
    "Or": _or,
    "Where": _where,
}


@rule(" ".join(_COMPUTED.keys() - {"Add", "Mul"}))
def numbers_or_rows(node: Node, inputs: Inputs) -> Value:
    return computed(node, inputs)


@rule("Add Mul", places=True)
def sum_or_product(node: Node, inputs: Inputs) -> Value:
    found = [value for value in present(inputs) if value.place is not None]
    if not found:
        return computed(node, inputs)
    other = [value for value in present(inputs) if value.place is None]
    if len(found) > 1 or len(other) != 1 or found[0].place is None or found[0].place.column is not None:
        raise RowsMix("computes with each row's place in the batch")
    result = broadcast([found[0], other[0]])
    return Value(result.shape, result.rows, place=_moved_place(node, found[0].place, other[0]))


def _moved_place(node: Node, place: Place, other: Value) -> Place:
    """The element of a row's own in a tensor of all rows' elements one after the other: place * length + index."""
    if node.operator == "Add":
        more = bound_of(other)
        if more is None:
            raise NotUnderstood("adds to each row's place what may reach another row")
        return Place(place.stride, sizes.subtract(sizes.add(place.below, more), 1))
    by = set(other.numbers or ())
    factor = by.pop() if len(by) == 1 else None
    if factor is None or not sizes.is_count(factor) or sizes.of_batch(factor):
        raise NotUnderstood("multiplies each row's place in a way that is not followed")
    if factor == 0:
        raise NotUnderstood("multiplies each row's place by 0")
    below = sizes.add(sizes.multiply(sizes.subtract(place.below, 1), factor), 1)
    return Place(sizes.multiply(place.stride, factor), below)


def computed(node: Node, inputs: Inputs) -> Value:
    values = present(inputs)
    result = broadcast(values)
    columns = [value.numbers for value in values if value.numbers is not None]
    if result.rows is not None or result.shape is None or len(columns) < len(values):
        return result
    count = sizes.product(result.shape)
    # Of one shape, or one number for all: what is broadcast in another way is a table, and no shape.
    if not isinstance(count, int) or any(
        value.shape != result.shape and len(column) != 1 for value, column in zip(values, columns, strict=True)
    ):
        return result
    columns = [column * count if len(column) == 1 else column for column in columns]
    function = _COMPUTED[node.operator]
    if node.operator in ("Min", "Max"):
        numbers = columns[0]
        for column in columns[1:]:
            numbers = tuple(map(function, numbers, column))
    else:
        numbers = tuple(map(function, *columns))
    return Value(result.shape, numbers=numbers)


@rule("Dropout")
def dropout(node: Node, inputs: Inputs) -> list[Result]:
    x = needed(inputs, 0)
    if len(inputs) > 2 and inputs[2] is not None:
        training = inputs[2].numbers
        if training is None:
            return [Unknown(f"{node.label} may be in training, at random")] * 2
        if training[0]:
            raise RowsMix("is random, so rows alone and together cannot be compared")
    kept = Value(x.shape, x.rows)
    return [kept, kept]

"""Rules of matrix products."""

from __future__ import annotations

import dataclasses

from workbench.graph.batch_axis.batch_values import (
    NotUnderstood,
    RowsMix,
    Shape,
    Value,
    broadcast,
    check_no_other_rows,
    rank_of,
    shape_of,
    wider,
)
from workbench.graph.batch_axis.operator_rules import MICROSOFT, Inputs, Node, given, needed, present, rule
from workbench.graph.batch_axis.symbolic_sizes import Number, fresh


@rule("MatMul")
def matmul(node: Node, inputs: Inputs) -> Value:
    return matrix_product(needed(inputs, 0), needed(inputs, 1))


def matrix_product(left: Value, right: Value) -> Value:
    """As numpy.matmul: the last axis of `left` and the last but one of `right` are summed over."""
    if rank_of(left) == 0 or rank_of(right) == 0:
        raise NotUnderstood("multiplies a number as a matrix")
    drop_first, drop_last = rank_of(left) == 1, rank_of(right) == 1
    if drop_first:
        left = _with_shape(left, (1, *shape_of(left)), 1)
    if drop_last:
        right = _with_shape(right, (*shape_of(right), 1), 0)
    if _sums_rows(left, -1) or _sums_rows(right, -2):
        raise RowsMix("sums over the rows of the batch")
    shapes = shape_of(left), shape_of(right)
    result = broadcast(
        [
            dataclasses.replace(left, shape=(*shapes[0][:-1], 1)),
            dataclasses.replace(right, shape=(*shapes[1][:-2], 1, shapes[1][-1])),
        ]
    )
    kept = list(shape_of(result))
    rows = result.rows
    if drop_last:
        del kept[-1]
    if drop_first:
        del kept[len(kept) - (1 if drop_last else 2)]
        if rows is not None and rows.axis == len(kept):
            rows = rows.at(rows.axis - 1)
    return Value(tuple(kept), rows)


def _with_shape(value: Value, shape: Shape, shift: int) -> Value:
    return Value(shape, value.rows and value.rows.at(value.rows.axis + shift))


def _sums_rows(value: Value, axis: int) -> bool:
    return value.rows is not None and value.rows.axis == rank_of(value) + axis


def quantized_weights_product(left: Value, columns: Number) -> Value:
    """The same where the right side is packed weights, and only the number of its columns is known."""
    if _sums_rows(left, -1):
        raise RowsMix("sums over the rows of the batch")
    return Value((*shape_of(left)[:-1], columns), left.rows)


@rule("FusedMatMul TransposeMatMul FusedMatMulActivation", domain=MICROSOFT)
def fused_matmul(node: Node, inputs: Inputs) -> Value:
    left, right = needed(inputs, 0), needed(inputs, 1)
    left = _with_first_axis_inside(left) if node.whole("transBatchA") and rank_of(left) > 2 else left
    right = _with_first_axis_inside(right) if node.whole("transBatchB") and rank_of(right) > 2 else right
    return matrix_product(
        _transposed(left) if node.whole("transA") and rank_of(left) > 1 else left,
        _transposed(right) if node.whole("transB") and rank_of(right) > 1 else right,
    )


def _with_first_axis_inside(value: Value) -> Value:
    """[rows, batch..., columns] as [batch..., rows, columns]."""
    order = (*range(1, rank_of(value) - 1), 0, rank_of(value) - 1)
    rows = value.rows and value.rows.at(order.index(value.rows.axis))
    return Value(tuple(shape_of(value)[axis] for axis in order), rows)


@rule("GemmFastGelu", domain=MICROSOFT)
def gemm_fast_gelu(node: Node, inputs: Inputs) -> Value:
    return broadcast(present([matrix_product(needed(inputs, 0), needed(inputs, 1)), given(inputs, 2)]))


@rule("Gemm")
@rule("FusedGemm", domain=MICROSOFT)
def gemm(node: Node, inputs: Inputs) -> Value:
    left, right = needed(inputs, 0), needed(inputs, 1)
    left, right = (Value((fresh(), fresh())) if value.shape is None else value for value in (left, right))
    if rank_of(left) != 2 or rank_of(right) != 2:
        raise NotUnderstood("multiplies what is no matrix")
    result = matrix_product(
        _transposed(left) if node.whole("transA") else left, _transposed(right) if node.whole("transB") else right
    )
    bias = given(inputs, 2)
    return result if bias is None else broadcast([result, bias])


def _transposed(value: Value) -> Value:
    """With its last two axes swapped."""
    *batch, last, end = shape_of(value)
    rows, rank = value.rows, len(batch) + 2
    if rows is not None and rows.axis >= rank - 2:
        rows = rows.at(2 * rank - 3 - rows.axis)
    return Value((*batch, end, last), rows)


@rule("Einsum")
def einsum(node: Node, inputs: Inputs) -> Value:
    equation = "".join(node.text("equation").split())
    left, arrow, right = equation.partition("->")
    values, terms = present(inputs), left.split(",")
    if not arrow:
        letters = left.replace(",", "")
        right = "".join(sorted(letter for letter in set(letters) - {"."} if letters.count(letter) == 1))
        right = "..." + right if "..." in left else right
    if len(terms) != len(values):
        raise NotUnderstood("has another number of terms than of inputs")
    labelled = [(value, _axis_labels(term, rank_of(value))) for value, term in zip(values, terms, strict=True)]
    hidden = max(len([label for label in labels if label.startswith(".")]) for _, labels in labelled)
    result = _axis_labels(right, hidden + len(right.replace("...", "")) if "..." in right else len(right))
    rows, where = None, ""
    for value, labels in labelled:
        if value.rows is None:
            continue
        label = labels[value.rows.axis]
        if where not in ("", label) or labels.count(label) > 1:
            raise RowsMix("pairs every row with every other row")
        if rows is not None and rows.at(0) != value.rows.at(0):
            raise NotUnderstood("pairs rows that are laid out in different ways")
        rows, where = value.rows, label
    found: dict[str, Number] = {}
    for value, labels in labelled:
        for label, size in zip(labels, shape_of(value), strict=True):
            if label == where and value.rows is None:
                check_no_other_rows([size])
            found[label] = wider((found.get(label, 1), size))
    if rows is not None:
        if where not in result:
            raise RowsMix("sums over the rows of the batch")
        found[where] = rows.size
        rows = rows.at(result.index(where))
    return Value(tuple(found[label] for label in result), rows)


def _axis_labels(term: str, rank: int) -> list[str]:
    """A label for each axis; those of an ellipsis are counted from the right."""
    before, dots, after = term.partition("...")
    hidden = rank - len(before) - len(after)
    if (hidden != 0 and not dots) or hidden < 0:
        raise NotUnderstood(f"names {len(before) + len(after)} of {rank} axes")
    return [*before, *(f".{place}" for place in range(hidden, 0, -1)), *after]

"""Rules of attention and positions, and of the operators that ONNX Runtime's optimizer fuses for transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from workbench.graph.batch_axis.batch_values import (
    NotUnderstood,
    Result,
    Rows,
    RowsMix,
    Value,
    broadcast,
    check_no_other_rows,
    rank_of,
    shape_of,
)
from workbench.graph.batch_axis.operator_rules import (
    MICROSOFT,
    Inputs,
    Node,
    free_of_rows,
    given,
    needed,
    present,
    rows_axis,
    rows_first,
    rule,
)
from workbench.graph.batch_axis.symbolic_sizes import Number, fresh


class BatchFirst(NamedTuple):
    """An operator whose rows are computed each by itself."""

    first: Sequence[int]
    """Inputs that have the batch as their first axis, or 1 there."""
    second: Sequence[int] = ()
    """Inputs that have it as their second axis."""
    ranks: Sequence[int] = ()
    """The rank of each output; 0: that of the first input. The batch is the first axis."""
    states: Sequence[int] = ()
    """Outputs of rank 5 that have it as their second axis."""


_OWN: dict[str, BatchFirst] = {
    "CausalConvWithState": BatchFirst((0, 3), (), (3, 3)),
    "LinearAttention": BatchFirst((0, 1, 2, 3, 4, 5), (), (3, 4)),
    "TensorScatter": BatchFirst((0, 1, 2), (), (0,)),
}

_MICROSOFT: dict[str, BatchFirst] = {
    "Attention": BatchFirst((0, 3, 5), (4,), (3, 5), (1,)),
    "QAttention": BatchFirst((0, 5), (8,), (3, 5), (1,)),
    "MultiHeadAttention": BatchFirst((0, 1, 2, 4, 5, 6, 7), (), (3, 4, 4, 4)),
    "GroupQueryAttention": BatchFirst((0, 1, 2, 3, 4, 5, 9, 10), (), (3, 4, 4)),
    "DecoderMaskedMultiHeadAttention": BatchFirst((0, 1, 2, 3, 4, 5, 6), (), (3, 4, 4)),
    "NGramRepeatBlock": BatchFirst((0, 1), (), (2,)),
    "EmbedLayerNormalization": BatchFirst((0, 1, 7, 8), (), (3, 1, 3)),
    "QEmbedLayerNormalization": BatchFirst((0, 1, 7), (), (3, 1)),
    "SkipGroupNorm": BatchFirst((0, 3), (), (0, 0)),
    "NhwcMaxPool": BatchFirst((0,), (), (4,)),
}


@rule(" ".join(_MICROSOFT), domain=MICROSOFT)
@rule(" ".join(_OWN))
def batch_first(node: Node, inputs: Inputs) -> list[Result]:
    return _batch_first((_MICROSOFT if node.domain else _OWN)[node.operator], inputs)


def _batch_first(how: BatchFirst, inputs: Inputs) -> list[Result]:
    free_of_rows([value for index, value in enumerate(inputs) if index not in (*how.first, *how.second)])
    values = present([given(inputs, index) for index in how.first])
    rows = rows_first(values)
    if rows is not None and not rows.plain and len(values) > 1:
        raise NotUnderstood("takes rows that have several slices each")
    for index in how.second:
        state = given(inputs, index)
        if state is None:
            continue
        if state.rows is None and rows is not None:
            check_no_other_rows([shape_of(state)[1]])
        elif rows_axis(state) not in (None, 1):
            raise RowsMix("computes across the rows of the batch")
        elif state.rows is not None and (rows is None or state.rows.at(0) != rows):
            raise NotUnderstood("pairs rows that are laid out in different ways")
    if needed(inputs, 0).rows is None and rows is not None:
        raise NotUnderstood("computes rows from a first input without any")
    first = rows.size if rows else fresh()
    found: list[Result] = []
    for index, given_rank in enumerate(how.ranks):
        rank = given_rank or rank_of(needed(inputs, 0))
        at = 1 if index in how.states else 0
        shape: list[Number] = [fresh() for _ in range(rank)]
        shape[at] = first
        found.append(Value(tuple(shape), rows and rows.at(at)))
    return found


@rule("Attention")
def attention(node: Node, inputs: Inputs) -> list[Result]:
    query, mask = needed(inputs, 0), given(inputs, 3)
    masks = []
    if mask is not None and rank_of(mask) == 4:
        masks = [mask]
    elif mask is not None and mask.rows is not None:
        raise RowsMix("gives a mask of rows to heads or to steps")
    others = [query, *present([given(inputs, index) for index in (1, 2, 4, 5, 6)])]
    how = BatchFirst(range(len(others) + len(masks)), (), (rank_of(query), 4, 4, 4))
    found = _batch_first(how, [*others, *masks])
    output = Value((*shape_of(query)[:-1], fresh()), query.rows)
    return [output, *found[1:]]


@rule("RotaryEmbedding")
@rule("RotaryEmbedding", domain=MICROSOFT)
def rotary_embedding(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    places, tables = (1, (2, 3)) if node.domain else (3, (1, 2))
    position = given(inputs, places)
    # Tables of an angle for each position, or, from ONNX's own, for each row and step.
    own = [table for index in tables if (table := given(inputs, index)) is not None and rank_of(table) == 3]
    free_of_rows([given(inputs, index) for index in tables if given(inputs, index) not in own])
    by_row = own + (
        [position] if position is not None and (rank_of(position) == 2 or position.rows is not None) else []
    )
    if rows_first([x, *by_row]) != x.rows:
        raise NotUnderstood("turns a constant by what rows say")
    return Value(shape_of(x), x.rows)


@rule("SkipLayerNormalization SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(node: Node, inputs: Inputs) -> list[Result]:
    x, skip = needed(inputs, 0), needed(inputs, 1)
    free_of_rows(inputs[2:])
    total = broadcast([x, skip])
    if x.rows != total.rows:
        raise NotUnderstood("adds rows to a constant")
    if total.rows is not None and total.rows.axis == rank_of(total) - 1:
        raise RowsMix("normalises over the rows of the batch")
    statistics = Value((*shape_of(x)[:-1], 1), x.rows)
    return [Value(shape_of(x), x.rows), statistics, statistics, Value(shape_of(x), x.rows)]


@rule("BiasSoftmax", domain=MICROSOFT)
def bias_softmax(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    free_of_rows(inputs[1:])
    if x.rows is not None and (x.rows.axis != 0 or node.whole("axis", 1) in (0, -rank_of(x))):
        raise RowsMix("normalises over the rows of the batch")
    return Value(shape_of(x), x.rows)


@rule("CDist", domain=MICROSOFT)
def distances(node: Node, inputs: Inputs) -> Value:
    left, right = needed(inputs, 0), needed(inputs, 1)
    if (left.rows and right.rows) or 1 in (rows_axis(left), rows_axis(right)):
        raise RowsMix("pairs every row with every other row")
    rows = left.rows or (Rows(1, right.rows.outer, right.rows.inner) if right.rows else None)
    return Value((shape_of(left)[0], shape_of(right)[0]), rows)


@rule("IsAllFinite", domain=MICROSOFT)
def whole_batch(node: Node, inputs: Inputs) -> Value:
    if any(value.rows is not None for value in present(inputs)):
        raise RowsMix("reduces over the rows of the batch")
    return Value(())

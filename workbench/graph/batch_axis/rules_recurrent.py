"""Rules of recurrent networks: rows lie along the batch axis, and steps along another."""

from __future__ import annotations

from workbench.graph.batch_axis import symbolic_sizes as sizes
from workbench.graph.batch_axis.batch_values import (
    NotUnderstood,
    RowsMix,
    Value,
    check_no_other_rows,
    rank_of,
    shape_of,
)
from workbench.graph.batch_axis.operator_rules import MICROSOFT, Inputs, Node, free_of_rows, given, needed, rule


@rule("GRU LSTM RNN")
def recurrent(node: Node, inputs: Inputs) -> list[Value]:
    return _recurrent(node, inputs)


def _recurrent(node: Node, inputs: Inputs) -> list[Value]:
    x = needed(inputs, 0)
    free_of_rows([*inputs[1:4], *inputs[7:]])
    if rank_of(x) != 3:
        raise NotUnderstood("takes a sequence that has not three axes")
    # [steps, batch, features], or [batch, steps, features]
    first = node.whole("layout") == 1
    batch, steps = (0, 1) if first else (1, 0)
    if x.rows is not None and x.rows.axis != batch:
        raise RowsMix("steps through the rows of the batch" if x.rows.axis == steps else "sums over the rows")
    for index, axis in ((4, 0), (5, batch), (6, batch)):
        _check_state(given(inputs, index), axis, x)
    size, count, rows = shape_of(x)[batch], shape_of(x)[steps], x.rows
    hidden = node.whole("hidden_size") or shape_of(needed(inputs, 2))[-1]
    ways = 2 if node.text("direction", "forward") == "bidirectional" else 1
    if first:
        state = Value((size, ways, hidden), rows)
        return [Value((size, count, ways, hidden), rows), state, state]
    state = Value((ways, size, hidden), rows)
    return [Value((count, ways, size, hidden), rows and rows.at(2)), state, state]


@rule("DynamicQuantizeLSTM", domain=MICROSOFT)
def quantized_recurrent(node: Node, inputs: Inputs) -> list[Value]:
    free_of_rows(inputs[7:])
    x = needed(inputs, 0)
    found = _recurrent(node, inputs[:7])
    if x.rows is None:
        return found
    clause = f"{node.label} takes one scale for the whole batch"
    return [Value(value.shape, value.rows, quantized=clause) for value in found]


def _check_state(state: Value | None, axis: int, x: Value) -> None:
    """A first state, or lengths, have what belongs to each row along this axis."""
    if state is None or (state.rows is None and x.rows is None):
        return
    if state.rows is None:
        check_no_other_rows([shape_of(state)[axis]])
        return  # for one row only, and the runtime refuses others
    if x.rows is None or sizes.equal(state.rows.size, x.rows.size) is not True:
        raise NotUnderstood("starts from states of other rows than its sequences have")
    if state.rows.axis != axis:
        raise RowsMix("starts from states that are not one for each row")
    if state.rows.at(0) != x.rows.at(0):
        raise NotUnderstood("starts from states of rows in another order")

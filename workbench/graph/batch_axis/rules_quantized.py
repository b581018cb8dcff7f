"""Rules of quantization. A scale that is found when the model runs is one for the whole batch, so rows share it."""

from __future__ import annotations

from workbench.graph.batch_axis.batch_values import (
    NotUnderstood,
    RowsMix,
    Value,
    axis_of,
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
    rule,
)
from workbench.graph.batch_axis.rules_cutting import concatenated
from workbench.graph.batch_axis.rules_matmul import matrix_product, quantized_weights_product
from workbench.graph.batch_axis.symbolic_sizes import fresh


@rule("DynamicQuantizeLinear")
def dynamic_quantize_linear(node: Node, inputs: Inputs) -> list[Value]:
    x = needed(inputs, 0)
    clause = f"{node.label} takes one scale for the whole batch" if x.rows is not None else ""
    scale = Value((), quantized=clause)
    return [Value(shape_of(x), x.rows, quantized=clause), scale, scale]


@rule("QuantizeLinear DequantizeLinear")
@rule("QuantizeLinear DequantizeLinear", domain=MICROSOFT)
def quantize_linear(node: Node, inputs: Inputs) -> Value:
    x, scale = needed(inputs, 0), needed(inputs, 1)
    shape = shape_of(x)
    if scale.rows is not None:
        # One for each row, as a model computes that quantizes its rows by itself.
        if x.rows is None or rank_of(scale) != len(shape):
            raise NotUnderstood("takes its scale from rows")
        return broadcast(present(inputs))
    if x.rows is not None and not (rank_of(scale) == 0 or shape_of(scale) == (1,)):
        if rank_of(scale) == 1:
            if axis_of(node.whole("axis", 1), len(shape)) == x.rows.axis:
                check_no_other_rows(shape_of(scale))
        else:  # blocks
            check_no_other_rows([shape_of(scale)[x.rows.axis]])
    free_of_rows(inputs[2:])
    return Value(shape, x.rows)


@rule("MatMulInteger")
@rule("MatMulInteger16", domain=MICROSOFT)
def matmul_integer(node: Node, inputs: Inputs) -> Value:
    left = needed(inputs, 0)
    _check_scales(left, inputs[2:3])
    free_of_rows(inputs[3:])
    return matrix_product(left, needed(inputs, 1))


@rule("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer_to_float(node: Node, inputs: Inputs) -> Value:
    left = needed(inputs, 0)
    _check_scales(left, [given(inputs, index) for index in (2, 4)])
    free_of_rows([given(inputs, index) for index in (3, 5)])
    return broadcast(present([matrix_product(left, needed(inputs, 1)), given(inputs, 6)]))


@rule("QLinearMatMul")
def quantized_matmul(node: Node, inputs: Inputs) -> Value:
    left = needed(inputs, 0)
    _check_scales(left, [given(inputs, index) for index in (1, 2, 6, 7)])
    free_of_rows([given(inputs, index) for index in (4, 5)])
    return matrix_product(left, needed(inputs, 3))


def _check_scales(left: Value, scales: Inputs) -> None:
    """Scales and zero points of a product's left side may be one for each of its rows, which those of a batch are."""
    for scale in present(scales):
        if scale.rows is not None:
            raise NotUnderstood("takes its scale from rows")
        if left.rows is not None and rank_of(scale) > 0 and shape_of(scale) != (1,):
            raise NotUnderstood("has a scale for each row of a matrix")


@rule("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_quantize_matmul(node: Node, inputs: Inputs) -> Value:
    left = needed(inputs, 0)
    free_of_rows(inputs[2:4])
    found = broadcast(present([matrix_product(left, needed(inputs, 1)), given(inputs, 4)]))
    clause = f"{node.label} takes one scale for the whole batch" if left.rows is not None else ""
    return Value(found.shape, found.rows, quantized=clause)


@rule("MatMulNBits MatMulBnb4 MatMulFpQ4", domain=MICROSOFT)
def matmul_n_bits(node: Node, inputs: Inputs) -> Value:
    """Its left side is rounded in blocks of a row, if at all."""
    free_of_rows(inputs[1:])
    return quantized_weights_product(needed(inputs, 0), node.whole("N") or fresh())


@rule("QGemm", domain=MICROSOFT)
def quantized_gemm(node: Node, inputs: Inputs) -> Value:
    free_of_rows([value for index, value in enumerate(inputs) if index != 0])
    left, right = needed(inputs, 0), needed(inputs, 3)
    if left.rows is not None and (node.whole("transA") or left.rows.axis != 0):
        raise RowsMix("sums over the rows of the batch")
    if right.shape is None:
        return Value((shape_of(left)[0], fresh()), left.rows)
    return matrix_product(left, Value(right.shape[::-1]) if node.whole("transB") else right)


@rule("QLinearAdd QLinearMul", domain=MICROSOFT)
def quantized_pair(node: Node, inputs: Inputs) -> Value:
    free_of_rows([value for index, value in enumerate(inputs) if index not in (0, 3)])
    return broadcast([needed(inputs, 0), needed(inputs, 3)])


@rule("QLinearSigmoid QLinearLeakyRelu", domain=MICROSOFT)
def quantized_one(node: Node, inputs: Inputs) -> Value:
    free_of_rows(inputs[1:])
    return Value(shape_of(needed(inputs, 0)), needed(inputs, 0).rows)


@rule("QLinearConcat", domain=MICROSOFT)
def quantized_concat(node: Node, inputs: Inputs) -> Value:
    """A scale and a zero point of the result, and then a tensor, a scale and a zero point of each part."""
    free_of_rows([value for index, value in enumerate(inputs) if index % 3 != 2])
    return concatenated(present(inputs[2::3]), node.whole("axis", 1))


@rule("QLinearWhere", domain=MICROSOFT)
def quantized_where(node: Node, inputs: Inputs) -> Value:
    free_of_rows([value for index, value in enumerate(inputs) if index not in (0, 1, 4)])
    return broadcast([needed(inputs, index) for index in (0, 1, 4)])


@rule("QLinearSoftmax", domain=MICROSOFT)
def quantized_softmax(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    free_of_rows(inputs[1:])
    axis = axis_of(node.whole("axis", -1), rank_of(x))
    if x.rows is not None and (x.rows.axis == axis or (node.whole("opset") < 13 and x.rows.axis > axis)):
        raise RowsMix("normalises over the rows of the batch")
    return Value(shape_of(x), x.rows)


@rule("QLinearGlobalAveragePool QLinearAveragePool", domain=MICROSOFT)
def quantized_pool(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    free_of_rows(inputs[1:])
    if x.rows is not None and x.rows.axis != 0:
        raise RowsMix("computes across the rows of the batch")
    whole = node.operator == "QLinearGlobalAveragePool" and not node.whole("channels_last")
    if whole:
        return Value((*shape_of(x)[:2], *(1 for _ in shape_of(x)[2:])), x.rows)
    return Value((shape_of(x)[0], *(fresh() for _ in shape_of(x)[1:])), x.rows)

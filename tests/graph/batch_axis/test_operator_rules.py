"""Each row of a table is a graph and what is proved of it; what is proved independent is also run."""

from __future__ import annotations

import pytest

from tests.helpers.onnx_rows import graph, made_up, rows_agree
from workbench.core.batch_proof import Verdict
from workbench.graph.batch_axis import analyse

INDEPENDENT = [
    "float[N,4] x -> y { y = Relu(x) }",
    "float[N,4] x -> y <float[4] b = {1,2,3,4}> { y = Add(x, b) }",
    "float[N,4] x, float[N,1] z -> y { y = Mul(x, z) }",
    "float[N,4] x -> y <int64[1] a = {1}> { y = ReduceMean(x, a) }",
    "float[N,4] x -> y <int64[1] a = {-1}> { y = ReduceMax<keepdims=0>(x, a) }",
    "float[N,4] x -> y { y = Softmax(x) }",
    "float[N,4] x -> y <float[4,2] w = {1,2,3,4,5,6,7,8}> { y = MatMul(x, w) }",
    "float[N,4] x -> y <float[4,2] w = {1,2,3,4,5,6,7,8}, float[2] b = {1,2}> { y = Gemm(x, w, b) }",
    "float[N,3,4] x -> y { t = Transpose<perm=[0,2,1]>(x) y = MatMul(x, t) }",
    "float[N,3,4] x -> y { y = Flatten(x) }",
    "float[N,3,4] x -> y { t = Transpose<perm=[1,0,2]>(x) r = Softmax<axis=0>(t) y = Transpose<perm=[1,0,2]>(r) }",
    "float[N,4] x -> y <int64[2] s = {-1,4}> { y = Reshape(x, s) }",
    "float[N,S,4] x -> y <int64[2] s = {-1,4}> { r = Reshape(x, s) e = Exp(r) h = Shape(x) y = Reshape(e, h) }",
    "int64[N,S] x -> y <float[2,2] w = {1,2,3,4}> { y = Gather(w, x) }",
    "float[N,4] x -> y <int64 i = {2}> { y = Gather<axis=1>(x, i) }",
    "float[N,4] x, float[N,2] z -> y { y = Concat<axis=1>(x, z) }",
    "float[N,4] x -> y { a, b = Split<axis=1, num_outputs=2>(x) y = Mul(a, b) }",
    "float[N,4] x -> y { c = Concat<axis=0>(x, x) a, b = Split<axis=0, num_outputs=2>(c) y = Add(a, b) }",
    "float[N,4] x -> y <int64[1] z = {0}, int64[1] o = {1}> { s = Shape<end=1>(x) y = Slice(x, z, s, z) }",
    "float[N,4] x -> y <int64[1] z = {0}, int64[1] a = {1}, int64[1] o = {3}> { y = Slice(x, z, o, a) }",
    "float[N,4] x -> y { s = Shape(x) c = ConstantOfShape(s) y = Add(x, c) }",
    "float[N,4] x -> y <float[1,4] b = {1,2,3,4}> { s = Shape(x) e = Expand(b, s) y = Concat<axis=1>(x, e) }",
    "float[N,4] x -> y <int64[1] k = {2}> { y, i = TopK<axis=1>(x, k) }",
    "float[N,4] x -> y <int64 a = {1}> { y = CumSum(x, a) }",
    "float[N,4] x -> y <float[4] w = {1,1,1,1}> { y = LayerNormalization(x, w) }",
    "float[N,1,4] x -> y <int64[1] a = {1}> { y = Squeeze(x, a) }",
    "float[N,4] x -> y <int64[1] a = {1}> { y = Unsqueeze(x, a) }",
    "float[N,4] x -> y <int64[4] p = {0,1,0,2}> { y = Pad(x, p) }",
    "float[N,4] x -> y <int64[2] r = {1,2}> { y = Tile(x, r) }",
    "float[N,4] x -> y <int64 z = {0}, int64 o = {1}> { s = Shape(x) w = Gather(s, o) r = Range(z, w, o) "
    "f = Cast<to=1>(r) y = Add(x, f) }",
]

DEPENDENT = [
    ("float[N,4] x -> y <int64[1] a = {0}> { m = ReduceMean(x, a) y = Sub(x, m) }", "ReduceMean 'm' reduces over"),
    ("float[N,4] x -> y { m = ReduceMax(x) y = Sub(x, m) }", "ReduceMax 'm' reduces over the rows of the batch"),
    ("float[N,4] x -> y { y = Softmax<axis=0>(x) }", "Softmax 'y' normalises over the rows of the batch"),
    ("float[N,4] x -> y <int64 a = {0}> { y = CumSum(x, a) }", "CumSum 'y' adds up along the rows"),
    ("float[N,4] x -> y { t = Transpose(x) y = MatMul(x, t) }", "pairs every row with every other row"),
    ("float[N,4] x -> y { t = Transpose(x) s = MatMul(t, x) y = MatMul(x, s) }", "sums over the rows"),
    ("float[N,4] x, float[N] z -> y { y = Add(x, z) }", "pairs every row with every other row"),
    ("float[N,4] x -> y <float[3,4] b = {1,2,3,4,5,6,7,8,9,10,11,12}> { y = Add(x, b) }", "a constant that has 3"),
    ("float[N,4] x -> y <int64 i = {0}> { f = Gather(x, i) y = Sub(x, f) }", "takes rows of the batch by their place"),
    ("float[N,4] x -> y { s = Shape<end=1>(x) f = Cast<to=1>(s) y = Div(x, f) }", "with the number of rows"),
    ("float[N] x -> y <int64 z = {0}, int64 o = {1}> { s = Shape(x) n = Squeeze(s) r = Range(z, n, o) "
    "f = Cast<to=1>(r) y = Add(x, f) }", "each row's place in the batch"),
    ("float[N,4] x -> y, h { y = Relu(x) h = Transpose(x) }", "output 'h' has its rows along axis 1"),
    ("float[N,4] x -> y, c { y = Relu(x) c = Constant<value_floats=[1.0]>() }", "output 'c' has no row for each row"),
    ("float[N,2,4] x -> y <int64[2] s = {-1,4}> { y = Reshape(x, s) }", "output 'y' has 2 slices for each row"),
    ("float[N,4] x -> y { y = Squeeze(x) }", "drops the batch axis where there is one row only"),
]  # fmt: skip

UNKNOWN = [
    ("float[N,4] x -> y { y = com.microsoft.NoSuchOperator(x) }", ("com.microsoft:NoSuchOperator",)),
    ("float[N,4] x -> y <int64[2] s = {2,-1}> { y = Reshape(x, s) }", ()),
]


@pytest.mark.parametrize("text", INDEPENDENT)
def test_rows_that_are_proved_independent_are(text: str) -> None:
    model = graph(text)
    proof = analyse(model, strict=True)
    assert proof.verdict == Verdict.INDEPENDENT, proof.reason
    assert proof.row_outputs == tuple(output.name for output in model.graph.output)
    for seed in range(2):
        assert rows_agree(model, made_up(model, rows=4, seed=seed))


@pytest.mark.parametrize(("text", "reason"), DEPENDENT)
def test_what_mixes_rows_is_named(text: str, reason: str) -> None:
    proof = analyse(graph(text), strict=True)
    assert (proof.verdict, proof.only_quantization) == (Verdict.DEPENDENT, False), proof.reason
    assert reason in proof.reason


@pytest.mark.parametrize(("text", "operators"), UNKNOWN)
def test_what_is_not_understood_is_said(text: str, operators: tuple[str, ...]) -> None:
    proof = analyse(graph(text), strict=True)
    assert proof.verdict == Verdict.UNKNOWN, proof.reason
    assert proof.operators == operators
    assert proof.reason

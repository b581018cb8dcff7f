"""Each row of a table is a graph and what is proved of it; what is proved independent is also run."""

from __future__ import annotations

import pytest

from tests.helpers.onnx_rows import graph, made_up, rows_agree
from workbench.core.batch_proof import Verdict
from workbench.graph.batch_axis import analyse

W24 = "float[4,2] w = {1,2,3,4,5,6,7,8}"
KERNEL = "float[2,3,2,2] k = {1,2,3,4,5,6,7,8,9,10,11,12,1,2,3,4,5,6,7,8,9,10,11,12}"

INDEPENDENT = [
    # Element by element.
    "float[N,4] x -> y { y = Relu(x) }",
    "float[N,4] x -> y <float[4] b = {1,2,3,4}> { y = Add(x, b) }",
    "float[N,4] x, float[N,1] z -> y { y = Mul(x, z) }",
    "float[N,4] x, float[N,4] z -> y { c = Greater(x, z) y = Where(c, x, z) }",
    "float[N,4] x -> y <float lo = {0}, float hi = {3}> { y = Clip(x, lo, hi) }",
    "float[N,4] x -> y { y, mask = Dropout(x) }",
    'string[N,2] x -> y { y = RegexFullMatch<pattern="a.*">(x) }',
    # Along an axis of each row.
    "float[N,4] x -> y <int64[1] a = {1}> { y = ReduceMean(x, a) }",
    "float[N,4] x -> y <int64[1] a = {-1}> { y = ReduceMax<keepdims=0>(x, a) }",
    "float[N,4] x -> y { y = ArgMax<axis=1>(x) }",
    "float[N,4] x -> y { y = Softmax(x) }",
    "float[N,4] x -> y <int64[1] k = {2}> { y, i = TopK<axis=1>(x, k) }",
    "float[N,4] x -> y <int64 a = {1}> { y = CumSum(x, a) }",
    "float[N,4] x -> y <float[4] w = {1,1,1,1}> { y = LayerNormalization(x, w) }",
    "float[N,4] x -> y { y = LpNormalization(x) }",
    "float[N,3,4] x -> y { t = Transpose<perm=[1,0,2]>(x) r = Softmax<axis=0>(t) y = Transpose<perm=[1,0,2]>(r) }",
    "float[N,3,4] x -> y { y = MeanVarianceNormalization<axes=[1,2]>(x) }",
    # Products.
    f"float[N,4] x -> y <{W24}> {{ y = MatMul(x, w) }}",
    f"float[N,4] x -> y <{W24}, float[2] b = {{1,2}}> {{ y = Gemm(x, w, b) }}",
    f"float[N,4] x -> y <{W24}> {{ t = Transpose(x) s = Gemm<transA=1>(t, w) y = Relu(s) }}",
    "float[N,3,4] x -> y { t = Transpose<perm=[0,2,1]>(x) y = MatMul(x, t) }",
    "float[N,3,4] x -> y <float[4] v = {1,2,3,4}> { y = MatMul(x, v) }",
    'float[N,3,4] x, float[N,5,4] z -> y { y = Einsum<equation="bqd,bkd->bqk">(x, z) }',
    'float[N,3,4] x -> y <float[4,2] w = {1,2,3,4,5,6,7,8}> { y = Einsum<equation="...d,de->...e">(x, w) }',
    # Other axes.
    "float[N,3,4] x -> y { y = Flatten(x) }",
    "float[N,4] x -> y <int64[2] s = {-1,4}> { y = Reshape(x, s) }",
    "float[N,4] x -> y <int64[3] s = {0,2,-1}> { y = Reshape(x, s) }",
    "float[N,S,4] x -> y <int64[2] s = {-1,4}> { r = Reshape(x, s) e = Exp(r) h = Shape(x) y = Reshape(e, h) }",
    "float[N,1,4] x -> y <int64[1] a = {1}> { y = Squeeze(x, a) }",
    "float[N,4] x -> y <int64[1] a = {1}> { y = Unsqueeze(x, a) }",
    # Joined, cut, padded, repeated.
    "float[N,4] x, float[N,2] z -> y { y = Concat<axis=1>(x, z) }",
    "float[N,4] x -> y { a, b = Split<axis=1, num_outputs=2>(x) y = Mul(a, b) }",
    "float[N,4] x -> y { c = Concat<axis=0>(x, x) a, b = Split<axis=0, num_outputs=2>(c) y = Add(a, b) }",
    "float[N,4] x -> y <int64[1] z = {0}, int64[1] o = {1}> { s = Shape<end=1>(x) y = Slice(x, z, s, z) }",
    "float[N,4] x -> y <int64[1] z = {0}, int64[1] a = {1}, int64[1] o = {3}> { y = Slice(x, z, o, a) }",
    "float[N,4] x -> y <int64[2] z = {0,0}, int64[2] e = {1000000000,3}> { y = Slice(x, z, e) }",
    "float[N,4] x -> y <int64[4] p = {0,1,0,2}> { y = Pad(x, p) }",
    "float[N,4] x -> y <int64[2] r = {1,2}> { y = Tile(x, r) }",
    "float[N,4] x -> y { s = Shape(x) c = ConstantOfShape(s) y = Add(x, c) }",
    "float[N,4] x -> y <float[1,4] b = {1,2,3,4}> { s = Shape(x) e = Expand(b, s) y = Concat<axis=1>(x, e) }",
    "float[N,4] x -> y <int64 z = {0}, int64 o = {1}> { s = Shape(x) w = Gather(s, o) r = Range(z, w, o) "
    "f = Cast<to=1>(r) y = Add(x, f) }",
    # By index.
    "int64[N,S] x -> y <float[2,2] w = {1,2,3,4}> { y = Gather(w, x) }",
    "float[N,4] x -> y <int64 i = {2}> { y = Gather<axis=1>(x, i) }",
    "float[N,4] x, int64[N,2] i -> y { y = GatherElements<axis=1>(x, i) }",
    "float[N,4] x, int64[N,1] i -> y { y = GatherND<batch_dims=1>(x, i) }",
    "float[N,3,2] x, int64[N] i -> y <int64 z = {0}, int64 o = {1}, int64[1] l = {1}> { s = Shape(x) n = Gather(s, z) "
    "p = Range(z, n, o) a = Unsqueeze(p, l) b = Unsqueeze(i, l) c = Concat<axis=1>(a, b) y = GatherND(x, c) }",
    "float[N,4] x, int64[N,2] i, float[N,2] u -> y { y = ScatterElements<axis=1>(x, i, u) }",
    "float[N,4] x -> y <bool[4] c = {1,0,1,1}> { y = Compress<axis=1>(x, c) }",
    "int64[N,2] x -> y <int64 d = {3}, float[2] v = {0,1}> { y = OneHot(x, d, v) }",
    "float[N,3,4] x -> y { y = Trilu(x) }",
    "float[N,3,4] x, int64[N] n -> y <int64 o = {1}> { m = Add(n, o) "
    "y = ReverseSequence<batch_axis=0,time_axis=1>(x, m) }",
    # Sequences.
    "float[N,4] x -> y <int64 i = {2}> { s = SplitToSequence<axis=1>(x) a = SequenceAt(s, i) y = Relu(a) }",
    "float[N,4] x -> y { e = Exp(x) s = SequenceConstruct(x, e) y = ConcatFromSequence<axis=1>(s) }",
    "float[N,4] x -> y { s = SequenceEmpty() t = SequenceInsert(s, x) y = ConcatFromSequence<axis=1,new_axis=1>(t) }",
    # Images.
    f"float[N,3,5,5] x -> y <{KERNEL}> {{ y = Conv(x, k) }}",
    "float[N,3,6,6] x -> y { p = MaxPool<kernel_shape=[2,2],strides=[2,2]>(x) f = Flatten(p) y = Relu(f) }",
    "float[N,3,6,6] x -> y <int64[2] s = {-1,27}> { p = AveragePool<kernel_shape=[2,2],strides=[2,2]>(x) "
    "y = Reshape(p, s) }",
    "float[N,3,5,5] x -> y { y = GlobalAveragePool(x) }",
    "float[N,2,4] x -> y <float[2] s = {1,2}, float[2] b = {0,1}, float[2] m = {0,1}, float[2] v = {1,2}> "
    "{ y = BatchNormalization(x, s, b, m, v) }",
    "float[N,2,4] x -> y <float[2] s = {1,2}, float[2] b = {0,1}> { y = InstanceNormalization(x, s, b) }",
    "float[N,1,3,3] x -> y <float[4] s = {1,1,2,2}> { y = Resize(x, , s) }",
    "float[N,4,2,2] x -> y { y = DepthToSpace<blocksize=2>(x) }",
    "float[N,1,4,4] x, float[N,2,2,2] g -> y { s = Sigmoid(g) y = GridSample(x, s) }",
    # Step by step.
    "float[N,3,4] x, float[1,8,4] w, float[1,8,2] r -> y { s = Transpose<perm=[1,0,2]>(x) "
    "o, h, c = LSTM<hidden_size=2>(s, w, r) t = Transpose<perm=[2,0,1,3]>(o) y = Tanh(t) }",
    # ai.onnx.ml.
    "float[N,2] x -> y { y = ai.onnx.ml.Scaler<offset=[1.0,2.0],scale=[2.0,3.0]>(x) }",
    "float[N,2] x -> y { y = ai.onnx.ml.LinearRegressor<coefficients=[1.0,2.0],intercepts=[0.5]>(x) }",
    "float[N,2] x -> l, p { l, p = ai.onnx.ml.LinearClassifier<classlabels_ints=[0,1,2],"
    "coefficients=[1.0,2.0,3.0,4.0,5.0,6.0],intercepts=[0.1,0.2,0.3]>(x) }",
    "float[N,2] x -> y <int64[3] n = {7,8,9}, int64[1] s = {-1}> { a = ArgMax<axis=1>(x) "
    "e = ai.onnx.ml.ArrayFeatureExtractor(n, a) y = Reshape(e, s) }",
    'float[N,2] x -> y { y = ai.onnx.ml.Normalizer<norm="L2">(x) }',
    "int64[N,1] x, float[2,3] w -> y { p = ai.onnx.ml.ArrayFeatureExtractor(w, x) y = Transpose(p) }",
    # Quantized with scales of the model.
    "float[N,4] x -> y <float s = {0.5}, uint8 z = {3}> { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }",
    # Rows that are quantized each by itself.
    "float[N,4] x -> y <int64[1] a = {1}, float c = {100}> { b = Abs(x) m = ReduceMax(b, a) s = Div(m, c) "
    "d = Div(x, s) r = Round(d) y = Mul(r, s) }",
    # What no output needs.
    "float[N,4] x -> y { m = ReduceMax(x) u = Sub(x, m) y = Relu(x) }",
]

DEPENDENT = [
    ("float[N,4] x -> y <int64[1] a = {0}> { m = ReduceMean(x, a) y = Sub(x, m) }", "ReduceMean 'm' reduces over"),
    ("float[N,4] x -> y { m = ReduceMax(x) y = Sub(x, m) }", "ReduceMax 'm' reduces over the rows of the batch"),
    ("float[N,4] x -> y { y = Softmax<axis=0>(x) }", "Softmax 'y' normalises over the rows of the batch"),
    ("float[N,4] x -> y <int64 a = {0}> { y = CumSum(x, a) }", "CumSum 'y' adds up along the rows"),
    ("float[N,4] x -> y <int64[1] k = {1}> { y, i = TopK<axis=0>(x, k) }", "TopK 'y' sorts the rows"),
    ("float[N,4] x -> y { y = ArgMax<axis=0>(x) }", "largest or smallest of the rows"),
    ("float[N,4,2,2] x -> y { y = MeanVarianceNormalization(x) }", "normalises over the rows"),
    ("float[N,2,4] x -> y <float[2] s = {1,2}, float[2] b = {0,1}, float[2] m = {0,1}, float[2] v = {1,2}> "
     "{ y, rm, rv = BatchNormalization<training_mode=1>(x, s, b, m, v) }", "BatchNormalization 'y' is in training"),
    ("float[N,4] x -> y { t = Transpose(x) y = MatMul(x, t) }", "pairs every row with every other row"),
    ("float[N,4] x -> y { t = Transpose(x) s = MatMul(t, x) y = MatMul(x, s) }", "sums over the rows"),
    ('float[N,4] x -> y { y = Einsum<equation="nd,nd->d">(x, x) }', "Einsum 'y' sums over the rows"),
    ('float[N,4] x -> y { y = Einsum<equation="nd,md->nm">(x, x) }', "pairs every row with every other row"),
    ("float[N,4] x, float[N] z -> y { y = Add(x, z) }", "pairs every row with every other row"),
    ("float[N,4] x -> y <float[3,4] b = {1,2,3,4,5,6,7,8,9,10,11,12}> { y = Add(x, b) }", "a constant that has 3"),
    ("float[N,4] x -> y <int64 i = {0}> { f = Gather(x, i) y = Sub(x, f) }", "takes rows of the batch by their place"),
    ("float[N,4] x -> y <int64[1] z = {0}, int64[1] o = {1}> { f = Slice(x, z, o) y = Sub(x, f) }", "by their place"),
    ("float[N,4] x -> y <int64[1] z = {-1}, int64[1] o = {-9223372036854775807}, int64[1] a = {0}> "
     "{ y = Slice(x, z, o, a, z) }", "by their place"),
    ("float[N,4] x -> y <int64[4] p = {1,0,1,0}> { y = Pad(x, p) }", "pads the batch with more rows"),
    ("float[N,4] x -> y <float[1,4] c = {1,2,3,4}> { y = Concat<axis=0>(c, x) }", "joins more rows"),
    ("float[N,1,4] x -> y <float[1,1,4] c = {1,2,3,4}> { y = Concat<axis=1>(c, x) }", "with one row only"),
    ("float[N,4] x -> y { s = Shape<end=1>(x) f = Cast<to=1>(s) y = Div(x, f) }", "with the number of rows"),
    ("float[N] x -> y <int64 z = {0}, int64 o = {1}> { s = Shape(x) n = Squeeze(s) r = Range(z, n, o) "
     "f = Cast<to=1>(r) y = Add(x, f) }", "each row's place in the batch"),
    ("float[N,4] x -> y <int64 i = {0}> { s = SplitToSequence<axis=0>(x) y = SequenceAt(s, i) }", "splits the batch"),
    ("float[N,4] x -> y { y = EyeLike(x) }", "each row's place in the batch"),
    ("float[N,4] x -> y, h { y = Relu(x) h = Transpose(x) }", "output 'h' has its rows along axis 1"),
    ("float[N,4] x -> y, c { y = Relu(x) c = Constant<value_floats=[1.0]>() }", "output 'c' has no row for each row"),
    ("float[N,4] x -> y, s { y = Relu(x) s = Shape(x) }", "output 's' tells how many rows"),
    ("float[N,2,4] x -> y <int64[2] s = {-1,4}> { y = Reshape(x, s) }", "output 'y' has 2 slices for each row"),
    ("float[N,4] x -> y <int64[2] r = {2,1}> { y = Tile(x, r) }", "output 'y' repeats the rows 2 times"),
    ("float[N,4] x -> y { y = Squeeze(x) }", "drops the batch axis where there is one row only"),
    ("float[N,2] x -> y { n = NonZero(x) y = Transpose(n) }", "NonZero 'n' gives as many as it finds"),
    ("float[N] x -> y { y = Unique<sorted=1>(x) }", "Unique 'y' gives as many as it finds"),
    ("float[N,4] x, bool[N] c -> y { y = Compress<axis=0>(x, c) }", "keeps some elements of the whole batch only"),
    ("float[N,3,4] b, float[N,2,3] s -> y { y = NonMaxSuppression(b, s) }", "NonMaxSuppression 'y' gives as many"),
    ("float[N,3,4] x, float[1,8,4] w, float[1,8,2] r -> y "
     "{ y, h, c = LSTM<hidden_size=2>(x, w, r) }", "LSTM 'y' steps through the rows"),
    ("float[N,2,4,4] x, float[N,4] r, int64[N] b -> y { y = RoiAlign(x, r, b) }", "picks images by their place"),
    ("float[N,2,4,4] x -> y, i { y, i = MaxPool<kernel_shape=[2,2]>(x) }", "count through the whole batch"),
    ("float[N,4] x -> y { r = RandomNormalLike(x) y = Add(x, r) }", "RandomNormalLike 'r' is random"),
    ("float[N,4] x -> y <float r = {0.5}, bool t = {1}> { y = Dropout(x, r, t) }", "Dropout 'y' is random"),
    ("float[N] x -> y { y = ai.onnx.ml.Scaler<offset=[1.0],scale=[2.0]>(x) }", "for the features of one"),
    ("string[N] x -> y { y, n = StringSplit<delimiter=\" \">(x) }", "text with the most parts in the batch"),
    ("float[N,3] x, int64[N] t -> y { y = SoftmaxCrossEntropyLoss(x, t) }", "reduces over the rows"),
]  # fmt: skip

QUANTIZED = [
    "float[N,4] x -> y { q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z) }",
    "float[N,4] x -> y <uint8[4,2] w = {1,2,3,4,5,6,7,8}> { q, s, z = DynamicQuantizeLinear(x) "
    "m = MatMulInteger(q, w, z) f = Cast<to=1>(m) y = Mul(f, s) }",
    "float[N,4] x -> y <uint8[4,2] w = {1,2,3,4,5,6,7,8}, float v = {0.1}, uint8 z = {0}> "
    "{ y = com.microsoft.DynamicQuantizeMatMul(x, w, v, z) }",
]

UNKNOWN = [
    ("float[N,4] x -> y { y = com.microsoft.NoSuchOperator(x) }", ("com.microsoft:NoSuchOperator",)),
    ("float[N,4] x -> y { a = SomethingNew(x) b = SomethingNew(a) y = Other(b) }", ("SomethingNew", "Other")),
    ("float[N,4] x -> y <int64[2] s = {2,-1}> { y = Reshape(x, s) }", ()),
    ("float[N,4] x -> y <float[1,2] w = {1,2}> { q, s, z = DynamicQuantizeLinear(x) r = Strange(w, q) y = Relu(r) }",
     ("Strange",)),
    ("float[N,4] x -> y { q, s, z = DynamicQuantizeLinear(x) r = Strange(s) y = Mul(x, r) }", ("Strange",)),
]  # fmt: skip


@pytest.mark.parametrize("text", INDEPENDENT)
def test_rows_that_are_proved_independent_are(text: str) -> None:
    model = graph(text, opset=20)
    proof = analyse(model, strict=True)
    assert proof.verdict == Verdict.INDEPENDENT, proof.reason
    assert proof.row_outputs == tuple(output.name for output in model.graph.output)
    for seed in range(2):
        assert rows_agree(model, made_up(model, rows=4, seed=seed))


@pytest.mark.parametrize(("text", "reason"), DEPENDENT)
def test_what_mixes_rows_is_named(text: str, reason: str) -> None:
    proof = analyse(graph(text, opset=20), strict=True)
    assert (proof.verdict, proof.only_quantization) == (Verdict.DEPENDENT, False), proof.reason
    assert reason in proof.reason


@pytest.mark.parametrize("text", QUANTIZED)
def test_dynamic_quantization_is_told_from_other_ways_to_mix_rows(text: str) -> None:
    proof = analyse(graph(text), strict=True)
    assert (proof.verdict, proof.only_quantization) == (Verdict.DEPENDENT, True), proof.reason
    assert "takes one scale for the whole batch" in proof.reason


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ("d = DequantizeLinear(q, s, z) y = Softmax<axis=0>(d)", "Softmax 'y' normalises over the rows of the batch"),
        ("y = Div(x, s)", "Div 'y' computes with a scale that the whole batch shares"),
        ("y = Mul(x, s)", "Mul 'y' computes with a scale that the whole batch shares"),
    ],
)
def test_rows_that_are_mixed_by_more_than_quantization_are_not_excused(nodes: str, reason: str) -> None:
    proof = analyse(graph(f"float[N,4] x -> y {{ q, s, z = DynamicQuantizeLinear(x) {nodes} }}"), strict=True)
    assert (proof.verdict, proof.only_quantization, proof.reason) == (Verdict.DEPENDENT, False, reason)


@pytest.mark.parametrize(("text", "operators"), UNKNOWN)
def test_what_is_not_understood_is_said(text: str, operators: tuple[str, ...]) -> None:
    proof = analyse(graph(text), strict=True)
    assert proof.verdict == Verdict.UNKNOWN, proof.reason
    assert proof.operators == operators
    assert proof.reason

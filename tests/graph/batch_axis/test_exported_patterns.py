"""What exporters write: shapes computed from Shape, rows and steps in one axis, rows found by their place."""

from __future__ import annotations

import pytest

from tests.helpers.onnx_rows import graph, made_up, rows_agree
from workbench.core.batch_proof import Verdict
from workbench.graph.batch_axis import analyse

SIZES = "int64 zero = {0}, int64 one = {1}, int64[1] at0 = {0}, int64[1] at1 = {1}, int64[1] open = {-1}"
ATTENTION = (
    f"float[N,S,8] x -> y <{SIZES}, int64[1] heads = {{2}}, int64[1] width = {{4}}, int64[1] all = {{8}}> "
    "{ s = Shape(x) n0 = Gather(s, zero) n = Unsqueeze(n0, at0) t0 = Gather(s, one) t = Unsqueeze(t0, at0) "
    "cut = Concat<axis=0>(n, t, heads, width) r = Reshape(x, cut) q = Transpose<perm=[0,2,1,3]>(r) "
    "k = Transpose<perm=[0,2,3,1]>(r) w = MatMul(q, k) p = Softmax<axis=-1>(w) o = MatMul(p, q) "
    "b = Transpose<perm=[0,2,1,3]>(o) back = Concat<axis=0>(n, t, all) y = Reshape(b, back) }"
)
STEPS_FIRST = (  # torch's MultiheadAttention: [steps, batch * heads, width]
    f"float[N,S,8] x -> y <{SIZES}, int64 two = {{2}}, int64[1] width = {{4}}, int64[1] all = {{8}}> "
    "{ f = Transpose<perm=[1,0,2]>(x) s = Shape(f) t0 = Gather(s, zero) n0 = Gather(s, one) m0 = Mul(n0, two) "
    "t = Unsqueeze(t0, at0) m = Unsqueeze(m0, at0) tn0 = Mul(t0, n0) tn = Unsqueeze(tn0, at0) n = Unsqueeze(n0, at0) "
    "cut = Concat<axis=0>(t, m, width) r = Reshape(f, cut) q = Transpose<perm=[1,0,2]>(r) "
    "k = Transpose<perm=[1,2,0]>(r) w = MatMul(q, k) p = Softmax<axis=-1>(w) o = MatMul(p, q) "
    "b = Transpose<perm=[1,0,2]>(o) flat = Concat<axis=0>(tn, all) l = Reshape(b, flat) e = Exp(l) "
    "back = Concat<axis=0>(t, n, all) u = Reshape(e, back) y = Transpose<perm=[1,0,2]>(u) }"
)
MASK_BY_COLUMN = (  # torch.onnx's dynamo exporter: mask[arange(batch), arange(steps)]
    f"int64[N,S] mask, float[N,S] x -> y <{SIZES}, int64[1] last = {{-1}}> "
    "{ s = Shape(mask) n = Gather(s, zero) t = Gather(s, one) i0 = Range(zero, n, one) i = Unsqueeze(i0, at1) "
    "j0 = Range(zero, t, one) j = Unsqueeze(j0, at0) m = Max(i, j) both = Shape(m) ie = Expand(i, both) "
    "je = Expand(j, both) iu = Unsqueeze(ie, last) ju = Unsqueeze(je, last) at = Concat<axis=-1>(iu, ju) "
    "g = GatherND(mask, at) b = Cast<to=9>(g) z = Neg(x) y = Where(b, x, z) }"
)
MASK_BY_NUMBER = (  # its TorchScript exporter: mask.flatten()[arange(batch) * steps + arange(steps)]
    f"int64[N,S] mask, float[N,S] x -> y <{SIZES}> "
    "{ s = Shape(mask) n = Gather(s, zero) t = Gather(s, one) i0 = Range(zero, n, one) i = Unsqueeze(i0, at1) "
    "j0 = Range(zero, t, one) j = Unsqueeze(j0, at0) f = Flatten<axis=2>(mask) p = Mul(i, t) a = Add(j, p) "
    "g = Gather(f, a) r = Reshape(g, open) both = Shape(a) h = Reshape(r, both) b = Cast<to=9>(h) z = Neg(x) "
    "y = Where(b, x, z) }"
)
LAST_STEP = (  # the step of the largest number of each row, by arange(batch) * steps + argmax
    f"int64[N,3] ids, float[N,3,2] x -> y <{SIZES}, int64[1] two = {{2}}> "
    "{ s = Shape(ids) n = Gather(s, zero) i = Range(zero, n, one) e = ArgMax<axis=1,keepdims=0>(ids) d = Shape(x) "
    "u = Gather(d, at1) p = Mul(i, u) a = Add(e, p) cut = Concat<axis=0>(open, two) f = Reshape(x, cut) "
    "y = Gather(f, a) }"
)
EXPAND = (  # torch's expand(-1, batch, -1), where -1 keeps a size
    f"float[N,S] x, float[1,1,4] v -> y <{SIZES}, int64 minus = {{-1}}> "
    "{ n = Shape<end=1>(x) w = Concat<axis=0>(n, open, open) k = Shape(w) "
    "o = ConstantOfShape<value: tensor = int64[1] {1}>(k) m = Mul(o, minus) e = Equal(w, m) c = Where(e, o, w) "
    "y = Expand(v, c) }"
)
SMALL_NETWORK = (
    "float[N,1,6,6] x -> y <float[2,1,3,3] k = {1,2,3,4,5,6,7,8,9,9,8,7,6,5,4,3,2,1}, float[8,2] w = "
    "{1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8}, int64[2] s = {-1,8}> { c = Conv(x, k) r = Relu(c) "
    "p = MaxPool<kernel_shape=[2,2],strides=[2,2]>(r) f = Reshape(p, s) d = MatMul(f, w) y = Softmax<axis=-1>(d) }"
)
RECURRENT = (
    f"int64[N,S] x, float[1,8,2] w, float[1,8,2] r -> y <{SIZES}, float[2,2] e = {{1,2,3,4}}, int64[1] two = {{2}}, "
    "int64[1] ways = {1}> { g = Gather(e, x) s = Shape(x) n0 = Gather(s, zero) n = Unsqueeze(n0, at0) "
    "c = Concat<axis=0>(ways, n, two) h = ConstantOfShape(c) t = Transpose<perm=[1,0,2]>(g) "
    "o, hn, cn = LSTM<hidden_size=2>(t, w, r, , , h, h) q = Squeeze(o, at1) b = Transpose<perm=[1,0,2]>(q) "
    "y = Gather<axis=1>(b, zero) }"
)

PATTERNS = {
    "attention": ATTENTION,
    "steps first": STEPS_FIRST,
    "mask by column": MASK_BY_COLUMN,
    "mask by number": MASK_BY_NUMBER,
    "last step": LAST_STEP,
    "expand": EXPAND,
    "small network": SMALL_NETWORK,
    "recurrent": RECURRENT,
}


@pytest.mark.parametrize("name", PATTERNS)
def test_what_exporters_write_is_followed(name: str) -> None:
    model = graph(PATTERNS[name])
    proof = analyse(model, strict=True)
    assert proof.verdict == Verdict.INDEPENDENT, proof.reason
    assert rows_agree(model, made_up(model, rows=4))


def test_axes_with_one_name_have_one_size_where_nothing_else_tells() -> None:
    """torch's dynamo exporter takes the length of the ids from the mask."""
    text = "int64[N,S] ids, float[N,{width}] mask -> y <int64[1] open = {{-1}}> {{ t = Shape<start=1>(mask) " \
           "to = Concat<axis=0>(open, t) r = Reshape(ids, to) f = Cast<to=1>(r) y = Mul(f, mask) }}"  # fmt: skip
    assert analyse(graph(text.format(width="S")), strict=True).verdict == Verdict.INDEPENDENT
    assert analyse(graph(text.format(width="T")), strict=True).verdict == Verdict.UNKNOWN

"""Small models whose rows share a run rightly or wrongly, as ONNX's own text, with rows that show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

RowOf = Callable[[np.random.Generator, int], NDArray]


@dataclass(frozen=True)
class Situation:
    name: str
    text: str
    """The graph; a row is its one input `x`."""
    row: RowOf
    """Of a generator and the caller's number, its row: an array with a first axis of 1."""

    @property
    def model(self) -> ModelProto:
        head = '<ir_version: 9, opset_import: ["": 17]>\n'
        model = onnx.parser.parse_model(head + self.text)
        onnx.checker.check_model(model)
        return model


def normal(*shape: int) -> RowOf:
    return lambda rng, caller: rng.standard_normal((1, *shape)).astype(np.float32)


def unequal(*shape: int) -> RowOf:
    """Callers send numbers of very different magnitudes."""
    return lambda rng, caller: (rng.standard_normal((1, *shape)) * (0.01, 1, 100)[caller % 3]).astype(np.float32)


def whole(below: int, *shape: int, dtype: type = np.int64) -> RowOf:
    return lambda rng, caller: rng.integers(0, below, (1, *shape)).astype(dtype)


def pixels(*shape: int) -> RowOf:
    """Images that are dark or bright."""
    return lambda rng, caller: rng.integers(0, (40, 255, 120)[caller % 3] + 1, (1, *shape)).astype(np.uint8)


def table(rows: int, columns: int) -> str:
    numbers = ", ".join(str(place * 37 % 101 / 8) for place in range(rows * columns))
    return f"float[{rows}, {columns}] table = {{{numbers}}}"


_QUANTIZED = """
    q, s, z = DynamicQuantizeLinear(f)
    whole = MatMulInteger(q, w, z)
    product = Cast<to=1>(whole)
    both = Mul(s, ws)
    scores = Mul(product, both)
"""
_WEIGHTS = "int8[4, 3] w = {1, -3, 5, 7, 90, -100, 11, 13, -17, 19, 23, 29}, float ws = {0.01}"

DEPENDENT = (
    Situation(
        "contrast over the whole batch of uint8 images",
        """g (uint8[N, 8, 8] x) => (float[N, 8, 8] y) <float one = {1}> {
            f = Cast<to=1>(x)
            low = ReduceMin<keepdims=0>(f)
            high = ReduceMax<keepdims=0>(f)
            top = Sub(f, low)
            span = Sub(high, low)
            safe = Max(span, one)
            y = Div(top, safe)
        }""",
        pixels(8, 8),
    ),
    Situation(
        "dynamic quantization of float features",
        f"g (float[N, 4] x) => (float[N, 3] scores) <{_WEIGHTS}> {{ f = Identity(x) {_QUANTIZED} }}",
        unequal(4),
    ),
    Situation(
        "dynamic quantization, of which only a label is given",
        f"""g (float[N, 4] x) => (int64[N] label) <{_WEIGHTS}> {{
            f = Identity(x) {_QUANTIZED} label = ArgMax<axis=1, keepdims=0>(scores)
        }}""",
        unequal(4),
    ),
    Situation(
        "dynamic quantization of pixels",
        f"g (uint8[N, 4] x) => (float[N, 3] scores) <{_WEIGHTS}> {{ f = Cast<to=1>(x) {_QUANTIZED} }}",
        pixels(4),
    ),
    Situation(
        "a mask as wide as the longest of the batch",
        """g (int64[N] x) => (bool[N, L] mask) <int64 zero = {0}, int64 one = {1}, int64[1] last = {1}> {
            most = ReduceMax<keepdims=0>(x)
            places = Range(zero, most, one)
            column = Unsqueeze(x, last)
            mask = Less(places, column)
        }""",
        lambda rng, caller: rng.integers(1, 9, 1),
    ),
    Situation(
        "detections, 0 to 2 for an image",
        """g (float[N, 2] x) => (float[M, 1] found)
        <float[2] limits = {-100, 100}, float zero = {0}, int64[1] last = {1}> {
            over = Sub(x, limits)
            hit = Greater(over, zero)
            where = NonZero(hit)
            pairs = Transpose<perm=[1, 0]>(where)
            scores = GatherND(x, pairs)
            found = Unsqueeze(scores, last)
        }""",
        lambda rng, caller: (np.array([((500, 600), (-500, 1))[caller % 2]]) + caller * 0.01).astype(np.float32),
    ),
    Situation(
        "rows chosen by a threshold",
        """g (float[N, 2] x) => (float[M, 2] kept) <float limit = {100}> {
            most = ReduceMax<axes=[1], keepdims=0>(x)
            above = Greater(most, limit)
            kept = Compress<axis=0>(x, above)
        }""",
        lambda rng, caller: np.full((1, 2), caller % 2 * 150 + 1, np.float32),
    ),
    Situation(
        "each distinct row once",
        "g (float[N, 2] x) => (float[M, 2] y) { y = Unique<axis=0>(x) }",
        lambda rng, caller: np.full((1, 2), caller % 3, np.float32),
    ),
    Situation(
        "boxes that suppress those of other images",
        """g (float[N, 4] x) => (int64[M, 3] chosen)
        <int64[1] first = {0}, float[1] overlap = {0.5}, float[1] least = {0}, int64[1] most = {9}> {
            boxes = Unsqueeze(x, first)
            row = ReduceSum<keepdims=0>(x, axis)
            two = Unsqueeze(row, first)
            scores = Unsqueeze(two, first)
            chosen = NonMaxSuppression(boxes, scores, most, overlap, least)
        }""".replace("int64[1] first", "int64[1] axis = {1}, int64[1] first"),
        lambda rng, caller: np.array([[0, 0, 1 + caller % 2 / 10, 1]], np.float32),
    ),
    Situation(
        "the mean of the batch taken off",
        "g (float[N, 4] x) => (float[N, 4] y) { m = ReduceMean<axes=[0]>(x) y = Sub(x, m) }",
        normal(4),
    ),
    Situation("softmax over the batch", "g (float[N, 4] x) => (float[N, 4] y) { y = Softmax<axis=0>(x) }", normal(4)),
    Situation(
        "running sum over the batch",
        "g (float[N, 4] x) => (float[N, 4] y) <int64 axis = {0}> { y = CumSum(x, axis) }",
        normal(4),
    ),
    Situation(
        "the batch sorted",
        """g (float[N, 4] x) => (float[N, 4] y) {
            n = Shape<start=0, end=1>(x)
            y, places = TopK<axis=0>(x, n)
        }""",
        normal(4),
    ),
    Situation(
        "a branch taken by the largest of the batch",
        """g (float[N, 2] x) => (float[N, 2] y) <float limit = {100}> {
            most = ReduceMax<keepdims=0>(x)
            above = Greater(most, limit)
            y = If (above) <
                then_branch = then () => (float[N, 2] a) { a = Neg(x) },
                else_branch = other () => (float[N, 2] b) { b = Identity(x) }
            >
        }""",
        lambda rng, caller: np.full((1, 2), caller % 5 * 40, np.float32),
    ),
    Situation(
        "a table whose first axis no input names",
        """g (float[N, 2] x) => (float[N, 2] y, float[A, 2] anchors)
        <float[2, 2] table = {1, 2, 3, 4}, float two = {2}> {
            y = Relu(x)
            anchors = Mul(table, two)
        }""",
        normal(2),
    ),
    Situation(
        "each row's place in the batch",
        """g (float[N, 2] x) => (float[N, 2] y) <int64 zero = {0}, int64 one = {1}, int64[1] last = {1}> {
            shape = Shape<start=0, end=1>(x)
            n = Squeeze(shape)
            places = Range(zero, n, one)
            floats = Cast<to=1>(places)
            column = Unsqueeze(floats, last)
            y = Add(x, column)
        }""",
        normal(2),
    ),
    Situation(
        "a share of the batch",
        """g (float[N, 2] x) => (float[N, 2] y) {
            n = Shape<start=0, end=1>(x)
            count = Cast<to=1>(n)
            y = Div(x, count)
        }""",
        normal(2),
    ),
    Situation(
        "the batch in the opposite order",
        """g (float[N, 2] x) => (float[N, 2] y)
        <int64[1] last = {-1}, int64[1] before = {-9999999}, int64[1] axis = {0}> {
            y = Slice(x, last, before, axis, last)
        }""",
        normal(2),
    ),
    Situation("a triangle of the batch", "g (float[N, 4] x) => (float[N, 4] y) { y = Trilu<upper=0>(x) }", normal(4)),
    Situation(
        "attention of all rows to all rows",
        """g (float[N, 4] x) => (float[N, 4] y) {
            t = Transpose<perm=[1, 0]>(x)
            scores = MatMul(x, t)
            shares = Softmax<axis=-1>(scores)
            y = MatMul(shares, x)
        }""",
        normal(4),
    ),
    Situation(
        "a recurrent net that takes the rows for its time",
        """g (float[N, 1, 2] x) => (float[N, 2] y)
        <float[1, 2, 2] w = {0.5, -0.5, 1, 0.25}, float[1, 2, 2] r = {1, 0.5, -0.5, 1}, int64[2] middle = {1, 2}> {
            whole, last = RNN<hidden_size=2>(x, w, r)
            y = Squeeze(whole, middle)
        }""",
        normal(1, 2),
    ),
    Situation(
        "rows that are turned into columns and back a different way",
        """g (float[N, 4] x) => (float[N, 4] y) <int64[2] wide = {4, -1}, int64[2] tall = {-1, 4}> {
            columns = Reshape(x, wide)
            soft = Softmax<axis=1>(columns)
            y = Reshape(soft, tall)
        }""",
        normal(4),
    ),
)
"""Callers get each other's data where these are batched."""

INDEPENDENT = (
    Situation(
        "a classifier of bytes",
        f"""g (uint8[N, 16] x) => (float[N, 2] y) <{table(256, 3)}, float[3, 2] w = {{1, 2, 3, -1, 0, 1}}> {{
            ids = Cast<to=7>(x)
            seen = Gather(table, ids)
            mean = ReduceMean<axes=[1], keepdims=0>(seen)
            y = MatMul(mean, w)
        }}""",
        whole(256, 16, dtype=np.uint8),
    ),
    Situation(
        "ids that come as floats",
        f"""g (float[N, 3] x) => (float[N, 3, 2] y) <{table(10, 2)}> {{
            ids = Cast<to=7>(x)
            y = Gather(table, ids)
        }}""",
        lambda rng, caller: rng.integers(0, 10, (1, 3)).astype(np.float32),
    ),
    Situation(
        "ids of a large table",
        f"g (int64[N, 3] x) => (float[N, 3, 2] y) <{table(1000, 2)}> {{ y = Gather(table, x) }}",
        whole(1000, 3),
    ),
    Situation(
        "a threshold of each number",
        """g (float[N, 4] x) => (float[N, 4] y) <float limit = {100}, float zero = {0}> {
            above = Greater(x, limit)
            y = Where(above, x, zero)
        }""",
        lambda rng, caller: (rng.random((1, 4)) * 200).astype(np.float32),
    ),
    Situation(
        "contrast of each image",
        """g (uint8[N, 8, 8] x) => (float[N, 8, 8] y) <float one = {1}> {
            f = Cast<to=1>(x)
            low = ReduceMin<axes=[1, 2]>(f)
            high = ReduceMax<axes=[1, 2]>(f)
            top = Sub(f, low)
            span = Sub(high, low)
            safe = Max(span, one)
            y = Div(top, safe)
        }""",
        pixels(8, 8),
    ),
    Situation(
        "attention within each row, its heads split and merged",
        """g (float[N, 3, 4] x) => (float[N, 3, 4] y) <int64[4] heads = {0, 3, 2, 2}, int64[3] whole = {0, 3, 4}> {
            split = Reshape(x, heads)
            q = Transpose<perm=[0, 2, 1, 3]>(split)
            k = Transpose<perm=[0, 2, 3, 1]>(split)
            scores = MatMul(q, k)
            shares = Softmax<axis=-1>(scores)
            seen = MatMul(shares, q)
            back = Transpose<perm=[0, 2, 1, 3]>(seen)
            y = Reshape(back, whole)
        }""",
        normal(3, 4),
    ),
    Situation(
        "features of each step, with rows and steps merged",
        """g (float[N, 3, 4] x) => (float[N, 3, 2] y)
        <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}, int64[2] flat = {-1, 4}, int64[2] rest = {3, 2}> {
            merged = Reshape(x, flat)
            product = MatMul(merged, w)
            n = Shape<start=0, end=1>(x)
            shape = Concat<axis=0>(n, rest)
            y = Reshape(product, shape)
        }""",
        normal(3, 4),
    ),
    Situation(
        "a recurrent net whose time was brought in front",
        """g (float[N, 5, 2] x) => (float[N, 2] y)
        <float[1, 2, 2] w = {0.5, -0.5, 1, 0.25}, float[1, 2, 2] r = {1, 0.5, -0.5, 1}, int64[1] first = {0}> {
            steps = Transpose<perm=[1, 0, 2]>(x)
            whole, last = RNN<hidden_size=2>(steps, w, r)
            y = Squeeze(last, first)
        }""",
        normal(5, 2),
    ),
    Situation(
        "a label of each row",
        """g (float[N, 4] x) => (int64[N] label, float[N, 4] shares) {
            shares = Softmax<axis=-1>(x)
            label = ArgMax<axis=-1, keepdims=0>(shares)
        }""",
        normal(4),
    ),
    Situation(
        "numbers of very different magnitudes, normalised within the row",
        """g (float[N, 4] x) => (float[N, 4] y) <float[4] one = {1, 1, 1, 1}> {
            y = LayerNormalization<axis=-1>(x, one)
        }""",
        unequal(4),
    ),
)
"""These gain from batches, and must get them."""

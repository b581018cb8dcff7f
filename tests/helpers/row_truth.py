"""Tells from runs of ONNX Runtime alone whether rows that share a run change each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto
from onnx.helper import tensor_dtype_to_np_dtype

Feeds = Mapping[str, NDArray]
TOLERANCE = 1e-4
"""Of the row's own magnitude: what kernels that sum in another order may differ by."""
ROUNDING = 1e-2
"""Of the row's own magnitude: what no rounding reaches. A row beside copies of itself may be off by less."""
MAGNITUDES = (1e-2, 1.0, 1e2)


class BareModel:
    """A model in ONNX Runtime on one thread, without the service."""

    def __init__(self, model: onnx.ModelProto | str, optimised: bool = True) -> None:
        """Raises what ONNX Runtime raises for a model that it does not take."""
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        if not optimised:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        source = model if isinstance(model, str) else model.SerializeToString()
        self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self._options = ort.RunOptions()
        self._options.log_severity_level = 4
        self.outputs = [each.name for each in self._session.get_outputs()]
        self.shapes = {
            each.name: list(each.shape) for each in (*self._session.get_inputs(), *self._session.get_outputs())
        }
        """Of inputs and outputs, as ONNX Runtime has inferred them: a free axis is a name or None."""

    def __call__(self, feeds: Feeds) -> dict[str, NDArray]:
        found = self._session.run(self.outputs, dict(feeds), self._options)
        return dict(zip(self.outputs, found, strict=True))


def rows_of(feeds: Feeds, which: Sequence[int] | slice) -> dict[str, NDArray]:
    return {name: array[which] for name, array in feeds.items()}


def difference(run: BareModel, feeds: Feeds, outputs: Sequence[str], judged: Sequence[int] | None = None) -> str:
    """How the `outputs` of a row depend on the rows beside it, or on its place; empty where they do not.

    `judged` are the rows to look at, all by default. A difference that a change of the row's own numbers in the
    seventh digit makes as well is rounding, and none.
    """
    rows = len(next(iter(feeds.values())))
    alone = [run(rows_of(feeds, slice(i, i + 1))) for i in range(rows)]
    for order in _orders(rows):
        together = run(rows_of(feeds, order))
        for name in outputs:
            if together[name].shape[:1] != (len(order),):
                return f"{name} has shape {list(together[name].shape)} for {len(order)} rows"
            for place, row in enumerate(order):
                if judged is not None and row not in judged:
                    continue
                this, that = alone[row][name], together[name][place : place + 1]
                gap = _gap(this, that)
                if gap > TOLERANCE and gap > 10 * _rounding(run, rows_of(feeds, [row]), name, this):
                    return f"{name} of row {row} in {order}: {_short(this)} alone, {_short(that)} together"
    return ""


def influence(run: BareModel, feeds: Feeds, outputs: Sequence[str], judged: Sequence[int]) -> str:
    """How a row's answer changes with the rows beside it, at the same place among as many rows; empty: it does not.

    There the same kernels compute it in the same order, so that nothing is rounded otherwise.
    """
    rows = len(next(iter(feeds.values())))
    together = run(feeds)
    for row in judged:
        beside_itself = run(rows_of(feeds, [row] * rows))
        for name in outputs:
            this, that = beside_itself[name][row : row + 1], together[name][row : row + 1]
            if _gap(this, that) > TOLERANCE:
                return f"{name} of row {row}: {_short(this)} beside itself, {_short(that)} beside others"
    return ""


def _orders(rows: int) -> Iterator[list[int]]:
    yield list(range(rows))
    yield list(range(rows))[::-1]
    if rows > 2:
        yield [1, 2, 0, *range(3, rows)]
        yield [0, 1]


def _gap(this: NDArray, that: NDArray) -> float:
    """The largest difference, of the magnitude of `this`; infinite where they are not comparable."""
    if this.shape != that.shape:
        return np.inf
    if this.dtype.kind in "OSUb" or this.dtype.kind not in "fiu":
        return 0.0 if np.array_equal(this, that) else np.inf
    a, b = this.astype(np.float64), that.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    if this.dtype.kind != "f" or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return np.inf
    finite = np.isfinite(a)
    return float(np.abs(a[finite] - b[finite]).max() / max(np.abs(a[finite]).max(), 1e-6))


def _rounding(run: BareModel, row: Feeds, name: str, answer: NDArray) -> float:
    """How much the answer for a row changes with the last digits of its numbers, and with kernels for more rows."""
    copies = [run(rows_of(row, [0] * count))[name] for count in (2, 3, 4)]
    beside_itself = max(_gap(answer, each[place : place + 1]) for each in copies for place in range(len(each)))
    worst = beside_itself if beside_itself < ROUNDING else 0.0
    rng = np.random.default_rng(0)
    for _ in range(12):  # each number by itself, so that sums round otherwise
        near = {
            each: (array * rng.uniform(1 - 1e-6, 1 + 1e-6, array.shape)).astype(array.dtype)
            if array.dtype.kind == "f"
            else array
            for each, array in row.items()
        }
        worst = max(worst, _gap(answer, run(near)[name]))
    return worst


def _short(array: NDArray) -> str:
    return f"{np.array2string(array.ravel()[:4], precision=6)} {list(array.shape)}"


def trial_feeds(
    inputs: Sequence[ValueInfoProto],
    rows: int,
    seed: int,
    free: int = 4,
    below: Mapping[str, int] | None = None,
    whole: bool = False,
) -> Iterator[tuple[dict[str, NDArray], list[int]]]:
    """Rows to try with the ones to judge: of one magnitude, of unequal ones, equal ones, and with a row of NaN.

    Free axes but the first have size `free`. `below` bounds the integers of an input that is an index. With `whole`,
    floats are 0 or 1, as ids that come as floats must be.
    """
    rng = np.random.default_rng(seed)
    everything = list(range(rows))
    for kind in ("plain", "unequal", "equal", "nan"):
        feeds, floats = {}, False
        for info in inputs:
            dtype = tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
            dims = info.type.tensor_type.shape.dim
            shape = (rows, *(dim.dim_value or free for dim in dims[1:]))
            if info.type.tensor_type.elem_type == TensorProto.STRING:
                array = rng.choice(np.array(["a", "b c", "d e f", "", "zz"], object), shape)
            elif dtype.kind == "b":
                array = rng.random(shape) < 0.5
            elif dtype.kind in "iu":
                low = -3 if dtype.kind == "i" and not (below or {}).get(info.name) else 0
                high = (below or {}).get(info.name) or (256 if dtype.itemsize == 1 and dtype.kind == "u" else 6)
                if kind == "unequal":
                    array = np.stack([rng.integers(low, max(high >> 2 * (i % 3), 1), shape[1:]) for i in everything])
                else:
                    array = rng.integers(low, high, shape)
                array = array.astype(dtype)
            else:
                floats = not whole
                array = rng.integers(0, 2, shape) * 1.0 if whole else rng.integers(-40, 41, shape) / 16
                if kind == "unequal" and not whole:
                    array *= np.resize(MAGNITUDES, rows).reshape(-1, *(1 for _ in shape[1:]))
                elif kind == "nan" and not whole:
                    array[rows // 2] = np.nan
                array = array.astype(dtype)
            feeds[info.name] = array[:1].repeat(rows, 0) if kind == "equal" else array
        if kind != "nan":
            yield feeds, everything
        elif floats:
            yield feeds, [row for row in everything if row != rows // 2]


def variations(rows: Feeds, seed: int, count: int = 3) -> Iterator[tuple[dict[str, NDArray], list[int]]]:
    """Rows like the given ones with those to judge: the first of them, rows of their numbers, of unequal magnitudes,
    and with a row of NaN."""
    rng = np.random.default_rng(seed)
    everything = list(range(count))
    given = {name: np.resize(array, (count, *array.shape[1:])) for name, array in rows.items()}
    yield given, everything
    for kind in ("drawn", "unequal", "nan"):
        feeds = {}
        floats = False
        for name, array in given.items():
            pool = rows[name].ravel()
            drawn = rng.choice(pool, array.shape) if pool.size else array
            if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
                floats = True
                if kind == "unequal":
                    drawn = drawn * np.resize(MAGNITUDES, count).reshape(-1, *(1 for _ in array.shape[1:]))
                elif kind == "nan":
                    drawn[count // 2] = np.nan
            feeds[name] = drawn.astype(array.dtype)
        if kind != "nan":
            yield feeds, everything
        elif floats:
            yield feeds, [row for row in everything if row != count // 2]


def found_difference(
    run: BareModel, trials: Iterator[tuple[dict[str, NDArray], list[int]]], outputs: Sequence[str]
) -> str:
    """The first difference that a trial shows; one that ONNX Runtime refuses is no evidence."""
    for feeds, judged in trials:
        try:
            if found := difference(run, feeds, outputs, judged):
                return found
        except Exception:  # those of ONNX Runtime have no class in common
            continue
    return ""


def nearly_equal(this: NDArray, that: NDArray) -> bool:
    """Equal, or floats that differ by rounding."""
    if this.dtype.kind not in "fV":
        return this.shape == that.shape and bool(np.array_equal(this, that))
    tolerance = TOLERANCE if this.dtype.itemsize > 2 else 2e-2
    return _gap(this.astype(np.float64), that.astype(np.float64)) <= tolerance

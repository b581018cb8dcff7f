"""Trials of made-up rows: with ONNX Runtime where a model's arithmetic matters, with a fake session elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tests.engine.fakes import SIGNATURE, FakeSession
from tests.helpers.random_graphs import random_model
from tests.helpers.row_truth import BareModel, found_difference, trial_feeds
from tests.models import model, save, value
from workbench.config import ModelConfig
from workbench.core.batch_proof import InputHint, Verdict
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.tensor import DTYPES, Array
from workbench.engine.row_trial import BUDGET_S, REFUSED_BUDGET_S, RowTrial, try_rows
from workbench.engine.trial_rows import ROWS, RowKind, made_rows
from workbench.errors import InvalidInput
from workbench.graph.batch_axis import analyse
from workbench.runtimes.registry import open_session

node = helper.make_node
NO_HINTS: Mapping[str, InputHint] = {}


def constant(name: str, array: object) -> TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def tried(proto: ModelProto, folder: Path, hints: Mapping[str, InputHint] = NO_HINTS) -> RowTrial:
    session = open_session(save(proto, folder / "model.onnx"), ModelConfig(), instances=1)
    try:
        return try_rows(session, hints, (8,))
    finally:
        session.close()


# Models whose rows influence each other


def stretched() -> ModelProto:
    """Contrast stretched over the whole batch of bytes: on the numbers 0 and 1 its extremes are always the same."""
    nodes = [
        node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        node("ReduceMin", ["f"], ["low"], keepdims=0),
        node("ReduceMax", ["f"], ["high"], keepdims=0),
        node("Sub", ["f", "low"], ["top"]),
        node("Sub", ["high", "low"], ["span"]),
        node("Max", ["span", "one"], ["safe"]),
        node("Div", ["top", "safe"], ["y"]),
    ]
    one = constant("one", np.float32(1))
    return model(nodes, [value("x", "UINT8", ["N", 4, 4])], [value("y", "FP32", ["N", 4, 4])], [one])


def quantized(last: Sequence[NodeProto] = (), output: tuple[str, str] = ("scores", "FP32")) -> ModelProto:
    """Dynamic quantization: one scale for the whole batch."""
    weights = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    scale = np.float32(np.abs(weights).max() / 127)
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("MatMulInteger", ["q", "w", "z"], ["whole"]),
        node("Cast", ["whole"], ["float"], to=TensorProto.FLOAT),
        node("Mul", ["s", "ws"], ["both"]),
        node("Mul", ["float", "both"], ["scores"]),
        *last,
    ]
    name, datatype = output
    shape = ["N", 3] if datatype == "FP32" else ["N"]
    constants = [constant("w", np.round(weights / scale).astype(np.int8)), constant("ws", scale)]
    return model(nodes, [value("x", "FP32", ["N", 8])], [value(name, datatype, shape)], constants)


def quantized_label() -> ModelProto:
    return quantized([node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0)], ("label", "INT64"))


def padding_mask() -> ModelProto:
    """As wide as the longest row."""
    nodes = [
        node("ReduceMax", ["lengths"], ["most"], keepdims=0),
        node("Range", ["zero", "most", "one"], ["places"]),
        node("Unsqueeze", ["lengths", "last"], ["column"]),
        node("Less", ["places", "column"], ["mask"]),
    ]
    constants = [constant("zero", np.int64(0)), constant("one", np.int64(1)), constant("last", np.array([1]))]
    return model(nodes, [value("lengths", "INT64", ["N"])], [value("mask", "BOOL", ["N", "L"])], constants)


def detections() -> ModelProto:
    """A row for each number over its limit: on noise of deviation 1, one for each row that goes in."""
    nodes = [
        node("Sub", ["x", "limits"], ["over"]),
        node("Greater", ["over", "zero"], ["found"]),
        node("NonZero", ["found"], ["where"]),
        node("Transpose", ["where"], ["pairs"], perm=[1, 0]),
        node("GatherND", ["x", "pairs"], ["scores"]),
        node("Unsqueeze", ["scores", "last"], ["y"]),
    ]
    limits = constant("limits", np.array([-100, 100], np.float32))
    constants = [limits, constant("zero", np.float32(0)), constant("last", np.array([1]))]
    return model(nodes, [value("x", "FP32", ["N", 2])], [value("y", "FP32", ["M", 1])], constants)


def alarmed() -> ModelProto:
    """Another branch for the whole batch where any number is over 5000."""
    branches = {
        f"{name}_branch": helper.make_graph([node(kind, ["x"], [name])], name, [], [value(name, "FP32", ["N", 4])])
        for name, kind in (("then", "Neg"), ("else", "Identity"))
    }
    nodes = [
        node("ReduceMax", ["x"], ["most"], keepdims=0),
        node("Greater", ["most", "limit"], ["alarm"]),
        node("If", ["alarm"], ["y"], **branches),
    ]
    limit = constant("limit", np.float32(5000))
    return model(nodes, [value("x", "FP32", ["N", 4])], [value("y", "FP32", ["N", 4])], [limit])


def blurred() -> ModelProto:
    """A ten-thousandth of the batch's mean is added: less than many models round."""
    nodes = [
        node("ReduceMean", ["x", "first"], ["mean"]),
        node("Mul", ["mean", "part"], ["m"]),
        node("Add", ["x", "m"], ["y"]),
    ]
    constants = [constant("first", np.array([0])), constant("part", np.float32(1e-4))]
    return model(nodes, [value("x", "FP32", ["N", 4])], [value("y", "FP32", ["N", 4])], constants)


@pytest.mark.parametrize(
    ("make", "finding"),
    [
        (stretched, "output 'y'"),
        (quantized, "changes with the rows beside it (output 'scores'"),
        (quantized_label, "output 'label'"),
        (padding_mask, "depending on what the rows hold"),
        (detections, "output 'y' has shape"),
        (blurred, "changes with the rows beside it (output 'y'"),
    ],
)
def test_an_influence_is_found(make: Callable[[], ModelProto], finding: str, tmp_path: Path) -> None:
    assert finding in tried(make(), tmp_path).finding


def test_an_influence_beyond_a_number_of_the_graph_is_found_by_a_hint(tmp_path: Path) -> None:
    assert tried(alarmed(), tmp_path, {"x": InputHint(constants=(5000.0,))}).finding


@pytest.mark.parametrize(
    ("function", "finding"),
    [
        (lambda x: np.cumsum(x, axis=0), "changes with the rows beside it"),
        (lambda x: x / len(x), "alone is another than in a batch"),
        (lambda x: x + np.arange(len(x), dtype=np.float32)[:, None], "alone is another than in a batch"),
        (lambda x: np.where(np.isnan(x).any(), 0, x).astype(np.float32), "changes with the rows beside it"),
        (lambda x: x[: 1 + (len(x) > 4)], "has shape"),
    ],
)
def test_an_influence_by_count_place_or_a_neighbour_that_is_no_number_is_found(
    function: Callable[[Array], Array], finding: str
) -> None:
    assert finding in try_rows(FakeSession(function), NO_HINTS, (8,)).finding


# Models whose rows do not


def looked_up(datatype: str, below: int) -> ModelProto:
    """The mean of a row's embeddings, normalised, to probabilities and the most probable class."""
    rng = np.random.default_rng(0)
    nodes = [
        node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        node("Gather", ["table", "ids"], ["vectors"]),
        node("ReduceMean", ["vectors", "second"], ["mean"], keepdims=0),
        node("LayerNormalization", ["mean", "scale"], ["normal"]),
        node("MatMul", ["normal", "weights"], ["scores"]),
        node("Softmax", ["scores"], ["y"], axis=-1),
        node("ArgMax", ["y"], ["label"], axis=1, keepdims=0),
    ]
    constants = [
        constant("table", rng.standard_normal((below, 32)).astype(np.float32)),
        constant("weights", rng.standard_normal((32, 5)).astype(np.float32)),
        constant("scale", np.ones(32, np.float32)),
        constant("second", np.array([1])),
    ]
    outputs = [value("y", "FP32", ["N", 5]), value("label", "INT64", ["N"])]
    return model(nodes, [value("x", datatype, ["N", 20])], outputs, constants)


def steep() -> ModelProto:
    """Its rounding is as large as its answers: 1e5 times what goes in, of which the sine is taken."""
    weights = constant("w", 1e5 * np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32))
    nodes = [node("MatMul", ["x", "w"], ["wide"]), node("Sin", ["wide"], ["y"])]
    return model(nodes, [value("x", "FP32", ["N", 64])], [value("y", "FP32", ["N", 256])], [weights])


@pytest.mark.parametrize(
    ("datatype", "below", "hint"), [("UINT8", 256, None), ("INT64", 50, None), ("FP32", 10, None), ("FP32", 300, 300)]
)
def test_ids_of_any_type_are_no_influence(datatype: str, below: int, hint: int | None, tmp_path: Path) -> None:
    found = tried(looked_up(datatype, below), tmp_path, {"x": InputHint(below=hint)} if hint else NO_HINTS)
    assert (found.finding, found.kinds > 0) == ("", True)


def test_the_models_own_rounding_is_no_influence(tmp_path: Path) -> None:
    assert tried(steep(), tmp_path).finding == ""


def test_rows_may_be_one_text_each(tmp_path: Path) -> None:
    nodes = [node("Identity", ["x"], ["y"])]
    found = tried(model(nodes, [value("x", "BYTES", ["N"])], [value("y", "BYTES", ["N"])]), tmp_path)
    assert not found.finding and found.kinds


def test_the_trial_finds_what_runs_show_and_nothing_in_models_that_are_proved(tmp_path: Path) -> None:
    found = Counter[str]()
    for seed in range(150):
        proto = random_model(Random(seed))
        proof = analyse(proto)
        session = open_session(save(proto, tmp_path / "model.onnx"), ModelConfig(), instances=1)
        if not session.signature.free_first_axis:
            continue
        trial = try_rows(session, proof.hints, (4,))
        run = BareModel(proto)
        shown = found_difference(run, trial_feeds(proto.graph.input, 4, seed), run.outputs)
        assert not (trial.finding and proof.verdict is Verdict.INDEPENDENT), (seed, trial.finding)
        found["missed" if shown and not trial.finding else "found" if shown else "nothing to find"] += 1
    assert found["found"] > 20 and found["nothing to find"] > 50
    assert found["missed"] <= 1  # a branch for all rows on a number that few rows reach


def test_rows_that_are_refused_are_no_evidence_but_rows_refused_together_are() -> None:
    class Small(FakeSession):
        most_rows = 100

        def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
            if np.nanmax(np.abs(inputs["x"])) > 9 or np.isnan(inputs["x"]).any() or len(inputs["x"]) > self.most_rows:
                raise InvalidInput("not these")
            return [inputs["x"] + 1]

    session = Small()
    assert try_rows(session, NO_HINTS, (8,)) == RowTrial("", 2, "not these")
    session.most_rows = 1
    assert try_rows(session, NO_HINTS, (8,)).finding == "several rows at once failed (not these)"
    session.most_rows = 0
    assert try_rows(session, NO_HINTS, (8, 1)) == RowTrial("", 0, "not these")


def test_a_slow_model_is_tried_with_one_kind_of_rows_and_one_that_refuses_them_for_some_seconds() -> None:
    class Slow(FakeSession):
        now = 0.0
        refuses = False

        def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
            self.now += 1.0
            if self.refuses and self.now % 3 == 0:
                raise InvalidInput("not this row")
            return super().run(inputs, outputs)

    session = Slow()
    assert try_rows(session, NO_HINTS, (8,), lambda: session.now).kinds == 1
    assert session.now == 8
    session.now, session.refuses = 0.0, True
    assert try_rows(session, NO_HINTS, (8, 1), lambda: session.now) == RowTrial("", 0, "not this row")
    assert session.now == 12 > REFUSED_BUDGET_S > BUDGET_S


# The rows


@pytest.mark.parametrize("datatype", DTYPES)
@pytest.mark.parametrize("kind", RowKind)
def test_rows_have_the_shape_and_dtype_asked_for(kind: RowKind, datatype: str) -> None:
    spec = TensorSpec("x", datatype, (FREE, 3, FREE))
    scalars = TensorSpec("s", datatype, (FREE,))
    hints = {"x": InputHint(constants=(0.5, -1e300, float("inf"), 70_000.0))}
    made = made_rows(Signature((spec, scalars), ()), kind, hints, 5)
    assert (made["x"].shape, made["s"].shape) == ((ROWS[kind], 3, 5), (ROWS[kind],))
    assert made["x"].dtype == made["s"].dtype == DTYPES[datatype]


def rows_of(datatype: str, kind: RowKind, hint: InputHint | None = None) -> Array:
    signature = Signature((TensorSpec("x", datatype, (FREE, 64)),), SIGNATURE.outputs)
    return made_rows(signature, kind, {"x": hint} if hint else {}, 8)["x"]


def test_rows_are_of_unequal_magnitude_and_whole_numbers_of_a_whole_type() -> None:
    small, one, large, _ = np.abs(rows_of("FP32", RowKind.SPREAD)).max(axis=1)
    assert 50 < one / small < 200 and 50 < large / one < 200
    numbers = rows_of("INT8", RowKind.SPREAD)
    assert numbers.min() < -100 and numbers.max() > 100
    assert rows_of("UINT8", RowKind.MARKED)[:2].tolist() == [[0] * 64, [255] * 64]


def test_marked_rows_lie_on_both_sides_are_equal_and_hold_nan() -> None:
    below, above, some, same, last = rows_of("FP32", RowKind.MARKED, InputHint(constants=(-7.0, 40.0)))
    assert below.max() <= -7 and above.min() >= 40
    np.testing.assert_array_equal(some, same)
    assert 1 < np.isnan(last).sum() < 64
    off, on, *_ = rows_of("BOOL", RowKind.MARKED)
    assert (off.any(), on.all()) == (False, True)


@pytest.mark.parametrize("kind", RowKind)
@pytest.mark.parametrize("datatype", ["INT64", "UINT8", "INT8"])
def test_an_index_is_below_what_it_indexes(datatype: str, kind: RowKind) -> None:
    found = rows_of(datatype, kind, InputHint(below=30, constants=(1000.0,)))
    assert found.min() >= 0 and found.max() < 30

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.engine.fakes import SIGNATURE, FakeSession
from workbench.core.batch_proof import BatchProof, InputHint, Verdict
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.tensor import DTYPES, Array
from workbench.engine.warmup import measure, warm_up
from workbench.errors import ExecutionError, InvalidInput
from workbench.runtimes.first_run import warmup_inputs

PROOF = BatchProof(Verdict.INDEPENDENT, "", row_outputs=("y",))
DEPENDS = BatchProof(Verdict.DEPENDENT, "ReduceMean 'mean' takes the mean of the whole batch")
QUANTIZED = BatchProof(Verdict.DEPENDENT, "DynamicQuantizeLinear 'quant_3' takes one scale for the whole batch", True)
UNKNOWN = BatchProof(operators=("Foo", "my:Bar", "A", "B", "C", "D"))


class Uncallable(FakeSession):
    """Takes nothing that is made up, as an encoder of known words may."""

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        raise InvalidInput("no such word")


@pytest.mark.parametrize(
    ("batching", "proof", "evidence", "words"),
    [
        ("auto", PROOF, "proved", "batched: rows do not influence each other, proved by its graph"),
        ("proved", PROOF, "proved", "batched: rows do not influence each other, proved by its graph"),
        ("always", PROOF, "proved", "batched: rows do not influence each other, proved by its graph"),
        ("never", PROOF, "", "unbatched: its settings say batching = never"),
        ("auto", DEPENDS, "", "unbatched: ReduceMean 'mean' takes the mean of the whole batch"),
        ("proved", DEPENDS, "", "unbatched: ReduceMean 'mean' takes the mean of the whole batch"),
        (
            "always",
            DEPENDS,
            "declared",
            "say batching = always, though ReduceMean 'mean' takes the mean",
        ),
        ("auto", UNKNOWN, "sampled", "(sampled, not proved: no rule for Foo, my:Bar, A, B and 2 more)"),
        ("auto", BatchProof(), "sampled", "(sampled, not proved: its graph was not analysed)"),
        ("proved", UNKNOWN, "", "batching = proved, and its graph does not prove it: no rule for Foo"),
        ("always", UNKNOWN, "declared", "batched: its settings say batching = always"),
        ("never", UNKNOWN, "", "unbatched: its settings say batching = never"),
    ],
)
def test_the_setting_and_the_graph_decide_and_it_says_by_what(
    batching: str, proof: BatchProof, evidence: str, words: str
) -> None:
    found = warm_up(FakeSession(), batching, 8, proof)
    assert (found.batched, found.evidence) == (evidence != "", evidence)
    assert words in found.reason
    assert bool(found.run_s) == found.batched


def test_what_is_proved_is_not_tried() -> None:
    for proof in (PROOF, DEPENDS):
        session = FakeSession(lambda x: x - x.mean(axis=0))
        warm_up(session, "auto", 8, proof)
        assert set(session.batches) <= {1, 2, 4, 8}  # whether it runs, and for how long


def test_a_proof_that_leaves_an_output_open_is_none() -> None:
    found = warm_up(FakeSession(lambda x: x[:1]), "auto", 8, replace(PROOF, row_outputs=()))
    assert not found.batched
    assert "has shape" in found.reason


def test_dynamic_quantization_alone_comes_with_advice() -> None:
    found = warm_up(FakeSession(), "auto", 8, QUANTIZED)
    assert found.reason == f"unbatched: {QUANTIZED.reason}"
    assert "statically" in found.advice and "batching = always" in found.advice
    assert warm_up(FakeSession(), "auto", 8, DEPENDS).advice == ""


def test_a_model_that_takes_no_made_up_input_is_batched_by_its_graph_and_not_measured() -> None:
    found = warm_up(Uncallable(), "auto", 8, PROOF)
    assert (found.ran, found.batched, found.evidence, found.run_s) == (False, True, "proved", {})
    assert found.untried == "made-up inputs failed (no such word)"
    assert warm_up(Uncallable(), "never", 8).untried == found.untried
    assert warm_up(FakeSession(), "auto", 8, PROOF).untried == ""


def test_a_batched_model_that_was_not_measured_says_why() -> None:
    class OneRowOnly(FakeSession):
        def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
            if len(inputs["x"]) > 2:
                raise InvalidInput("too many")
            return super().run(inputs, outputs)

    assert warm_up(OneRowOnly(), "always", 8, sizes=(4, 8)).untried == "a run of 4 rows failed (too many)"
    assert warm_up(OneRowOnly(), "always", 8).untried == "", "sizes 1 and 2 are known"
    times = iter(range(100))
    slow = warm_up(FakeSession(), "always", 8, clock=lambda: float(next(times)))
    assert slow.untried == "the first run took 1.0 s, and measuring may take 0.5 s"
    assert (slow.ran, slow.run_s) == (True, {})
    huge = warm_up(FakeSession(), "always", 8, sizes=(10**7,))
    assert huge.untried.startswith("batches of the sizes that are set have more than ")


def test_the_owners_promise_counts_where_nothing_is_known() -> None:
    found = warm_up(Uncallable(), "auto", 8, UNKNOWN, promised=True)
    assert (found.batched, found.evidence) == (True, "declared")
    assert (
        "its config.pbtxt gives a max_batch_size, though its graph does not prove it (no rule for Foo" in found.reason
    )
    assert not warm_up(Uncallable(), "proved", 8, UNKNOWN, promised=True).batched
    assert not warm_up(Uncallable(), "auto", 8, DEPENDS, promised=True).batched
    assert not warm_up(FakeSession(lambda x: x - x.mean(axis=0)), "auto", 8, UNKNOWN, promised=True).batched


def test_hints_make_inputs_that_a_model_takes() -> None:
    class Indexed(FakeSession):
        def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
            if not np.array_equal(inputs["x"], inputs["x"].astype(int)) or (inputs["x"] < 0).any():
                raise InvalidInput("no such id")
            return [inputs["x"] + 1]

    hinted = replace(UNKNOWN, hints={"x": InputHint(below=30)})
    assert warm_up(Indexed(), "auto", 8, hinted).evidence == "sampled"


def test_independent_rows_are_batched_and_runs_are_measured() -> None:
    session = FakeSession(lambda x: x * 2)
    found = warm_up(session, "auto", 8)
    assert found.batched
    assert set(found.run_s) == {1, 2, 4, 8}
    assert all(seconds > 0 for seconds in found.run_s.values())


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x - x.mean(axis=0), "changes with the rows beside it"),
        (lambda x: x / np.abs(x).max(), "changes with the rows beside it"),
        (lambda x: x + np.random.default_rng().standard_normal(x.shape), "two runs of the same rows differ"),
        (lambda x: x[:1], "has shape"),
    ],
)
def test_rows_that_depend_on_each_other_are_found_out(function: object, reason: str) -> None:
    found = warm_up(FakeSession(function), "auto", 8)  # type: ignore[arg-type]
    assert found.ran
    assert not found.batched
    assert reason in found.reason
    assert not found.run_s


def test_a_row_whose_place_matters_is_found_out() -> None:
    session = FakeSession(
        lambda x: x + np.arange(len(x))[:, None] * (len(x) > 1) * 0 + (np.arange(len(x))[:, None] % 5)
    )
    assert not warm_up(session, "auto", 8).batched


def test_rounding_is_no_dependence() -> None:
    noise = iter(np.random.default_rng(0).uniform(-1e-6, 1e-6, 1000))
    assert warm_up(FakeSession(lambda x: x + np.float32(next(noise))), "auto", 4).batched


def test_always_and_never_are_taken_at_their_word() -> None:
    mixing = FakeSession(lambda x: x - x.mean(axis=0))
    assert warm_up(mixing, "always", 4).batched
    never = warm_up(FakeSession(), "never", 4)
    assert not never.batched
    assert "batching = never" in never.reason


def test_a_fixed_first_axis_is_not_batched_and_it_says_which() -> None:
    signature = Signature((TensorSpec("x", "FP32", (1, 2)),), SIGNATURE.outputs)
    found = warm_up(FakeSession(signature=signature), "auto", 4)
    assert not found.batched
    assert "first axis of input 'x' is fixed at 1" in found.reason


@pytest.mark.parametrize("batching", ["auto", "always", "never"])
@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize(
    ("shapes", "reason"),
    [(((),), "'x' is a scalar"), (((4, 2),), "input 'x' is fixed at 4"), ((), "takes no inputs")],
)
def test_what_has_no_rows_is_never_batched_whatever_its_settings_say(
    batching: str, runs: bool, shapes: tuple[tuple[int, ...], ...], reason: str
) -> None:
    class Session(FakeSession):
        def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
            if not runs:
                raise InvalidInput("not these")
            return [np.zeros((1, 1), np.float32)]

    inputs = tuple(TensorSpec("x", "FP32", shape) for shape in shapes)
    found = warm_up(Session(signature=Signature(inputs, SIGNATURE.outputs)), batching, 4)
    assert (found.ran, found.batched) == (runs, False)
    assert found.reason.startswith("unbatched: ") and reason in found.reason


class Picky(FakeSession):
    """Takes only one size of its free inner axis, or none, or fails for several rows."""

    def __init__(self, size: int | None, most_rows: int = 100) -> None:
        super().__init__(signature=Signature((TensorSpec("x", "FP32", (FREE, FREE)),), SIGNATURE.outputs))
        self.size, self.most_rows = size, most_rows

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        if inputs["x"].shape[1] != self.size:
            raise InvalidInput("not this size")
        if len(inputs["x"]) > self.most_rows:
            raise ExecutionError("too many rows")
        return [inputs["x"] + 1]


def test_sizes_of_free_axes_are_tried_until_one_runs() -> None:
    assert warm_up(Picky(32), "auto", 4).batched


def test_a_model_that_takes_no_made_up_input_is_served_unbatched_and_says_why() -> None:
    found = warm_up(Picky(None), "auto", 4)
    assert not found.ran
    assert not found.batched
    assert "made-up rows told nothing (not this size)" in found.reason
    assert "batching = always" in found.reason


def test_a_model_that_fails_for_several_rows_is_served_unbatched() -> None:
    for proof in (UNKNOWN, PROOF):
        found = warm_up(Picky(8, most_rows=1), "auto", 4, proof)
        assert not found.batched
        assert "several rows at once failed (too many rows)" in found.reason


@pytest.mark.parametrize("datatype", DTYPES)
def test_warm_up_inputs_have_the_shape_and_dtype_asked_for(datatype: str) -> None:
    signature = Signature((TensorSpec("a", datatype, (FREE, 3, FREE)), TensorSpec("b", datatype, ())), ())
    made = warmup_inputs(signature, 2, 5)
    assert made["a"].shape == (2, 3, 5)
    assert made["b"].shape == ()
    assert made["a"].dtype == made["b"].dtype == DTYPES[datatype]


def test_huge_fixed_shapes_are_not_made_up() -> None:
    signature = Signature((TensorSpec("x", "FP32", (FREE, 1 << 20, 1 << 20)),), SIGNATURE.outputs)
    found = warm_up(FakeSession(signature=signature), "auto", 4)
    assert not found.ran
    assert "too large to make up" in found.reason


class Scalar(FakeSession):
    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        assert inputs["x"].shape == ()
        return [inputs["x"]]


def test_a_model_that_takes_a_scalar_is_measured_as_it_is() -> None:
    signature = Signature((TensorSpec("x", "FP32", ()),), (TensorSpec("y", "FP32", ()),))
    assert measure(Scalar(signature=signature), 1, (1,)).run_s.keys() == {1}

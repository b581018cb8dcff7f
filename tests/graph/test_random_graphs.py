"""Random small graphs against runs of ONNX Runtime: rows that change each other are never called independent."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from tests.helpers.graph_builder import FLOAT, GraphBuilder, N, Value, fixed
from tests.helpers.graph_makers import MAKERS
from tests.helpers.random_graphs import random_model
from tests.helpers.row_truth import BareModel, difference, influence, rows_of, trial_feeds
from workbench.core.batch_proof import BatchProof, Verdict
from workbench.graph.batch_axis import analyse


def checked(model: ModelProto, seed: int = 0) -> tuple[BatchProof, bool] | None:
    """The proof, and whether runs showed rows that change each other; None for a model that ONNX Runtime refuses."""
    outputs = [output.name for output in model.graph.output]
    try:
        ways = [BareModel(model), BareModel(model, optimised=False)]
        trials = list(trial_feeds(model.graph.input, 3, seed))
        differences = [difference(run, feeds, outputs, judged) for run in ways for feeds, judged in trials]
        influences = [influence(run, feeds, outputs, judged) for run in ways for feeds, judged in trials]
        answers = [ways[0](rows_of(trials[0][0], slice(rows))) for rows in (1, 2, 3)]
    except Exception:  # whatever ONNX Runtime raises, it is no model that a service serves
        return None
    proof = analyse(model, strict=True)
    if proof.verdict is Verdict.INDEPENDENT:
        assert not any(influences), f"{influences}\n{model.graph}"
        # What depends on the number of rows or on a row's place does so mostly; what rounds at an edge does seldom.
        assert sum(map(bool, differences)) <= len(differences) / 2, f"{differences}\n{model.graph}"
        assert list(proof.row_outputs) == outputs
    for rows, found in zip((1, 2, 3), answers, strict=True):
        for name in proof.row_outputs:
            assert found[name].shape[:1] == (rows,), f"{name}: {found[name].shape} of {rows} rows\n{model.graph}"
    return proof, any(differences)


def test_the_graphs_are_made_of_many_operators() -> None:
    met = Counter(node.op_type for seed in range(400) for node in random_model(Random(seed)).graph.node)
    assert len(MAKERS) >= 50 and len(met) >= 80, sorted(met)


@given(st.randoms(use_true_random=False))
@settings(max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))
def test_rows_that_change_each_other_are_never_called_independent(random: Random) -> None:
    checked(random_model(random))


@pytest.mark.long
@given(st.randoms(use_true_random=False))
@settings(max_examples=5000, suppress_health_check=list(HealthCheck))
def test_so_they_are_in_thousands_of_graphs(random: Random) -> None:
    checked(random_model(random))


def count(seeds: range) -> Counter[str]:
    """By verdict, and by "verdict, differs" where runs showed it."""
    found: Counter[str] = Counter()
    for seed in seeds:
        result = checked(random_model(Random(seed)), seed)
        if result is not None:
            proof, differs = result
            found[proof.verdict] += 1
            found[f"{proof.verdict}, differs"] += differs
    return found


def decided_enough(found: Counter[str], tried: int) -> None:
    graphs = sum(found[verdict] for verdict in Verdict)
    assert graphs >= 0.95 * tried, found
    assert found[Verdict.UNKNOWN] <= graphs / 10, found
    # A graph may be called dependent though no row tried shows it; mostly one does.
    assert found["dependent, differs"] >= 0.8 * found[Verdict.DEPENDENT], found
    assert found[Verdict.INDEPENDENT] >= graphs / 4, found


def test_nine_graphs_of_ten_are_decided() -> None:
    decided_enough(count(range(600)), 600)


@pytest.mark.long
def test_nine_graphs_of_ten_are_decided_of_thousands() -> None:
    found = count(range(1000, 4000))
    print(dict(found))
    decided_enough(found, 3000)


def test_a_neighbour_that_counts_nothing_still_spoils_a_row_if_it_is_not_a_number() -> None:
    """ONNX Runtime interpolates tensors of two axes along both, by weights of 0 where an axis keeps its size."""
    g = GraphBuilder(Random(0))
    x = Value("x", FLOAT, (N, fixed(4)))
    g.inputs.append(x)
    wider = g.one("Resize", [x, "", g.constant([1, 2], np.float32)], mode="linear")
    model = g.model([Value(wider, FLOAT, (N, fixed(8)))])
    run, rows = BareModel(model), np.array([[1, 2, 3, 4], [np.nan] * 4], np.float32)
    assert "nan" in difference(run, {"x": rows}, run.outputs, judged=[0])
    assert analyse(model).verdict is not Verdict.INDEPENDENT


def test_the_shape_of_a_tensor_that_mixes_rows_is_not_that_of_what_comes_of_it() -> None:
    g = GraphBuilder(Random(0))
    x = Value("x", FLOAT, (N, fixed(4)))
    g.inputs.append(x)
    share = g.one("Div", [x, g.one("Cast", [g.one("Shape", [x], end=1)], to=FLOAT)])  # mixed, and [rows, 4]
    square = g.one("MatMul", [g.one("Transpose", [share], perm=[1, 0]), share])  # [4, 4]
    zeros = g.one("ConstantOfShape", [g.one("Shape", [square])])
    assert not analyse(g.model([Value(zeros, FLOAT, (fixed(4), fixed(4)))])).row_outputs

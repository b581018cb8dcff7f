from __future__ import annotations

import numpy as np
import pytest

from workbench.convert.agreement import TOLERANCE, Agreement, compare, flaws, merged
from workbench.core.tensor import Array

LABELS = frozenset({"label"})
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
EXPECTED = {"label": np.array([0, 1, 0]), "probabilities": PROBABILITIES}


def test_what_agrees_is_said_with_the_largest_difference() -> None:
    got = {"label": np.array([0, 1, 0]), "probabilities": (PROBABILITIES + 2e-7).astype(np.float32)}
    found = compare(EXPECTED, got, LABELS)
    assert found.agrees
    assert 1e-7 < found.largest < 3e-7
    assert found.summary.startswith("label equal, probabilities within 2.")


def test_a_score_that_is_off_is_told_with_its_row_and_both_values() -> None:
    wrong = PROBABILITIES.copy()
    wrong[1, 1] = 0.5
    found = compare(EXPECTED, {"label": EXPECTED["label"], "probabilities": wrong}, LABELS)
    assert not found.agrees
    assert found.summary == "probabilities: off by 0.33 of its largest value, in row 1: 0.8 became 0.5"
    assert found.needed == pytest.approx(0.3 / 0.9)


def test_a_label_that_differs_is_told_with_how_many_do() -> None:
    found = compare(EXPECTED, {"label": np.array([1, 0, 0]), "probabilities": PROBABILITIES}, LABELS)
    assert not found.agrees
    assert found.summary == "label: 2 of 3 rows differ, first row 0: 0 became 1"
    assert found.needed == pytest.approx(0.8 / 0.9)


def test_a_row_that_the_original_finds_undecided_may_get_another_label() -> None:
    assert compare(EXPECTED, {"label": np.array([0, 1, 1]), "probabilities": PROBABILITIES}, LABELS).agrees


def test_labels_without_scores_must_all_be_equal() -> None:
    found = compare({"label": np.array(["a"])}, {"label": np.array(["b"], dtype=object)}, LABELS)
    assert (found.agrees, found.needed) == (False, np.inf)
    assert compare({"label": np.array(["a"])}, {"label": np.array(["a"], dtype=object)}, LABELS).agrees


def test_one_label_alone_is_compared() -> None:
    expected = {"scores": np.zeros(3), "label": np.array("a", object)}
    assert compare(expected, {**expected, "label": np.array("a", object)}, LABELS).agrees
    found = compare(expected, {**expected, "label": np.array("b", object)}, LABELS)
    assert (found.agrees, found.summary) == (False, "label: 1 of 1 rows differ, first row 0: a became b")


def test_a_vector_is_compared_with_a_column_and_one_score_with_the_nearer_of_two() -> None:
    vector = np.array([1.0, -2.0, 3.0])
    assert compare({"variable": vector}, {"variable": vector.reshape(3, 1)}, frozenset()).agrees
    for two in (np.stack([-vector, vector], axis=1), np.stack([vector, -vector], axis=1)):
        assert compare({"probabilities": vector}, {"probabilities": two}, frozenset()).agrees
    assert not compare({"probabilities": vector}, {"probabilities": np.ones((3, 2))}, frozenset()).agrees


def test_an_answer_of_another_shape_or_none_at_all_is_no_agreement() -> None:
    expected, got = ({"label": np.zeros(3), "scores": np.zeros((3, width))} for width in (4, 7))
    found = compare(expected, got, LABELS)
    assert (found.agrees, found.needed) == (False, np.inf)
    assert found.summary == "scores cannot be compared: [3, 7] beside [3, 4]"
    assert not compare({}, {"y": np.zeros(3)}, frozenset()).agrees


@pytest.mark.parametrize(
    "scores",
    [
        np.array([[0.9, 0.2], [0.1, 0.50001], [0.8, 0.7]]),  # a probability of each label
        np.array([[0.9, -0.2], [-0.1, 0.00001], [0.8, 0.7]]),  # a decision on each
        np.array(
            [[[0.1, 0.9], [0.9, 0.1], [0.2, 0.8]], [[0.8, 0.2], [0.5, 0.5], [0.3, 0.7]]]
        ),  # [labels, rows, classes]
    ],
    ids=["probabilities", "decisions", "classes of each"],
)
def test_several_labels_of_a_row_are_compared_each_by_its_own_scores(scores: Array) -> None:
    labels = np.array([[1, 0], [0, 1], [1, 1]])
    expected = {"label": labels, "probabilities": scores}
    undecided = labels.copy()
    undecided[1, 1] = 0
    assert compare(expected, {"label": undecided, "probabilities": scores}, LABELS).agrees
    wrong = labels.copy()
    wrong[0, 0] = 0
    found = compare(expected, {"label": wrong, "probabilities": scores}, LABELS)
    assert not found.agrees
    assert found.summary.startswith("label: 1 of 6 labels differ, first label 0: 1 became 0")


def test_text_that_is_no_label_is_compared_too() -> None:
    names = {"variable": np.array([["a"], ["b"]], object)}
    assert compare(names, {"variable": np.array([["a"], ["b"]])}, frozenset()).agrees
    found = compare(names, {"variable": np.array([["a"], ["c"]])}, frozenset())
    assert (found.agrees, found.summary) == (False, "variable: 1 of 2 rows differ, first row 1: b became c")


def test_nan_equals_nan_and_nothing_else() -> None:
    some = np.array([[np.nan, 1.0]])
    assert compare({"y": some}, {"y": some.astype(np.float32)}, frozenset()).agrees
    assert not compare({"y": some}, {"y": np.array([[0.0, 1.0]])}, frozenset()).agrees
    assert not compare({"y": np.array([[np.inf, 1.0]])}, {"y": np.array([[3.0, 1.0]])}, frozenset()).agrees


def test_the_tolerance_is_a_share_of_the_largest_value() -> None:
    large = np.array([[1e6], [0.0]])
    assert compare({"y": large}, {"y": large + 500}, frozenset()).agrees
    assert not compare({"y": large}, {"y": large + 500}, frozenset(), tolerance=1e-4).agrees


def test_each_output_tells_its_differences_flips_and_missing_values() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.6, 0.4]])
    expected = {"label": np.array([0, 1, 0, 0]), "probabilities": probabilities}
    wrong = probabilities.copy()
    wrong[1] = [0.8, 0.2]
    wrong[3, 0] = np.nan
    found = compare(expected, {"label": np.array([0, 0, 1, 0]), "probabilities": wrong}, LABELS)
    label, scores = found.outputs
    assert (label.rows, label.flips, label.over, label.largest) == (4, 2, 1, None)
    assert (scores.rows, scores.over, scores.nan, scores.largest) == (4, 2, 1, None)
    assert "1 of 8 values are NaN or infinite in one of the two only, in row 3: 0.6 became nan" in found.summary
    assert found.wrong_rows == (
        (1, "label 1 became 0, probabilities 0.2 became 0.8"),
        (3, "probabilities 0.6 became nan"),
    )


def test_all_comparisons_become_one_clause() -> None:
    def scores(*gaps: float) -> list[Agreement]:
        return [compare({"y": np.ones((2, 1))}, {"y": np.ones((2, 1)) + gap}, LABELS) for gap in gaps]

    def clause(agreements: list[Agreement], rows: int = 4, made_up: bool = False) -> str:
        return merged(agreements, rows, made_up, TOLERANCE).summary

    assert clause(scores(1.4e-7, 0.0), 32) == "max |diff| 1.4e-7 on 32 rows"
    assert clause(scores(0.0), 1, made_up=True) == "max |diff| 0 on 1 made-up row"
    assert clause(scores(0.0, 0.5)) == "max |diff| 0.5, 2 over the tolerance on 4 rows"
    assert clause(scores(np.nan)) == "2 values NaN on one side only on 4 rows"
    labels = compare(EXPECTED, {"label": np.array([0, 1, 1]), "probabilities": PROBABILITIES}, LABELS)
    assert clause([labels], 3) == "labels equal but for 1 undecided, max |diff| 0 on 3 rows"
    wrong = compare(EXPECTED, {"label": np.array([1, 0, 0]), "probabilities": PROBABILITIES}, LABELS)
    assert clause([wrong, labels]) == "3 labels differ, max |diff| 0 on 4 rows"
    assert flaws(merged([wrong, labels], 6, False, TOLERANCE)) == "flipped 3 labels"
    other = compare({"y": np.ones((2, 3))}, {"y": np.ones((2, 5))}, LABELS)
    assert clause([other]) == "answers of another shape on 4 rows"
    assert flaws(merged(scores(0.5), 2, False, TOLERANCE)) == "was off in 2 rows"

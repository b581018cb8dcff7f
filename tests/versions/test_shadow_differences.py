"""What is found of answers of known difference, without an engine."""

from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import pytest

from workbench.core.tensor import Array
from workbench.versions.shadow_differences import Answers, ShadowDifferences, compare

RANDOM = np.random.default_rng(7)


def call(rows: int = 3, add: float = 0.0, at: int = 0) -> Answers:
    """Scores of three classes, of which the shadow's row `at` has one that is larger by `add`."""
    scores = np.tile(np.array([1.0, 4.0, 2.0], np.float32), (rows, 1))
    other = scores.copy()
    other[at, 2] += add
    return {"x": RANDOM.normal(size=(rows, 2))}, {"scores": scores}, {"scores": other}


def found(*calls: Answers, keep_rows: int = 0) -> ShadowDifferences:
    """What several looks at the calls add up to."""
    total = ShadowDifferences(keep_rows)
    for some in (calls[:2], calls[2:]):
        total.add(compare(some, total.keep_rows, total.worse_than))
    return total


def test_planted_differences_have_their_size_and_flips_are_counted() -> None:
    total = found(call(), call(add=0.5), call(add=3.0), call())
    (scores,) = total.outputs()
    assert (total.rows, total.differing) == (12, 1)
    assert (scores.rows, scores.same, scores.flips, scores.nan, scores.unlike) == (12, 11, 1, 0, 0)
    assert scores.largest == 3.0
    assert scores.relative == 3.0 / 4.0


def test_labels_that_flip_are_counted() -> None:
    one, other = np.array([1, 2, 3]), np.array([1, 5, 3])
    (label,) = found(({}, {"label": one}, {"label": other})).outputs()
    assert (label.is_label, label.rows, label.same, label.largest) == (True, 3, 2, None)
    texts = np.array([b"a", b"b"], object), np.array([b"a", b"c"], object)
    (label,) = found(({}, {"label": texts[0]}, {"label": texts[1]})).outputs()
    assert (label.is_label, label.same, label.flips) == (True, 1, 1)


def test_nan_in_one_alone_is_a_row_that_differs() -> None:
    one = np.array([[1.0], [2.0], [np.nan]])
    other = np.array([[np.nan], [2.0], [np.nan]])
    total = found(({}, {"y": one}, {"y": other}))
    (y,) = total.outputs()
    assert (total.differing, y.nan, y.largest) == (1, 1, 0.0)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (np.zeros((2, 3), np.float32), r"the shapes differ: \[2, 2\] and \[2, 3\]"),
        (np.zeros((2, 2), np.float64), "the types differ: float32 and float64"),
        (None, "the shadow's answer lacks it"),
    ],
)
def test_outputs_that_cannot_be_compared_are_counted_and_the_line_says_why(other: Array | None, said: str) -> None:
    one = {"y": np.zeros((2, 2), np.float32)}
    total = found(({}, one, {} if other is None else {"y": other}), call())
    y = next(each for each in total.outputs() if each.name == "y")
    assert (y.rows, y.unlike, total.rows) == (0, 2, 5)
    assert re.search(said, y.why_unlike)


def test_rows_of_any_shape_are_compared() -> None:
    scalar = ({}, {"y": np.float32(1.0).reshape(())}, {"y": np.float32(1.5).reshape(())})
    empty = ({}, {"y": np.zeros((0, 2), np.float32)}, {"y": np.zeros((0, 2), np.float32)})
    mixed = ({}, {"a": np.zeros((2, 1)), "b": np.zeros((1, 1))}, {"a": np.zeros((2, 1)), "b": np.ones((1, 1))})
    other = ({}, {"a": np.zeros((1, 1)), "b": np.zeros((2, 1))}, {"a": np.ones((1, 1)), "b": np.zeros((2, 1))})
    half = ({}, {"y": np.ones((1, 2), ml_dtypes.bfloat16)}, {"y": np.full((1, 2), 1.5, ml_dtypes.bfloat16)})
    for one, largest in ((scalar, 0.5), (empty, 0.0), (half, 0.5)):
        assert [each.largest for each in found(one, one, keep_rows=3).outputs()] == [largest]
    assert [each.largest for each in found(mixed, other, keep_rows=3).outputs()] == [1.0, 1.0]


def test_the_worst_rows_are_kept_with_what_they_were_asked_and_no_more_of_them() -> None:
    calls = [call(add=0.1 * step, at=step % 3) for step in range(30)]
    total = found(*calls, keep_rows=4)
    examples = total.examples()
    assert len(examples) == 4
    assert [each.flips for each in examples] == [1] * 4
    gaps = [float(np.abs(each.shadow["scores"] - each.serving["scores"]).max()) for each in examples]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] == pytest.approx(2.9, rel=1e-5)
    worst, (inputs, *_) = examples[0], calls[29]
    assert worst.inputs["x"].tolist() == inputs["x"][2:3].tolist()
    assert worst.inputs["x"].base is None, "a copy, which keeps nothing else alive"
    total.keep(2)
    assert [each.difference for each in total.examples()] == [each.difference for each in examples[:2]]


def test_a_row_that_comes_again_is_one_example_and_equal_rows_are_none() -> None:
    again = call(add=5.0)
    assert len(found(again, again, again, call(), keep_rows=10).examples()) == 1


def test_without_being_asked_no_row_is_kept() -> None:
    assert found(call(add=5.0)).examples() == []

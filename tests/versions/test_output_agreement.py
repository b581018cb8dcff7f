"""How answers of two versions are compared."""

from __future__ import annotations

import re

import numpy as np
import pytest

from workbench.versions.output_agreement import agreement


def test_labels_are_equal_or_not_and_the_first_that_are_not_are_named() -> None:
    first = {"label": np.array([b"a", b"b", b"c", b"a"], object), "number": np.array([1, 2, 3, 4])}
    second = {"label": np.array([b"a", b"c", b"c", b"b"], object), "number": np.array([1, 2, 3, 4])}
    label, number = agreement(first, second)
    assert (label.rows, label.same, label.worst, label.largest) == (4, 2, (1, 3), None)
    assert (number.same, number.worst) == (4, ())


def test_scores_tell_the_largest_difference_and_the_class_that_wins() -> None:
    first = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]], np.float32)
    second = np.array([[0.8, 0.2], [0.6, 0.4], [0.5, 0.5]], np.float32)
    (scores,) = agreement({"p": first}, {"p": second})
    assert scores.same == 2
    assert scores.largest == pytest.approx(0.2)
    assert scores.relative == pytest.approx(0.2 / 0.9)
    assert scores.worst == (1, 0)
    low, high = scores.interval or (0, 0)
    assert 0.2 < low < 2 / 3 < high < 0.95


def test_a_regression_has_no_class_and_nan_counts_where_one_alone_has_it() -> None:
    first = np.array([1.0, np.nan, np.inf, np.nan], np.float32)
    second = np.array([1.5, 2.0, np.inf, np.nan], np.float64)
    (value,) = agreement({"y": first}, {"y": second})
    assert (value.same, value.interval, value.nan, value.largest) == (None, None, 1, 0.5)
    assert value.worst == (1, 0)


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ({"y": np.zeros((2, 3), np.float32)}, {"y": np.zeros((2, 4), np.float32)}, r"the shapes differ: \[2, 3\] and"),
        ({"y": np.zeros(2, np.float32)}, {"y": np.array([b"a", b"b"], object)}, "the types differ: float32 and object"),
        ({"y": np.zeros(2, np.float32)}, {}, "only the first version has this output"),
        ({}, {"y": np.zeros(2, np.float32)}, "only the second version has this output"),
    ],
)
def test_outputs_that_cannot_be_compared_say_why(one: dict, other: dict, why: str) -> None:  # type: ignore[type-arg]
    (found,) = agreement(one, other)
    assert found.rows == 0
    assert re.match(why, found.unlike)


def test_no_rows_are_no_difference() -> None:
    (found,) = agreement({"y": np.zeros((0, 3), np.float32)}, {"y": np.zeros((0, 3), np.float32)})
    assert (found.rows, found.largest, found.interval) == (0, 0.0, None)

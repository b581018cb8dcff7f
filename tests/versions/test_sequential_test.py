"""The test of two shares: right at every look, blind to nothing that matters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workbench.versions.sequential_test import LEAST_CALLS, LEAST_SECONDS, share_difference

MATTERS = 0.02


def seconds(random: np.random.Generator, count: int, rate: float, share: float) -> NDArray[np.int64]:
    """Calls and hits of so many seconds; the share of a second varies, as calls of one batch fail together."""
    calls = random.poisson(rate, count)
    shares = share * random.gamma(4.0, 0.25, count)
    return np.stack([calls, random.binomial(calls, np.minimum(shares, 1.0))], axis=1).astype(np.int64)


def told_within(first: NDArray[np.int64], second: NDArray[np.int64], every: int = 1) -> int | None:
    """The second at which a difference is told first, looking again and again."""
    for upto in range(LEAST_SECONDS, len(first) + 1, every):
        found = share_difference(first[:upto], second[:upto], MATTERS)
        if found.larger or found.smaller:
            return upto
    return None


@pytest.mark.parametrize(("rates", "share"), [((100, 100), 0.01), ((90, 10), 0.002), ((200, 200), 0.1)])
def test_equal_versions_are_told_apart_in_at_most_5_of_100_comparisons_that_are_watched(
    rates: tuple[int, int], share: float
) -> None:
    random = np.random.default_rng(7)
    told = sum(
        told_within(*(seconds(random, 60, rate, share) for rate in rates), every=2) is not None for _ in range(340)
    )
    assert told <= 0.05 * 340


def test_two_more_errors_of_a_hundred_are_found_within_the_time_that_the_docs_promise() -> None:
    random = np.random.default_rng(3)
    found = [told_within(seconds(random, 60, 100, 0.01), seconds(random, 60, 100, 0.03)) for _ in range(40)]
    assert sum(each is not None and each <= 40 for each in found) >= 38


def test_too_few_calls_or_seconds_tell_nothing() -> None:
    few = np.array([[LEAST_CALLS // LEAST_SECONDS - 1, 0]] * LEAST_SECONDS, np.int64)
    many = np.array([[1000, 0]] * LEAST_SECONDS, np.int64)
    broken = np.array([[1000, 1000]] * LEAST_SECONDS, np.int64)
    assert not share_difference(few, many, MATTERS).enough
    assert not share_difference(many, few, MATTERS).enough
    assert not share_difference(many[:-1], broken[:-1], MATTERS).larger
    assert share_difference(many, broken, MATTERS).larger
    assert share_difference(broken, many, MATTERS).smaller
    assert not share_difference(np.zeros((0, 2), np.int64), many, MATTERS).enough


def test_errors_that_all_come_in_one_second_are_no_difference_yet() -> None:
    calm = np.array([[100, 0]] * 30, np.int64)
    once = calm.copy()
    once[11, 1] = 90  # a hiccup of the machine, perhaps
    assert not share_difference(calm, once, MATTERS).larger
    spread = calm.copy()
    spread[:, 1] = 3  # as many errors
    assert share_difference(calm, spread, MATTERS).larger


COUNTS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 500)).map(lambda two: (max(two), min(two))), max_size=40
)


@settings(max_examples=100)
@given(COUNTS, COUNTS)
def test_the_interval_holds_the_difference_and_turns_with_the_order(
    first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> None:
    one, other = (np.array(each, np.int64).reshape(-1, 2) for each in (first, second))
    found, turned = share_difference(one, other, MATTERS), share_difference(other, one, MATTERS)
    assert -1 <= found.low <= found.second - found.first <= found.high <= 1
    assert (found.low, found.high, found.enough) == pytest.approx((-turned.high, -turned.low, turned.enough))
    assert not (found.larger and found.smaller)

"""The pure split: as many calls as the weights say, and no key changes sides when a weight grows."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InvalidInput
from workbench.versions.traffic_split import (
    SLOTS,
    STEP,
    Spans,
    checked_weights,
    side_of,
    slot_of,
    spread,
    weight_of,
)

CALLS = 100_000
PERCENTS = st.lists(st.integers(0, 100), min_size=1, max_size=4).filter(lambda each: sum(each) <= 100)


def by_version(percents: list[int]) -> dict[str, float]:
    return {str(version): percent / 100 for version, percent in enumerate(percents, 2)}


def test_the_step_comes_to_every_place_once() -> None:
    assert math.gcd(STEP, SLOTS) == 1


@settings(max_examples=20, deadline=None)
@given(PERCENTS, st.integers(0, SLOTS - 1))
def test_calls_without_a_key_are_split_within_three_sigma(percents: list[int], start: int) -> None:
    weights = by_version(percents)
    spans = spread({}, weights)
    count: Counter[str | None] = Counter()
    slot = start
    for _ in range(CALLS):
        slot = (slot + STEP) % SLOTS
        count[side_of(spans, slot)] += 1
    for version, weight in (*weights.items(), (None, 1 - sum(weights.values()))):
        sigma = math.sqrt(CALLS * max(weight * (1 - weight), 0))
        assert abs(count[version] - CALLS * weight) <= 3 * sigma


@settings(max_examples=5, deadline=None)
@given(PERCENTS, st.text(max_size=8))
def test_keys_are_split_within_three_sigma(percents: list[int], salt: str) -> None:
    weights = by_version(percents)
    spans = spread({}, weights)
    count = Counter(side_of(spans, slot_of(f"model {salt}", f"user-{each}")) for each in range(CALLS))
    for version, weight in weights.items():
        sigma = math.sqrt(CALLS * weight * (1 - weight))
        # The test itself looks at twenty splits: by chance one in 370 is outside of 3 sigma.
        assert abs(count[version] - CALLS * weight) <= 5 * sigma


@settings(max_examples=200, deadline=None)
@given(st.lists(PERCENTS, min_size=2, max_size=6))
def test_a_key_changes_sides_only_where_its_own_weight_shrinks_or_another_grows_into_the_rest(
    history: list[list[int]],
) -> None:
    slots = range(0, SLOTS, 997)
    spans: dict[str, Spans] = {}
    for before, after in zip([[0], *history], history, strict=False):
        was, weights = by_version(before), by_version(after)
        sides = [side_of(spans, slot) for slot in slots]
        spans = spread(spans, weights)
        assert {version: weight_of(held) for version, held in spans.items()} == pytest.approx(
            {version: weight for version, weight in weights.items() if weight}
        )
        taken = sorted(span for held in spans.values() for span in held)
        assert all(one[1] <= other[0] for one, other in pairwise(taken)), "nobody's twice"
        for slot, side in zip(slots, sides, strict=True):
            now = side_of(spans, slot)
            if side is not None and weights.get(side, 0) >= was.get(side, 0):
                assert now == side, "its weight did not shrink"
            if side is None and now is not None:
                assert weights[now] > was.get(now, 0), "it went to one that grew"


def test_raising_ten_percent_to_twenty_moves_nobody_back() -> None:
    users = [f"user-{each}" for each in range(5000)]
    few = spread({}, {"2": 0.1})
    more = spread(few, {"2": 0.2})
    chosen = {user for user in users if side_of(few, slot_of("digits", user)) == "2"}
    assert chosen < {user for user in users if side_of(more, slot_of("digits", user)) == "2"}
    assert spread(more, {"2": 0.1}) == few


def test_a_weight_of_nothing_gets_nothing_and_all_is_all() -> None:
    assert spread({}, checked_weights({"2": 0.0}, "1")) == {}
    everything = spread({}, checked_weights({"2": 1.0}, "1"))
    assert {side_of(everything, slot) for slot in (0, SLOTS // 2, SLOTS - 1)} == {"2"}
    assert checked_weights({"1": 0.9, "2": 0.1}, "1") == {"2": 0.1}


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"2": 0.6, "3": 0.5}, r"60 % for version 2 and 50 % for version 3: 110 % together, and at most 100 %"),
        ({"2": -0.1}, "the weight of version 2 must be from 0 to 1"),
        ({"2": 10}, "got 10"),
        ({"2": math.nan}, "got nan"),
        ({"2": True}, "got True"),
        ({"1": 0.5, "2": 0.1}, "version 1 is routed to and gets what the others leave, 90 %"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights: dict[str, float], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        checked_weights(weights, "1")

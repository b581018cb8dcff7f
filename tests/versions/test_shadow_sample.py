"""Which calls a shadow gets a copy of, without an engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.version_plan import ShadowPlan
from workbench.errors import InvalidInput
from workbench.versions.shadow_sample import ShadowSample, check_shadow, shadow_asked


@given(st.floats(0.001, 1.0), st.integers(0, 999_999), st.integers(0, 2000), st.integers(1, 2000))
def test_of_any_stretch_of_calls_the_part_is_even(part: float, start: int, before: int, calls: int) -> None:
    sample = ShadowSample("m", part, start)
    for _ in range(before):
        sample.takes(None)
    taken = sum(sample.takes(None) for _ in range(calls))
    assert abs(taken - part * calls) <= 3, "the golden ratio leaves gaps of three lengths"


@given(st.floats(0.001, 1.0), st.floats(0.001, 1.0), st.text(max_size=8))
def test_a_key_sticks_also_when_the_part_grows(one: float, other: float, key: str) -> None:
    less, more = sorted((one, other))
    sample = ShadowSample("m", less)
    first = sample.takes(key)
    assert [sample.takes(key) for _ in range(3)] == [first] * 3
    assert ShadowSample("m", more).takes(key) or not first


def test_all_calls_are_copied_at_one() -> None:
    sample = ShadowSample("m", 1.0)
    assert all(sample.takes(key) for key in (None, "ann", None, "bob"))


@pytest.mark.parametrize(
    ("asked", "keep_rows", "said"),
    [
        ({"2": 1.1}, 0, "must be from 0 to 1"),
        ({"2": -0.1}, 0, "must be from 0 to 1"),
        ({"2": True}, 0, "must be from 0 to 1"),
        ({"2": 0.1, "3": 0.1}, 0, "one version can be the shadow of a model, and these are 2: 2, 3"),
        ({}, 5, "goes with a shadow"),
    ],
)
def test_what_is_no_shadow_is_refused(asked: dict[str, float], keep_rows: int, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        shadow_asked(asked, "", keep_rows)


def test_a_part_of_nothing_ends_it() -> None:
    assert shadow_asked({}, "", 0) is None
    assert shadow_asked({"2": 0.0}, "", 0) is None
    assert shadow_asked({"2": 0.5, "3": 0.0}, "user", 7) == ShadowPlan("2", 0.5, "user", 7)


@pytest.mark.parametrize("plan", [ShadowPlan("2", 0.0), ShadowPlan("2", 1.5), ShadowPlan("2", 0.5, "", 1001)])
def test_a_plan_that_is_none_is_refused(plan: ShadowPlan) -> None:
    with pytest.raises(InvalidInput):
        check_shadow(plan)

"""The guard of a rollout: what its clauses may be, and that chance does not breach them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.simulated_traffic import agreeing_seconds, version_second, version_seconds
from workbench.core.histogram import SERVICE, Histogram
from workbench.errors import InvalidInput
from workbench.versions.guard import Clause, Finding, StepEvidence, judge, merged_counts, parse_guard
from workbench.versions.live_comparison import NOTHING, VersionCounts

ALPHA = 0.05
STEP_ALPHA = ALPHA / 4 / 2
"""Of one of four steps."""

EVERY_CLAUSE = "errors<0.6%,errors<1.5x,p50<1.2x,p99<1.1x,p99<36ms"


def breached_after(
    seed: int,
    guard: str,
    rates: tuple[float, float],
    errors: tuple[float, float],
    slower: float = 1.0,
    *,
    seconds: int = 60,
    alpha: float = ALPHA,
) -> int | None:
    """The second at which a guard that looks each second is breached first."""
    clauses, evidence = parse_guard(guard), StepEvidence()
    random = np.random.default_rng(seed)
    for second, both in enumerate(itertools.islice(version_seconds(random, rates, errors, slower), seconds), 1):
        evidence.add(*both)
        if any(each.finding is Finding.BREACHED for each in evidence.judged(clauses, alpha=alpha)):
            return second
    return None


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("errors<0.5%", [("errors", 0.005, "share")]),
        (" ERRORS < 2x , p99<1.2x", [("errors", 2.0, "factor"), ("p99", 1.2, "factor")]),
        (
            "p50<20ms,p95<1s,agreement>99%",
            [("p50", 0.02, "seconds"), ("p95", 1.0, "seconds"), ("agreement", 0.99, "share")],
        ),
    ],
)
def test_a_guard_is_read(text: str, clauses: list[tuple[str, float, str]]) -> None:
    assert [(each.figure, pytest.approx(each.limit), each.kind) for each in parse_guard(text)] == clauses


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a guard needs a clause"),
        ("latency<1s", "clauses are errors<0.5%"),
        ("errors>0.5%", "a guard says what must be so: errors<0.5%"),
        ("agreement<99%", "a guard says what must be so: agreement>99%"),
        ("errors<0.5", "errors takes a limit as 0.5% or 1.5x"),
        ("errors<100%", "over 0 % and under 100 %"),
        ("p99<5%", "p99 takes a limit as 1.2x or 20ms"),
        ("p99<0.5x", "from 1x to 1000x"),
        ("p99<0ms", "from 1us to 1000s"),
        ("p99<1.2x,p99<1.3x", "two limits for p99"),
        ("agreement>2x", "agreement takes a limit as 99%"),
        ("errors<=1%", "a guard says what must be so"),
    ],
)
def test_a_guard_that_cannot_be_is_refused_with_what_it_takes(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said.replace(".", r"\.")):
        parse_guard(text)


@settings(max_examples=50)
@given(st.text(max_size=30))
def test_any_text_is_a_guard_or_invalid_input(text: str) -> None:
    try:
        assert all(isinstance(each, Clause) for each in parse_guard(text))
    except InvalidInput:
        pass


@pytest.mark.parametrize(("rates", "errors"), [((100, 100), 0.004), ((90, 10), 0.002)])
def test_equal_versions_seldom_breach_a_guard_that_is_watched(rates: tuple[int, int], errors: float) -> None:
    runs = 20
    found = [breached_after(seed, EVERY_CLAUSE, rates, (errors, errors), seconds=30) for seed in range(runs)]
    assert sum(each is not None for each in found) <= 1


@pytest.mark.long
def test_of_1000_watched_rollouts_of_an_equal_version_5_of_100_are_breached_at_most() -> None:
    """Each of 250 with traffic of its own kind: together 1,000."""
    kinds = [((100.0, 100.0), 0.005), ((90.0, 10.0), 0.002), ((10.0, 90.0), 0.003), ((50.0, 50.0), 0.0)]
    found = [
        breached_after(seed, EVERY_CLAUSE, rates, (errors, errors))
        for rates, errors in kinds
        for seed in range(1000, 1250)
    ]
    assert sum(each is not None for each in found) <= 50


@pytest.mark.parametrize(
    ("errors", "slower", "promised_s"), [((0.002, 0.022), 1.0, 40), ((0.002, 0.002), 1.2, 150)], ids=["errors", "p99"]
)
def test_a_regression_is_found_within_the_calls_that_the_docs_promise(
    errors: tuple[float, float], slower: float, promised_s: int
) -> None:
    found = [
        breached_after(seed, "errors<0.5%,p99<1.1x", (100, 100), errors, slower, seconds=promised_s, alpha=STEP_ALPHA)
        for seed in range(20)
    ]
    assert sum(each is not None for each in found) >= 19


@pytest.mark.long
@pytest.mark.parametrize(
    ("errors", "slower", "promised_s"), [((0.002, 0.022), 1.0, 200), ((0.002, 0.002), 1.2, 500)], ids=["errors", "p99"]
)
def test_with_a_tenth_of_the_calls_it_takes_as_long_as_the_docs_promise(
    errors: tuple[float, float], slower: float, promised_s: int
) -> None:
    found = [
        breached_after(seed, "errors<0.5%,p99<1.1x", (90, 10), errors, slower, seconds=promised_s, alpha=STEP_ALPHA)
        for seed in range(20)
    ]
    assert sum(each is not None for each in found) >= 19


def test_what_is_worse_beyond_chance_but_within_the_guard_is_no_breach() -> None:
    counts = [VersionCounts(1000, failed, Histogram.of(SERVICE, [0.01] * 900), {}) for failed in (10, 13)]
    clauses = parse_guard("errors<1.5x,errors<2%")
    found = judge(clauses, [counts[0]] * 60, [counts[1]] * 60, alpha=ALPHA)
    assert [each.finding for each in found] == [Finding.HOLDS, Finding.HOLDS]
    assert found[0].measured == "1.3 % beside 1 %"
    worse = VersionCounts(1000, 25, counts[0].latency, {})
    found = judge(clauses, [counts[0]] * 60, [worse] * 60, alpha=ALPHA)
    assert [each.finding for each in found] == [Finding.BREACHED, Finding.BREACHED]


def test_too_few_calls_tell_nothing_and_a_version_alone_is_not_compared() -> None:
    random = np.random.default_rng(1)
    seconds = [version_second(random, 100, 1.0) for _ in range(9)]
    clauses = parse_guard("errors<1%,p99<1.2x,p99<1ms")
    assert {each.finding for each in judge(clauses, seconds, seconds, alpha=ALPHA)} == {Finding.TOO_LITTLE}
    alone = judge(
        clauses, [NOTHING] * 10, [version_second(random, 100, 0.5) for _ in range(10)], alpha=ALPHA, alone=True
    )
    assert [each.finding for each in alone] == [Finding.BREACHED, Finding.NOT_JUDGED, Finding.BREACHED]


def disagreed_after(seed: int, rows_per_s: float, differ: float, *, seconds: int, alpha: float) -> int | None:
    """The second at which agreement>99% is breached first, where it is looked at each second."""
    clauses, evidence = parse_guard("agreement>99%"), StepEvidence()
    copies = agreeing_seconds(np.random.default_rng(seed), rows_per_s, differ)
    for second, rows in enumerate(itertools.islice(copies, seconds), 1):
        evidence.add(NOTHING, NOTHING, rows)
        if evidence.judged(clauses, alpha=alpha)[0].finding is Finding.BREACHED:
            return second
    return None


def test_a_version_that_agrees_just_as_much_as_it_must_seldom_breaches_a_guard_that_is_watched() -> None:
    found = [disagreed_after(seed, 100, 0.01, seconds=30, alpha=ALPHA) for seed in range(20)]
    assert sum(each is not None for each in found) <= 1


@pytest.mark.long
def test_of_1000_watched_rollouts_that_agree_just_as_much_as_they_must_50_are_breached_at_most() -> None:
    found = [
        disagreed_after(seed, rows_per_s, 0.01, seconds=60, alpha=ALPHA)
        for rows_per_s in (20, 50, 100, 500)
        for seed in range(1000, 1250)
    ]
    assert sum(each is not None for each in found) <= 50


@pytest.mark.parametrize(("differ", "promised_s"), [(0.03, 60), (0.02, 150)])
def test_a_version_that_disagrees_more_is_found_within_the_rows_that_the_docs_promise(
    differ: float, promised_s: int
) -> None:
    found = [disagreed_after(seed, 100, differ, seconds=promised_s, alpha=STEP_ALPHA) for seed in range(20)]
    assert sum(each is not None for each in found) >= 19


def test_answers_that_cannot_be_compared_breach_an_agreement_with_the_reason() -> None:
    evidence = StepEvidence()
    evidence.add(NOTHING, NOTHING, (5, 5), "y: the shapes differ: [1, 2] and [1, 4]")
    evidence.add(NOTHING, NOTHING, (5, 5))
    (found,) = evidence.judged(parse_guard("agreement>99%"), alpha=ALPHA)
    assert found.finding is Finding.BREACHED
    assert found.measured == "the answers cannot be compared (y: the shapes differ: [1, 2] and [1, 4])"
    (alone,) = evidence.judged(parse_guard("agreement>99%"), alpha=ALPHA, alone=True)
    assert alone.finding is Finding.NOT_JUDGED


def test_rows_that_disagree_breach_an_agreement() -> None:
    clauses = parse_guard("agreement>99%")
    (fine,) = judge(clauses, [], [], [(50, 50)] * 30, alpha=ALPHA)
    (bad,) = judge(clauses, [], [], [(50, 45)] * 30, alpha=ALPHA)
    (none,) = judge(clauses, [], [], [(0, 0)] * 30, alpha=ALPHA)
    assert (fine.finding, fine.measured, fine.calls) == (Finding.HOLDS, "100 %", 1500)
    assert (bad.finding, bad.measured) == (Finding.BREACHED, "90 %")
    assert none.finding is Finding.TOO_LITTLE


@settings(max_examples=10)
@given(st.integers(1, 3000))
def test_however_long_a_step_is_no_call_is_lost_and_the_stretches_stay_few(looks: int) -> None:
    evidence, one = StepEvidence(), VersionCounts(3, 1, Histogram.of(SERVICE, [0.01, 0.02]), {})
    for _ in range(looks):
        evidence.add(one, NOTHING, (2, 1))
    stretches, whole = len(evidence.first), merged_counts(evidence.first)
    assert stretches <= 2 * StepEvidence.KEPT
    looked = whole.calls // 3
    assert looks - looked < max(1, looks // StepEvidence.KEPT + 1)
    assert (whole.errors, whole.latency.count) == (looked, 2 * looked)
    assert [sum(each) for each in zip(*evidence.agreeing, strict=True)] == [2 * looked, looked]

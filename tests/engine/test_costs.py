from __future__ import annotations

import random

import pytest

from workbench.engine.costs import (
    DISPATCH_OVERHEAD_S,
    MAX_SHAPES,
    TRUSTED_RUNS,
    CostTable,
    Curve,
    fastest_padded,
    fastest_size,
)

KEY = ((2,),)
OTHER = ((3,),)


@pytest.mark.parametrize(
    ("run_s", "most", "size"),
    [
        ({}, 64, 64),
        ({1: 0.010, 8: 0.011, 32: 0.060}, 64, 8),  # memory-bound: 8 rows cost what one does, 32 do not
        ({1: 0.010, 2: 0.020, 4: 0.040}, 64, 4),  # nothing gained in running, but hops are saved
        ({1: 1.0, 2: 2.8, 4: 7.0}, 64, 1),  # a model that gets slower by batching
        ({1: 10e-6, 8: 100e-6, 32: 400e-6}, 64, 32),  # a forest: the hop alone makes batching pay
        ({1: 0.010, 8: 0.011, 32: 0.012}, 8, 8),  # the setting caps it
        ({16: 0.010}, 8, 8),  # nothing measured within the cap
    ],
)
def test_the_batch_size_is_the_one_measured_fastest(run_s: dict[int, float], most: int, size: int) -> None:
    assert fastest_size(run_s, most) == size


def test_a_hop_is_counted_once_for_a_batch() -> None:
    assert fastest_size({1: 0.0, 2: DISPATCH_OVERHEAD_S}, 2) == 2


def test_between_sizes_the_time_lies_between_theirs() -> None:
    curve = Curve({4: 0.010, 8: 0.014, 1: 0.010})
    assert [curve.seconds(rows) for rows in (1, 3, 4, 6, 8, 16)] == pytest.approx(
        [0.010, 0.010, 0.010, 0.012, 0.014, 0.028]
    )


def test_a_run_that_was_held_up_does_not_spoil_the_estimate() -> None:
    curve = Curve({8: 0.010})
    curve.observe(8, 5.0)
    assert curve.seconds(8) == pytest.approx(0.010, rel=0.03)


def test_the_estimate_stays_near_the_quick_runs_of_a_noisy_machine() -> None:
    chance = random.Random(3)
    curve = Curve({8: 0.050})
    for _ in range(2000):
        curve.observe(8, 0.010 * chance.choice((1.0, 1.05, 1.1, 1.2, 3.0, 20.0)))
    assert 0.010 <= curve.seconds(8) <= 0.0125


def test_the_estimate_follows_a_machine_that_became_slower() -> None:
    curve = Curve({8: 0.010, 16: 0.015})
    for _ in range(200):
        curve.observe(8, 0.030)
    assert curve.seconds(8) == pytest.approx(0.030, rel=0.1)
    assert curve.seconds(16) == pytest.approx(0.015, rel=0.05)


def test_a_size_once_found_slow_is_tried_again_later() -> None:
    curve = Curve({8: 0.010, 32: 0.020})
    for _ in range(300):
        curve.observe(32, 0.100)
    assert fastest_size(curve.run_s, 32) == 8
    for _ in range(8000):
        curve.observe(8, 0.010)
    assert fastest_size(curve.run_s, 32) == 32
    assert curve.longest_s >= 0.020  # hope is not counted on


def test_a_run_between_two_sizes_tells_of_the_nearer_one() -> None:
    curve = Curve({8: 0.010, 16: 0.020})
    for _ in range(200):
        curve.observe(15, 0.00925)  # half of what was expected
    assert curve.seconds(16) == pytest.approx(0.010, rel=0.1)
    assert curve.seconds(8) == pytest.approx(0.010, rel=0.1)


def test_the_least_is_what_was_once_seen_and_nothing_while_little_was() -> None:
    curve = Curve({8: 0.010}, TRUSTED_RUNS)
    curve.observe(8, 0.004)
    for _ in range(500):
        curve.observe(8, 0.020)
    assert curve.least_s(8) == pytest.approx(0.004)
    assert curve.least_row_s() == pytest.approx(0.0005)
    unknown = Curve({8: 0.010})
    assert (unknown.least_s(8), unknown.least_row_s()) == (0.0, 0.0)


def test_each_shape_has_a_curve_of_its_own() -> None:
    costs = CostTable({1: 0.001, 8: 0.002}, KEY)
    costs.observe(OTHER, 8, 0.020)
    known, new = costs.curve(KEY), costs.curve(OTHER)
    assert known is not None and new is not None
    assert known.seconds(8) == 0.002
    assert new.seconds(1) == pytest.approx(0.010, rel=0.01)  # as the warm-up's, ten times as slow
    assert costs.curve(((9,),)) is known
    assert new.least_s(8) == 0.0  # one run says little


def test_shapes_are_forgotten_that_were_not_run_for_longest() -> None:
    costs = CostTable()
    for size in range(MAX_SHAPES):
        costs.observe(((size,),), 1, 0.001)
    costs.observe(((0,),), 1, 0.001)
    costs.observe(((MAX_SHAPES,),), 1, 0.001)
    assert len(costs) == MAX_SHAPES
    assert costs.curve(((0,),)) is not None
    assert costs.curve(((1,),)) is None


def test_without_a_warm_up_runs_teach_what_they_cost_but_no_size_is_preferred() -> None:
    costs = CostTable()
    assert costs.curve(KEY) is None
    for _ in range(TRUSTED_RUNS):
        costs.observe(KEY, 4, 0.010)
    curve = costs.curve(KEY)
    assert curve is not None and curve.least_s(4) == pytest.approx(0.010)
    assert not costs.seeded


@pytest.mark.parametrize(
    ("pending_rows", "size"),
    [(1, 1), (3, 4), (5, 4), (13, 16), (50, 16)],
)
def test_padding_answers_nobody(pending_rows: int, size: int) -> None:
    curve = Curve({1: 1e-3, 4: 3e-3, 16: 8e-3})
    assert fastest_padded(curve, pending_rows, (1, 4, 16)) == size

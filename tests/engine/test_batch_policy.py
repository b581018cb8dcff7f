from __future__ import annotations

from dataclasses import dataclass

import pytest

from workbench.config import ModelConfig
from workbench.core.messages import ReleaseReason
from workbench.engine.admission import ShapeKey
from workbench.engine.batch_policy import AlonePolicy, BatchPlan, WindowPolicy, policy_for
from workbench.engine.costs import CostTable

KEY = ((2,),)


@dataclass
class Waiting:
    key: ShapeKey
    rows: int
    since: float


@pytest.mark.parametrize(
    ("pending_rows", "waited_s", "plan"),
    [
        (1, 0.0, BatchPlan(1, 0.0, ReleaseReason.IDLE)),
        (7, 0.0, BatchPlan(7, 0.0, ReleaseReason.IDLE)),
        (8, 0.0, BatchPlan(8, 0.0, ReleaseReason.FULL)),
        (9, 5.0, BatchPlan(8, 0.0, ReleaseReason.FULL)),
    ],
)
def test_without_a_delay_a_free_runner_takes_what_there_is(pending_rows: int, waited_s: float, plan: BatchPlan) -> None:
    assert WindowPolicy(8).plan(Waiting(KEY, pending_rows, 100 - waited_s), 100.0, 1) == plan


@pytest.mark.parametrize(
    ("pending_rows", "waited_s", "plan"),
    [
        (1, 0.0, BatchPlan(0, 0.25, ReleaseReason.DELAY)),
        (7, 0.125, BatchPlan(0, 0.125, ReleaseReason.DELAY)),
        (7, 0.25, BatchPlan(7, 0.0, ReleaseReason.DELAY)),
        (8, 0.0, BatchPlan(8, 0.0, ReleaseReason.FULL)),
    ],
)
def test_a_delay_waits_for_a_full_batch_and_no_longer(pending_rows: int, waited_s: float, plan: BatchPlan) -> None:
    assert WindowPolicy(8, 0.25).plan(Waiting(KEY, pending_rows, 100 - waited_s), 100.0, 1) == plan


@pytest.mark.parametrize(
    ("delay_s", "pending_rows", "waited_s", "plan"),
    [
        (0.25, 3, 0.0, BatchPlan(0, 0.25, ReleaseReason.DELAY)),
        (0.25, 3, 0.25, BatchPlan(3, 0.0, ReleaseReason.DELAY)),
        (0.25, 4, 0.0, BatchPlan(4, 0.0, ReleaseReason.FULL)),
        (0.25, 7, 0.0, BatchPlan(4, 0.0, ReleaseReason.FULL)),
        (0.25, 30, 0.0, BatchPlan(8, 0.0, ReleaseReason.FULL)),
        (0.0, 3, 0.0, BatchPlan(3, 0.0, ReleaseReason.IDLE)),
        (0.0, 5, 0.0, BatchPlan(4, 0.0, ReleaseReason.FULL)),
    ],
)
def test_a_batch_of_a_preferred_size_goes_at_once(
    delay_s: float, pending_rows: int, waited_s: float, plan: BatchPlan
) -> None:
    policy = WindowPolicy(16, delay_s, preferred=(4, 8, 32))  # the last one is over the largest batch
    assert policy.best_size(KEY) == 8
    assert policy.plan(Waiting(KEY, pending_rows, 100 - waited_s), 100.0, 1) == plan


def test_an_unbatched_model_runs_one_request_at_a_time() -> None:
    assert AlonePolicy().plan(Waiting(KEY, 50, 1.0), 10.0, 1) == BatchPlan(1, 0.0, ReleaseReason.ALONE)


FLAT = {1: 1e-3, 32: 1e-3}
"""However many rows, a run takes as long."""

LINEAR = {1: 1e-3, 8: 8e-3, 32: 32e-3}


@pytest.mark.parametrize(
    ("run_s", "pending_rows", "free", "rows"),
    [
        (LINEAR, 16, 2, 8),  # both have something to do, and are done in half the time
        (LINEAR, 16, 1, 16),
        (LINEAR, 3, 2, 2),
        (LINEAR, 1, 2, 1),
        (LINEAR, 100, 2, 32),  # enough for all
        (LINEAR, 40, 2, 20),
        (FLAT, 16, 2, 16),  # nothing is gained by sharing
        ({}, 16, 2, 8),
    ],
)
def test_several_free_runners_share_what_waits_if_that_is_sooner(
    run_s: dict[int, float], pending_rows: int, free: int, rows: int
) -> None:
    assert WindowPolicy(32, costs=CostTable(run_s, KEY)).plan(Waiting(KEY, pending_rows, 0.0), 0.0, free).rows == rows


def test_four_batches_of_8_are_preferred_to_one_of_32_where_they_are_faster() -> None:
    policy = WindowPolicy(32, costs=CostTable({1: 1.5e-3, 8: 2e-3, 32: 12.8e-3}, KEY))
    assert [policy.plan(Waiting(KEY, left, 0.0), 0.0, 1).rows for left in (32, 24, 16, 8)] == [8, 8, 8, 8]


def test_the_size_follows_what_is_learnt_while_it_runs() -> None:
    costs = CostTable({1: 1e-3, 8: 2e-3, 32: 4e-3}, KEY)
    policy = WindowPolicy(32, costs=costs)
    assert policy.best_size(KEY) == 32
    for _ in range(200):
        costs.observe(KEY, 32, 20e-3)
        policy.learned(KEY)
    assert policy.best_size(KEY) == 8


@pytest.mark.parametrize(
    ("pending_rows", "rows", "padded"),
    [(1, 1, 1), (3, 3, 4), (4, 4, 4), (5, 4, 4), (15, 15, 16), (17, 16, 16), (40, 16, 16)],
)
def test_where_only_some_sizes_may_run_padding_counts_as_lost(pending_rows: int, rows: int, padded: int) -> None:
    costs = CostTable({1: 1e-3, 4: 3e-3, 16: 8e-3}, KEY)
    policy = WindowPolicy(16, costs=costs, sizes=(4, 1, 99))
    assert policy.plan(Waiting(KEY, pending_rows, 0.0), 0.0, 1).rows == rows
    assert policy.padded(rows) == padded


@pytest.mark.parametrize(
    ("config", "independent", "plan"),
    [
        (ModelConfig(), False, BatchPlan(1, 0.0, ReleaseReason.ALONE)),
        (ModelConfig(), True, BatchPlan(5, 0.0, ReleaseReason.IDLE)),
        (ModelConfig(max_batch_size=4), True, BatchPlan(4, 0.0, ReleaseReason.FULL)),
        (ModelConfig(max_queue_delay_s=0.5), True, BatchPlan(0, 0.5, ReleaseReason.DELAY)),
        (ModelConfig(preferred_batch_sizes=(2, 3)), True, BatchPlan(3, 0.0, ReleaseReason.FULL)),
    ],
)
def test_the_policy_is_the_one_that_the_settings_ask_for(
    config: ModelConfig, independent: bool, plan: BatchPlan
) -> None:
    assert policy_for(config, independent, CostTable()).plan(Waiting(KEY, 5, 100.0), 100.0, 1) == plan


def test_the_policy_pads_to_the_sizes_of_the_settings() -> None:
    assert policy_for(ModelConfig(batch_sizes=(1, 8)), True, CostTable()).padded(5) == 8

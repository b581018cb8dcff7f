"""Thousands of random arrivals on a hand-moved clock; `tests.engine.simulation` watches every moment of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest

from tests.engine.simulation import Model, World
from workbench.engine.admission import ShapeKey
from workbench.engine.arbiter import HOLD_S
from workbench.engine.batch_policy import AlonePolicy, WindowPolicy
from workbench.engine.batcher import QueuePolicy
from workbench.engine.costs import CostTable

SHAPES: tuple[ShapeKey, ...] = (((2,),), ((3,),), ((4,),))


def memory_bound(rows: int) -> float:
    return 0.004 + 0.0001 * rows


def by_the_row(rows: int) -> float:
    return 0.0005 * rows


def tiny(rows: int) -> float:
    return 0.002 + 0.00001 * rows


def busy_world(seed: int) -> World:
    """Some models of every kind, whose load comes in waves over what the cores can do."""
    world = World(cores=random.Random(seed).choice((1, 2, 4)), seed=seed)
    chance = world.chance
    factors = {SHAPES[0]: 1.0, SHAPES[1]: 3.0, SHAPES[2]: 0.5}
    for number in range(chance.choice((1, 2, 3, 5))):
        cost_s = chance.choice((memory_bound, by_the_row, tiny))
        costs = CostTable({size: cost_s(size) for size in (1, 4, 16, 32)}, SHAPES[0])
        policy = chance.choice(
            (
                WindowPolicy(32, costs=costs),
                WindowPolicy(32, costs=costs, sizes=(1, 8)),
                WindowPolicy(8),
                AlonePolicy(),
            )
        )
        queue = QueuePolicy(
            max_queue_size=chance.choice((20, 200, 10**6)),
            timeout_s=chance.choice((0.0, 0.0, 0.05, 1.0)),
            priority_levels=3,
            default_priority=2,
            priority_step_s=chance.choice((0.0, 0.01, 0.1)),
        )
        model = Model(
            world,
            f"m{number}",
            cost_s,
            runner_count=chance.choice((1, 2, 3)),
            width=chance.choice((1, 2, world.cores)),
            share=chance.choice((1.0, 1.0, 3.0)),
            policy=policy,
            queue=queue,
            shape_factor=factors,
        )
        arrivals(world, model, count=chance.choice((50, 100, 400)), mean_s=cost_s(1) * chance.choice((0.1, 0.5, 2)))
    return world


def arrivals(world: World, model: Model, count: int, mean_s: float) -> None:
    chance = world.chance
    now = world.clock.now

    def come() -> None:
        ticket = model.ask(
            chance.choice((1, 1, 1, 2, 5, 30)) if isinstance(model.policy, WindowPolicy) else 1,
            chance.choices(SHAPES, (8, 1, 1))[0],
            priority=chance.choice((0, 0, 0, 1, 2, 3, 9)),
            deadline=world.clock.now + chance.expovariate(1 / 0.05) if chance.random() < 0.2 else None,
        )
        if ticket is not None and chance.random() < 0.1:
            world.at(world.clock.now + chance.expovariate(1 / 0.01), lambda: model.leave(ticket))

    for _ in range(count):
        # Many come in the very same moment, as when a loop reads them in one turn.
        now += chance.expovariate(1 / mean_s) if chance.random() < 0.7 else 0.0
        world.at(now, come)


@cache
def ends_of(seed: int) -> Counter[str]:
    """How the requests of that world ended; each once, and all of them."""
    world = busy_world(seed)
    world.run()
    for model in world.models:
        assert not model.waiting and not model.runs and model.batcher.depth == 0
        assert model.ends.total() == model.asked
    return sum((model.ends for model in world.models), Counter[str]())


SEEDS = range(30)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_request_ends_once_in_its_turn_and_no_runner_idles_beside_it(seed: int) -> None:
    assert ends_of(seed)["answered"]


def test_these_worlds_hold_every_end_that_a_request_can_have() -> None:
    ends = sum((ends_of(seed) for seed in SEEDS), Counter[str]())
    assert set(ends) == {"answered", "refused", "hopeless", "Cancelled", "DeadlineExceeded"}
    assert ends.total() > 10_000


def closed_loop(world: World, model: Model, callers: int) -> None:
    """So many callers, each of whom asks again as soon as it has its answer."""
    model.on_end = lambda: world.at(world.clock.now, lambda: model.ask() and None)
    for _ in range(callers):
        world.at(world.clock.now, lambda: model.ask() and None)


@pytest.mark.parametrize("level", [1, 3])
def test_the_wait_of_the_lowest_level_is_bounded_under_a_flood_of_the_highest(level: int) -> None:
    """The device is asked for exactly as much as it can do, by callers of level 1 that never stop."""
    world = World(1, seed=5)
    queue = QueuePolicy(10**6, 0.0, 3, 2, priority_step_s=0.1)
    model = Model(world, "m", by_the_row, policy=AlonePolicy(), queue=queue, noise=False)
    start = world.clock.now
    for number in range(4_000):
        world.at(start + number * 0.0005, lambda: model.ask(priority=1) and None)
    asked = {}
    for number in range(10):
        when = start + 0.5 + number * 0.1
        world.at(when, lambda: asked.update({model.ask(priority=level): world.clock.now}))
    served: dict[object, float] = {}
    formed = model.formed

    def note(batch: object) -> None:
        served.update((ticket, world.clock.now) for ticket in batch.tickets)  # type: ignore[attr-defined]
        formed(batch)  # type: ignore[arg-type]

    model.formed = note  # type: ignore[method-assign, assignment]
    world.run()
    waits = [served[ticket] - at for ticket, at in asked.items()]
    # Two levels down: the flood of the 0.2 s that two steps are worth, and the backlog that its like have made.
    bound = (level - 1) * queue.priority_step_s + 0.0005 * len(asked) + 0.001
    assert max(waits) <= bound
    assert level == 1 or max(waits) >= (level - 1) * queue.priority_step_s


@pytest.mark.parametrize("cores", [1, 2, 4])
@pytest.mark.parametrize(
    ("cost_s", "other_s", "runners", "width"),
    [
        (by_the_row, by_the_row, 4, 1),
        (memory_bound, tiny, 4, 1),
        (memory_bound, tiny, 4, 2),
        (tiny, memory_bound, 8, 4),
    ],
)
def test_two_models_that_always_have_work_get_equal_time(
    cores: int, cost_s: Callable[[int], float], other_s: Callable[[int], float], runners: int, width: int
) -> None:
    world = World(cores, seed=1)
    one = Model(world, "one", cost_s, runner_count=runners, width=width)
    two = Model(world, "two", other_s, runner_count=cores, width=1)
    closed_loop(world, one, 80)
    closed_loop(world, two, 80)
    start = world.clock.now
    largest = max(cost_s(32) * width, other_s(32)) * 4  # times the worst noise
    for step in range(1, 9):
        world.run(until=start + step * 0.25)
        gap = abs(one.computed_s - two.computed_s)
        assert gap <= largest * 2 * (cores + width), f"after {step * 0.25} s one has {gap:.3f} s more than the other"
    assert one.computed_s + two.computed_s >= 0.9 * cores * 2.0


def test_time_is_shared_as_the_settings_say() -> None:
    world = World(2, seed=2)
    one = Model(world, "one", by_the_row, runner_count=2)
    three = Model(world, "three", memory_bound, runner_count=2, share=3.0)
    for model in (one, three):
        closed_loop(world, model, 80)
    world.run(until=world.clock.now + 6)
    assert three.computed_s / one.computed_s == pytest.approx(3.0, rel=0.05)


def test_a_quiet_model_waits_for_one_run_of_a_busy_one_and_no_more() -> None:
    world = World(2, seed=3)
    busy = Model(world, "busy", by_the_row, runner_count=4, width=2, noise=False)
    quiet = Model(world, "quiet", tiny, noise=False)
    closed_loop(world, busy, 150)
    start = world.clock.now
    for number in range(80):
        world.at(start + 0.05 * number, lambda: quiet.ask() and None)
    world.run(until=start + 4.0)
    assert len(quiet.waits) == 80
    assert max(quiet.waits) <= by_the_row(32) + 1e-6
    assert busy.computed_s >= 2 * 0.9 * 4.0


def test_a_model_that_hangs_keeps_others_waiting_for_its_hold_at_most() -> None:
    world = World(2, seed=4)
    stuck = Model(world, "stuck", lambda rows: 1e6, width=2, policy=AlonePolicy(), noise=False)
    other = Model(world, "other", tiny, noise=False)
    stuck.ask()
    start = world.clock.now
    for number in range(200):
        world.at(start + 0.01 * number, lambda: other.ask() and None)
    world.run(until=start + 3.0)
    assert len(other.waits) == 200
    assert max(other.waits) <= HOLD_S + 1e-6
    assert max(other.waits[20:]) <= tiny(1) + 1e-6


def test_several_runners_that_are_free_share_what_came_together() -> None:
    world = World(2, seed=6)
    model = Model(world, "m", by_the_row, runner_count=2, noise=False)
    world.run()
    for _ in range(32):
        world.at(world.clock.now, lambda: model.ask() and None)
    start = world.clock.now
    world.run()
    assert world.clock.now - start == pytest.approx(by_the_row(16))


def test_the_batch_size_that_is_fastest_is_found_and_found_again_when_the_machine_changes() -> None:
    """On this machine 4 batches of 8 beat one of 32, until, half-way, they no longer do."""
    world = World(1, seed=7)
    start = world.clock.now

    def cost_s(rows: int) -> float:
        early = world.clock.now < start + 4.0
        return 0.002 + (0.0001 * rows if rows <= 8 or not early else 0.0006 * rows)

    model = Model(world, "m", cost_s)
    assert isinstance(model.policy, WindowPolicy)
    closed_loop(world, model, 40)
    world.run(until=start + 3.0)
    assert model.policy.best_size(SHAPES[0]) == 8
    world.run(until=start + 12.0)
    assert model.policy.best_size(SHAPES[0]) == 32

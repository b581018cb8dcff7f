"""A world of models, runners and callers that lives in one thread, on a clock that jumps from event to event.

Batchers, policies, cost tables and the arbiter are the real ones; only runs, and the sleep of runners, are played. The
world watches that what they promise holds at every moment.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from tests.engine.fakes import rows
from tests.helpers.clock import Clock
from workbench.core.messages import InferRequest
from workbench.engine.admission import ShapeKey
from workbench.engine.arbiter import HOLD_S, Arbiter
from workbench.engine.batch_policy import BatchPolicy, WindowPolicy
from workbench.engine.batcher import Batch, Batcher, QueuePolicy
from workbench.engine.costs import CostTable
from workbench.engine.request_queue import PendingRequest
from workbench.errors import Cancelled, DeadlineExceeded, QueueFull

MOMENT_S = 1e-9

LATE_S = 2e-3
"""A runner that waits for a long run's hold to end looks again this much later at most."""


class World:
    """Events in the order of their times; after each moment everything is looked at."""

    def __init__(self, cores: int, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = Clock()
        self.cores = cores
        self.arbiter = Arbiter(cores)
        self.models: list[Model] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(when, self.clock.now), next(self._order), action))

    def run(self, until: float = float("inf")) -> None:
        """Until nothing happens any more, or that time."""
        while self._events and self._events[0][0] <= until:
            now = self.clock.now = self._events[0][0]
            while self._events and self._events[0][0] <= now:
                heapq.heappop(self._events)[2]()
            self._nobody_idles()

    def _nobody_idles(self) -> None:
        """No runner sleeps while a request waits that it could run, unless the cores are taken."""
        now = self.clock.now
        held = {model: sum(now - run.began < HOLD_S + LATE_S for run in model.runs) for model in self.models}
        full = sum(count * model.width for model, count in held.items()) >= self.cores
        active = [model for model in self.models if model.runs or model.batcher.depth]
        for model in self.models:
            if model.batcher.depth and any(runner.run is None for runner in model.runners):
                assert full, f"a runner of {model.name} sleeps beside {model.batcher.depth} requests, and a core"
                assert len(active) > 1, f"{model.name} is held back though it is alone"


@dataclass(eq=False)
class Run:
    batch: Batch
    began: float


class End:
    """What stands for a caller's future."""

    def __init__(self) -> None:
        self.left = False

    def done(self) -> bool:
        return self.left


class Runner:
    """Sleeps until it is woken, runs one batch at a time."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.run: Run | None = None

    def wake(self) -> None:
        self.model.world.at(self.model.world.clock.now, self.look)

    def look(self) -> None:
        if self.run is not None:
            return
        model, now = self.model, self.model.world.clock.now
        found = model.batcher.next(self)
        assert found is not None
        if not isinstance(found, Batch):
            if found.wait_s is not None:
                model.world.at(now + found.wait_s + MOMENT_S, self.look)
            return
        model.formed(found)
        self.run = Run(found, now)
        model.runs.append(self.run)
        ran_s = model.run_s(found) if found.tickets else 0.0
        model.world.at(now + ran_s, lambda: self.end(found, ran_s))

    def end(self, batch: Batch, ran_s: float) -> None:
        assert self.run is not None
        model = self.model
        model.runs.remove(self.run)
        self.run = None
        model.ran(batch, ran_s)
        model.batcher.ran(self, batch, ran_s)
        self.look()


@dataclass(eq=False)
class Model:
    """One model with its callers' requests. `cost_s`: seconds of one run of so many rows, at the quickest."""

    world: World
    name: str
    cost_s: Callable[[int], float]
    runner_count: int = 1
    width: int = 1
    share: float = 1.0
    policy: BatchPolicy | None = None
    queue: QueuePolicy = field(default_factory=lambda: QueuePolicy(10**6))
    noise: bool = True
    shape_factor: dict[ShapeKey, float] = field(default_factory=lambda: {((2,),): 1.0})
    runs: list[Run] = field(default_factory=list)
    waiting: dict[PendingRequest, None] = field(default_factory=dict)
    """In the order of their arrival."""
    asked: int = 0
    ended: Counter[PendingRequest] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    computed_s: float = 0.0
    last: dict[tuple[ShapeKey, float], float] = field(default_factory=dict)
    on_end: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if self.policy is None:
            sizes = (1, 2, 4, 8, 16, 32)
            self.policy = WindowPolicy(32, costs=CostTable({size: self.cost_s(size) for size in sizes}, ((2,),)))
        self.batcher = Batcher(self.policy, self.queue, self.world.clock)
        place = self.world.arbiter.place(self.width, self.share)
        self.batcher.configure(self.policy, self.queue, place, self.runner_count)
        self.runners = [Runner(self) for _ in range(self.runner_count)]
        for runner in self.runners:
            runner.wake()
        self.world.models.append(self)

    # What callers do

    def ask(self, count: int = 1, key: ShapeKey = ((2,),), **request: object) -> PendingRequest | None:
        now = self.world.clock.now
        self.asked += 1
        asked = InferRequest(self.name, {"x": rows(*[0.0] * count)}, **request)  # type: ignore[arg-type]
        ticket = PendingRequest(asked, cast("object", End()), count, key, ("y",), now)  # type: ignore[arg-type]
        try:
            self.batcher.submit(ticket)
        except QueueFull:
            self.ends["refused"] += 1
            return None
        except DeadlineExceeded:
            self.ends["hopeless"] += 1
            assert asked.deadline is not None or self.queue.timeout_s
            return None
        self.waiting[ticket] = None
        self.world.at(now, self.batcher.wake)
        return ticket

    def leave(self, ticket: PendingRequest) -> None:
        """The caller goes, whatever became of its request."""
        cast(End, ticket.promise).left = True

    # What runners do

    def run_s(self, batch: Batch) -> float:
        chance = self.world.chance
        noise = chance.choice((1.0, 1.0, 1.05, 1.2, 1.5, 4.0)) if self.noise else 1.0
        return self.cost_s(batch.run_rows) * self.shape_factor[batch.tickets[0].key] * noise

    def formed(self, batch: Batch) -> None:
        now = self.world.clock.now
        gone = [ticket for ticket, _ in batch.dropped]
        for ticket in (*batch.tickets, *gone):
            assert ticket in self.waiting, "a request was taken that does not wait, or was taken twice"
            del self.waiting[ticket]
        for ticket, error in batch.dropped:
            self._end(ticket, type(error).__name__)
            assert isinstance(error, Cancelled) == ticket.promise.done()
            assert isinstance(error, Cancelled) or now >= ticket.expires_at
        for ticket in batch.tickets:
            assert now < ticket.expires_at and not ticket.promise.done(), "what nobody waits for was run"
            assert len({each.key for each in batch.tickets}) == 1
            series = (ticket.key, ticket.priority_delay_s)
            assert ticket.accepted_at >= self.last.get(series, 0.0), "the order within a priority was not kept"
            self.last[series] = ticket.accepted_at
        if batch.tickets:
            key = batch.tickets[0].key
            first = min(ticket.queue_key for ticket in (*batch.tickets, *gone))
            latest = max(ticket.queue_key for ticket in batch.tickets)
            for other in self.waiting:
                # Who waits on was overtaken by nobody that came a step for each level, or more, after it.
                assert other.queue_key >= (latest if other.key == key else first), "somebody was overtaken out of turn"
        self.waits += [now - ticket.accepted_at for ticket in batch.tickets]

    def ran(self, batch: Batch, ran_s: float) -> None:
        self.computed_s += ran_s * self.width
        for ticket in batch.tickets:
            self._end(ticket, "answered")
        if batch.tickets:
            assert self.policy is not None
            key = batch.tickets[0].key
            self.policy.costs.observe(key, batch.run_rows, ran_s)
            self.policy.learned(key)

    def _end(self, ticket: PendingRequest, how: str) -> None:
        self.ended[ticket] += 1
        assert self.ended[ticket] == 1, "a request ended twice"
        self.ends[how] += 1
        if self.on_end is not None:
            self.on_end()

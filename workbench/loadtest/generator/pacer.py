"""When requests are due. Pure: a pacer is asked with the time, and decides; the loop around it only waits and sends.

An open loop's rate is a curve of straight pieces, so that the number of requests due up to a moment is a parabola's
piece, and can be turned around: request n is due when the area under the rate reaches n. For Poisson arrivals the area
is to reach the n-th arrival of a unit-rate process instead, which is exact for any rate that changes with time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.loadtest.plan import Constant, Plan, Ramp, Replay, Stairs, Users
from workbench.loadtest.store.records import WARM_UP

BLOCK = 1024
"""Due times are worked out this many at once."""

Times = NDArray[np.float64]


class Pacer(Protocol):
    def pace(self, elapsed_s: float, sent: int) -> float | None:
        """Seconds until request number `sent`, the first being 0, is due: negative where it is overdue; None: no more.

        `sent` never goes back.
        """
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a rate that changes evenly."""

    length_s: float
    from_per_s: float
    to_per_s: float

    @property
    def area(self) -> float:
        """How many requests are due in it."""
        return self.length_s * (self.from_per_s + self.to_per_s) / 2

    def times(self, areas: Times) -> Times:
        """Seconds from its beginning until each area is reached."""
        slope = (self.to_per_s - self.from_per_s) / self.length_s
        # The root of slope t^2 / 2 + from t = area, in the form that does not cancel for small slopes.
        root = np.sqrt(np.maximum(self.from_per_s**2 + 2 * slope * areas, 0.0))
        return 2 * areas / (self.from_per_s + root)


def due_times(pieces: Sequence[Piece], areas: Times) -> Times:
    """When the area under the pieces, one after another, reaches each of `areas`; beyond the end: infinite."""
    found = np.full(areas.shape, math.inf)
    began_s = began_area = 0.0
    for piece in pieces:
        inside = (areas >= began_area) & (areas < began_area + piece.area * (1 - 1e-12))
        found[inside] = began_s + piece.times(areas[inside] - began_area)
        began_s += piece.length_s
        began_area += piece.area
    return found


class OpenLoop:
    """Due times from blocks of them, in order; an infinite one, or none left, is the end."""

    def __init__(self, blocks: Iterator[Times]) -> None:
        self._blocks = blocks
        self._first = self._end = 0
        self._due: list[float] = []

    def pace(self, elapsed_s: float, sent: int) -> float | None:
        while sent >= self._end:
            if (block := next(self._blocks, None)) is None:
                return None
            self._first, self._end = self._end, self._end + len(block)
            self._due = block.tolist()
        wait_s = self._due[sent - self._first] - elapsed_s
        return None if wait_s == math.inf else wait_s


class Thinking:
    """One user of a closed loop: due again `think_s` after the answer, until the end."""

    def __init__(self, think_s: float, end_s: float) -> None:
        self._think_s = think_s
        self._end_s = end_s

    def pace(self, elapsed_s: float, sent: int) -> float | None:
        """`elapsed_s` is when the last answer came."""
        wait_s = self._think_s if sent else 0.0
        return wait_s if elapsed_s + wait_s < self._end_s else None


def pacer_of(plan: Plan) -> Pacer:
    """The plan's warm-up and its attack; of Users, one user's."""
    attack = plan.attack
    if isinstance(attack, Users):
        return Thinking(attack.think_s, plan.warm_up_s + plan.duration_s)
    if isinstance(attack, Replay):
        return OpenLoop(_replayed(attack, plan))
    return OpenLoop(_arrivals(pieces_of(plan), plan.seed if attack.poisson else None))


def pieces_of(plan: Plan) -> list[Piece]:
    """The rate over time of a plan whose attack has one, its warm-up at the first rate."""
    attack, duration_s = plan.attack, plan.duration_s
    pieces: list[Piece] = []
    if isinstance(attack, Constant):
        pieces.append(Piece(duration_s, attack.rate_per_s, attack.rate_per_s))
    elif isinstance(attack, Ramp):
        pieces.append(Piece(duration_s, attack.from_per_s, attack.to_per_s))
    elif isinstance(attack, Stairs):
        for number in range(math.ceil(duration_s / attack.every_s - 1e-9)):
            rate_per_s = attack.first_per_s + number * attack.by_per_s
            pieces.append(Piece(min(attack.every_s, duration_s - number * attack.every_s), rate_per_s, rate_per_s))
    else:
        raise TypeError(f"{attack.kind} has no rate over time")
    first_per_s = pieces[0].from_per_s
    return [Piece(plan.warm_up_s, first_per_s, first_per_s), *pieces] if plan.warm_up_s else pieces


def phase_of(plan: Plan) -> Callable[[float], int]:
    """The phase of a request by when it was due."""
    warm_up_s = plan.warm_up_s
    if isinstance(plan.attack, Stairs):
        every_s = plan.attack.every_s
        # A stair's first request is due just when it begins, give or take a rounding.
        return lambda due_s: WARM_UP if due_s < warm_up_s else int((due_s - warm_up_s) / every_s + 1e-9)
    return lambda due_s: WARM_UP if due_s < warm_up_s else 0


def _arrivals(pieces: Sequence[Piece], poisson_seed: int | None) -> Iterator[Times]:
    total = sum(piece.area for piece in pieces)
    rng = None if poisson_seed is None else np.random.default_rng(poisson_seed)
    reached = 0.0
    number = 0
    while reached < total:
        if rng is None:
            areas = np.arange(number, number + BLOCK, dtype=np.float64)
        else:
            areas = reached + np.cumsum(rng.exponential(1.0, BLOCK))
        number += BLOCK
        reached = float(areas[-1])
        yield due_times(pieces, areas)


def _replayed(attack: Replay, plan: Plan) -> Iterator[Times]:
    """A recording has its own beginning: its first arrivals are the warm-up, where there is one."""
    times = np.asarray(attack.times_s) / attack.speed
    times = times[times < plan.warm_up_s + plan.duration_s]
    for start in range(0, len(times), BLOCK):
        yield times[start : start + BLOCK]

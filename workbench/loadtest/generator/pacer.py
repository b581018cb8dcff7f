"""Decides when requests are due. Pure: a pacer is given the time; the loop around it only waits and sends.

An open loop's rate is a curve of straight pieces. Request n is due when the area under it reaches n, which is the root
of a quadratic. For Poisson arrivals the area must reach the n-th arrival of a unit-rate process instead, which is
exact for any rate that changes with time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.loadtest.patterns import RateCurve, Replay, Stairs
from workbench.loadtest.plan import Plan
from workbench.loadtest.store.records import WARM_UP

BLOCK = 1024
"""Due times are computed in blocks of this many."""

Times = NDArray[np.float64]


class ArrivalCurve:
    """A rate over time, given by the corners between which it is straight, and when requests are due under it."""

    def __init__(self, corners: Sequence[tuple[float, float]]) -> None:
        times, rates = np.asarray(corners, dtype=np.float64).T
        piece = np.diff(times) > 0  # two corners at one moment are a jump
        self._begins, lengths = times[:-1][piece], np.diff(times)[piece]
        self._rates, last = rates[:-1][piece], rates[1:][piece]
        self._slopes = (last - self._rates) / lengths
        areas = lengths * (self._rates + last) / 2
        self._reached = np.cumsum(areas) - areas
        # An area that rounding put just before a corner belongs after it: at the end, that is no request any more.
        self._ends = self._reached + areas * (1 - 1e-12)
        self.area = float(areas.sum())
        """How many requests are due in all."""

    def due(self, areas: Times) -> Times:
        """When the area under the curve reaches each of `areas`; beyond its end: infinite."""
        found = np.full(areas.shape, math.inf)
        piece = np.searchsorted(self._ends, areas, side="right")
        inside = piece < len(self._ends)
        piece = piece[inside]
        rest, rate = np.maximum(areas[inside] - self._reached[piece], 0.0), self._rates[piece]
        # The root of slope t^2 / 2 + rate t = rest, in the form that does not cancel for small slopes.
        root = np.sqrt(np.maximum(rate**2 + 2 * self._slopes[piece] * rest, 0.0))
        found[inside] = self._begins[piece] + 2 * rest / (rate + root)
        return found


class Pacer:
    """Paces an open loop by ascending blocks of due times; an infinite time, or no more blocks, is the end."""

    def __init__(self, blocks: Iterator[Times]) -> None:
        self._blocks = blocks
        self._first = self._end = 0
        self._due: list[float] = []

    def pace(self, elapsed_s: float, sent: int) -> float | None:
        """Seconds until request number `sent`, counted from 0, is due: negative if overdue; None: no more requests.

        `sent` never decreases.
        """
        while sent >= self._end:
            if (block := next(self._blocks, None)) is None:
                return None
            self._first, self._end = self._end, self._end + len(block)
            self._due = block.tolist()
        wait_s = self._due[sent - self._first] - elapsed_s
        return None if wait_s == math.inf else wait_s


def pacer_of(plan: Plan) -> Pacer:
    """The pacer of an open loop, its warm-up included."""
    pattern = plan.pattern
    if isinstance(pattern, Replay):
        return Pacer(_replayed(pattern, plan.warm_up_s + plan.duration_s))
    if isinstance(pattern, RateCurve):
        return Pacer(_arrivals(ArrivalCurve(corners_of(pattern, plan)), plan.seed if pattern.poisson else None))
    raise TypeError(f"nothing paces {pattern.kind}: it is neither a RateCurve nor a Replay")


def corners_of(pattern: RateCurve, plan: Plan) -> list[tuple[float, float]]:
    """The plan's rate over time, its warm-up at the first rate."""
    corners = pattern.corners(plan.duration_s)
    if not plan.warm_up_s:
        return corners
    first = corners[0][1]
    later = [(plan.warm_up_s + at_s, rate) for at_s, rate in corners]
    return [(0.0, first), (plan.warm_up_s, first), *later]


def phase_of(plan: Plan) -> Callable[[float], int]:
    """A function from a request's due time to its phase."""
    warm_up_s = plan.warm_up_s
    if isinstance(plan.pattern, Stairs):
        every_s = plan.pattern.every_s
        # A stair's first request is due just when it begins, give or take a rounding.
        return lambda due_s: WARM_UP if due_s < warm_up_s else int((due_s - warm_up_s) / every_s + 1e-9)
    return lambda due_s: WARM_UP if due_s < warm_up_s else 0


def _arrivals(curve: ArrivalCurve, poisson_seed: int | None) -> Iterator[Times]:
    rng = None if poisson_seed is None else np.random.default_rng(poisson_seed)
    reached = 0.0
    number = 0
    while reached < curve.area:
        if rng is None:
            areas = np.arange(number, number + BLOCK, dtype=np.float64)
        else:
            areas = reached + np.cumsum(rng.exponential(1.0, BLOCK))
        number += BLOCK
        reached = float(areas[-1])
        yield curve.due(areas)


def _replayed(pattern: Replay, end_s: float) -> Iterator[Times]:
    """The first arrivals of a recording are the warm-up, where there is one."""
    times = np.asarray(pattern.times_s) / pattern.speed
    times = times[times < end_s]
    for start in range(0, len(times), BLOCK):
        yield times[start : start + BLOCK]

"""`RateSearch`: finds the highest rate that holds by bisection with confirmation. Pure: it proposes a rate to try, and
is given the result.

First the rate grows until it does not hold, then the gap between what held and what did not is halved. One run of a
few seconds on a shared machine proves little, so none decides alone: a rate that barely failed is tried again, and the
answer has to hold again in longer runs. If it does not, it counts as failed and the search goes on below it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

GROWTH = 1.6
"""The factor from one rate to the next while all hold."""

PRECISION = 0.04
"""The search ends at this gap, as a share of the rate."""

MARGIN = 1.5
"""A figure over its bound by less than this factor is tried again."""

CONFIRMATIONS = 2
MAX_PROBES = 40
MAX_UNREACHED = 4
"""Runs in a row that failed with the generator as the limit, before anything held."""

LEAST_PER_S = 0.1


@dataclass(frozen=True, slots=True)
class Probe:
    """The run to do next."""

    rate_per_s: float
    confirming: bool = False
    """Whether this run may confirm an answer, and so takes the whole duration."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    rate_per_s: float
    held: bool
    excess: float = 0.0
    """Where it did not hold: the factor by which the worst figure is over its bound; infinite: by far."""
    reached: bool = True
    """False where the generator was the limit, so the server was not tested at this rate."""


class RateSearch:
    """Call `next()` and `record()` in turn until `next()` is None; then `answer` is the rate, or None with `why`."""

    def __init__(self, first_per_s: float, most_per_s: float = 1e6, least_per_s: float = LEAST_PER_S) -> None:
        """`least_per_s`: below it a test would be too short for a single request."""
        self._rate = max(first_per_s, least_per_s)
        self._most = most_per_s
        self._least = least_per_s
        self._held: list[float] = []
        """Rates that held, ascending; the last one is the candidate."""
        self._failed = math.inf
        self._second_chance = False
        self._confirmed = 0
        self._probes = self._unreached = 0
        self.answer: float | None = None
        self.why = ""

    def next(self) -> Probe | None:
        if self.answer is not None or self.why:
            return None
        if self._probes >= MAX_PROBES:
            self.why = f"no rate held reliably in {MAX_PROBES} runs: the machine's own noise is larger than the bounds"
            return None
        return Probe(self._rate, self._confirming)

    def record(self, result: ProbeResult) -> None:
        self._probes += 1
        self._unreached = 0 if result.reached or result.held else self._unreached + 1
        if self._unreached >= MAX_UNREACHED and not self._held:
            self.why = "the load generator is the limit already at the lowest rates, so nothing is known of the server"
        elif result.held:
            self._hold(result.rate_per_s)
        elif result.excess < MARGIN and not self._second_chance:
            self._second_chance = True  # the same rate again
        else:
            self._fail(result.rate_per_s)

    @property
    def candidate(self) -> float:
        """The highest rate that held so far; 0 if none did."""
        return self._held[-1] if self._held else 0.0

    @property
    def _confirming(self) -> bool:
        return bool(self._held) and self._rate == self.candidate

    def _hold(self, rate: float) -> None:
        if self._confirming:
            self._confirmed += 1
            if self._confirmed >= CONFIRMATIONS:
                self.answer = rate
            return
        self._held.append(rate)
        self._move()

    def _fail(self, rate: float) -> None:
        self._held = [each for each in self._held if each < rate]
        self._failed = min(self._failed, rate)
        if self._failed <= self._least:
            self.why = f"not even {self._least:g} requests/s held"
            return
        self._move()

    def _move(self) -> None:
        self._second_chance = False
        self._confirmed = 0
        low, high = self.candidate, self._failed
        if low and (low >= self._most or (not math.isinf(high) and high - low <= PRECISION * high)):
            self._rate = low
        elif math.isinf(high):
            self._rate = min(low * GROWTH, self._most)
        elif not low:
            self._rate = max(high / 2, self._least)
        else:
            self._rate = math.sqrt(low * high)

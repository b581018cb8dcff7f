"""Decides which models run on the event loop's own thread, and counts what that costs. Pure: it is told the time.

Handing a batch to a thread and being handed the answer takes longer than a small model's whole run. A run on the loop
holds up everything else there, so it must be known to be short: by measurement, and for every input that may come.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.config import ModelConfig
from workbench.core.model import FREE, Signature
from workbench.core.tensor import BYTES
from workbench.engine.costs import Curve

INLINE_BOUND_S = 0.3e-3
"""The longest that a batch may hold up the event loop. Waking a thread and being woken costs a third of this."""

LEAVE_S = 2 * INLINE_BOUND_S
"""A model on the loop leaves it once its runs are estimated this long: twice as much, or it would come and go."""

SLOW_S = 10e-3
"""A run on the loop that takes this long was misjudged, or the machine is busy; two within SLOW_WITHIN_S are no
chance."""

SLOW_WITHIN_S = 10.0

BANNED_S = 60.0
"""For how long a model stays off the loop after that; each time twice as long as the time before."""


@dataclass(slots=True)
class LoopShare:
    """The time that the event loop's thread spent inside runs, of all models together."""

    total_s: float = 0.0
    longest_s: float = 0.0


def may_run_inline(
    signature: Signature, operators: frozenset[str], steady: frozenset[str], config: ModelConfig
) -> bool:
    """True where what was measured holds for every batch that may come. `steady`: see core.runtime.Runtime.

    A free axis beside the first makes shapes that were not measured, as a text has a length that was not; an operator
    that is not known may take any time; a queue delay needs a runner to wait it out.
    """
    if config.max_queue_delay_s or not operators or not operators <= steady:
        return False
    return not any(spec.datatype == BYTES or FREE in spec.shape[1:] for spec in signature.inputs)


class Inline:
    """Whether one model's runs are on the loop now. `ran` is told of those that were."""

    __slots__ = ("_ban_s", "_banned_until", "_loop_time", "_noted_s", "_slow_at", "_spent_s", "now")

    def __init__(self, loop_time: LoopShare) -> None:
        self.now = False
        """True: the next batch runs on the loop."""
        self._loop_time = loop_time
        self._spent_s = 0.0
        self._noted_s = 0.0
        """A run that took no longer is nothing to remark on."""
        self._ban_s = BANNED_S
        self._banned_until = self._slow_at = float("-inf")

    def decide(self, allowed: bool, curve: Curve | None, most_rows: int, now: float) -> bool:
        """Go by the measured `curve`; True where that changed something. `allowed`: see may_run_inline.

        A request may bring `most_rows`, more than the fastest size has, and then travels alone.
        """
        before = self.now
        bound_s = LEAVE_S if before else INLINE_BOUND_S
        self.now = (
            allowed
            and curve is not None
            and now >= self._banned_until
            and curve.largest >= most_rows
            and curve.longest_s <= bound_s
        )
        return self.now is not before

    def ran(self, ran_s: float, now: float) -> bool:
        """A run on the loop took so long; True where that was too long and the next is not there."""
        self._spent_s += ran_s
        if ran_s <= self._noted_s:
            return False
        self._loop_time.longest_s = max(self._loop_time.longest_s, ran_s)
        self._noted_s = min(self._loop_time.longest_s, SLOW_S)
        if ran_s < SLOW_S:
            return False
        if now - self._slow_at > SLOW_WITHIN_S:
            self._slow_at = now
            return False
        self._banned_until = now + self._ban_s
        self._ban_s *= 2
        self.now = False
        return True

    def settle(self) -> float:
        """The seconds that runs spent on the loop since this was last asked, which count in its LoopTime from now."""
        spent_s, self._spent_s = self._spent_s, 0.0
        self._loop_time.total_s += spent_s
        return spent_s

"""`StopCondition`: judges each stair a moment after its end; the first one that does not hold ends the run."""

from __future__ import annotations

from workbench.loadtest.analysis.aggregate import KEPT_UP, Aggregate, Stretch, Window
from workbench.loadtest.analysis.thresholds import judge, parse_thresholds
from workbench.loadtest.patterns import Stairs
from workbench.loadtest.plan import Plan
from workbench.loadtest.store.records import Records

GRACE_S = 1.0
"""How long to wait for a stair's last requests before judging it; less where stairs are short."""


class StopCondition:
    """Takes rows as they come, and says whether a stair broke."""

    def __init__(self, plan: Plan) -> None:
        assert isinstance(plan.pattern, Stairs)
        self._plan = plan
        self._stairs = stairs = plan.pattern
        self._thresholds = parse_thresholds(plan.slo or "errors<1%")
        count = int(plan.duration_s / stairs.every_s + 1e-9)
        self._windows: dict[int, Window] = {
            number: (plan.warm_up_s + number * stairs.every_s, plan.warm_up_s + (number + 1) * stairs.every_s)
            for number in range(count)
        }
        self._fold = Aggregate(plan.warm_up_s, self._windows)
        self._judged = 0

    def take(self, rows: Records) -> None:
        self._fold.add(rows)

    def broke(self, elapsed_s: float) -> str:
        """The first stair that broke, in one sentence; empty so far."""
        grace_s = min(GRACE_S, self._stairs.every_s / 2)
        while self._judged in self._windows and elapsed_s >= self._windows[self._judged][1] + grace_s:
            number, self._judged = self._judged, self._judged + 1
            if said := self._verdict(number, self._fold.steps().get(number, Stretch())):
                rate = self._stairs.rate_of(number)
                return f"at {rate:g} requests/s {said}, so the stairs ended there"
        return ""

    def _verdict(self, number: int, stretch: Stretch) -> str:
        begin_s, end_s = self._windows[number]
        due = self._stairs.rate_of(number) * (end_s - begin_s)
        missed = next((verdict for verdict in judge(self._thresholds, stretch) if not verdict.held), None)
        if missed is not None:
            return str(missed)
        if stretch.answered < KEPT_UP * due and stretch.answered < due - 2:
            return f"only {stretch.answered / (end_s - begin_s):.0f} a second were answered in time, and a queue grew"
        return ""

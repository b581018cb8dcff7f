"""Says in a few words why one test of stairs, a search or a sweep did not hold. Pure.

The words stand in a table beside the figures, so they name what the figures do not show: which second the tail came
from, which errors there were, and whether it was the generator that was late.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.client.formatting import counted
from workbench.core.histogram import Histogram
from workbench.core.ports import NO_ERRORS
from workbench.loadtest.analysis.aggregate import Second, Stretch
from workbench.loadtest.analysis.thresholds import Verdict
from workbench.loadtest.store.records import WARM_UP

MOSTLY = 0.8
"""Seconds are named where so much of what lay over the bound was due in them."""

NAMED = 2
"""The most seconds that are named; what is spread over more is said to be so."""


def why_failed(
    figures: Stretch,
    verdicts: Sequence[Verdict],
    seconds: Sequence[Second],
    *,
    late: str = "",
    ended: str = "finished",
) -> str:
    """The reasons, the one first that explains the others; empty where all held. `seconds` are those of this test, and
    `late` says in a few words that the generator was the limit."""
    missed = [verdict for verdict in verdicts if not verdict.held]
    if ended in ("cancelled", "cut short"):
        return "stopped before its end"
    if not figures.due:
        return "no request was due in its time"
    if not figures.ok:
        return f"nothing was answered ({error_words(figures) or 'all were cancelled'})"
    found = []
    if not figures.kept_up:
        late_answers = figures.due - figures.answered
        if figures.errors < late_answers / 2:
            few = late_answers <= 2  # of a test of few requests, in which the last ones weigh much
            found.append(f"{counted(late_answers, 'answer')} came after its end" if few else "a queue grew")
        elif all(verdict.threshold.metric != "errors" for verdict in missed):
            found.append(f"too few answers ({error_words(figures)})")
    found += [_bound(verdict, figures, seconds) for verdict in missed]
    return "; ".join([late, *found] if late and found else found)


def error_words(stretch: Stretch) -> str:
    """`120 timeout, 4 connection`, the most frequent first."""
    bad = [(count, word) for word, count in stretch.outcomes.items() if word not in NO_ERRORS]
    return ", ".join(f"{count} {word}" for count, word in sorted(bad, reverse=True))


def _bound(verdict: Verdict, figures: Stretch, seconds: Sequence[Second]) -> str:
    threshold = verdict.threshold
    said = f"{threshold.metric} {threshold.shown(verdict.value)}"
    if threshold.metric == "errors":
        return f"{said} ({error_words(figures)})"
    if threshold.quantile is None:
        return said
    where = slow_seconds(seconds, threshold.limit)
    return f"{said}, {where}" if where else said


def slow_seconds(seconds: Sequence[Second], limit_s: float) -> str:
    """Names the seconds, counted from 1, in which most of the requests that took longer were due; empty where there
    is one second only."""
    measured = [each for each in seconds if each.phase != WARM_UP and each.due]
    over = [_over(each.latency, limit_s) for each in measured]
    if len(measured) < 2 or not (total := sum(over)):
        return ""
    order = sorted(range(len(over)), key=lambda at: -over[at])
    for many in range(1, NAMED + 1):
        if sum(over[at] for at in order[:many]) >= MOSTLY * total and len(measured) > many:
            named = " and ".join(str(at + 1) for at in sorted(order[:many]))
            return f"in second{'s' if many > 1 else ''} {named} of {len(measured)}"
    slow = sum(1 for count in over if count)
    return f"in {'all' if slow == len(measured) else f'{slow} of'} {len(measured)} seconds"


def _over(latency: Histogram, limit_s: float) -> int:
    """How many durations are longer, by the middle of their bucket."""
    middles = latency.layout.middles[latency.buckets]
    return int(latency.counts[np.asarray(middles) > limit_s].sum())

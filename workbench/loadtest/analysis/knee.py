"""Finds the knee of a curve of load and latency, beyond which more load adds mostly waiting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

METHOD = "Kneedle (Satopää et al., 2011)"
"""V. Satopää, J. Albrecht, D. Irwin, B. Raghavan: Finding a “Kneedle” in a Haystack: Detecting Knee Points in System
Behavior. ICDCS Workshops 2011, pages 166-171."""

LEAST_POINTS = 4
LEAST_BEND = 0.2
"""How far below the straight line between its ends the curve must hang, of the height between them, to have a knee."""

LEAST_RISE = 2.0
"""The last latency is at least this many times that at a knee, and none beyond it is below: less is the scatter of a
flat curve."""


def knee(load: Sequence[float], latency_s: Sequence[float]) -> int | None:
    """The index of the knee of a curve that rises and bends upwards; None where it has none.

    Both axes are scaled to 0..1; the knee is where the curve is furthest below the diagonal. Points are few and each is
    of thousands of requests, so the smoothing of the paper is left out.
    """
    x, y = np.asarray(load, float), np.asarray(latency_s, float)
    if len(x) < LEAST_POINTS or np.ptp(x) <= 0 or np.ptp(y) <= 0 or (np.diff(x) <= 0).any():
        return None
    below = (x - x[0]) / (x[-1] - x[0]) - (y - y.min()) / (y.max() - y.min())
    at = int(np.argmax(below))
    beyond = y[at + 1 :]
    turns = below[at] >= LEAST_BEND and len(beyond) > 0 and beyond.min() > y[at] and y[-1] >= LEAST_RISE * y[at]
    return at if turns else None

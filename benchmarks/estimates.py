"""What a series says, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Slope:
    """Of a straight line through a series, in its units a second."""

    value: float
    error: float
    """Half of the 95 % interval."""

    @property
    def is_flat(self) -> bool:
        return abs(self.value) <= self.error


def slope(times_s: Sequence[float], values: Sequence[float]) -> Slope:
    """Least squares; the error allows for neighbours that resemble each other (Newey and West), as memory does.

    Without that, a hundred nearly equal samples would count as a hundred observations, and any wave as a trend.
    """
    t, y = np.asarray(times_s, float), np.asarray(values, float)
    if len(t) < 3:
        return Slope(0.0, float("inf"))
    t = t - t.mean()
    spread = float(t @ t)
    value = float(t @ y) / spread
    scores = t * (y - y.mean() - value * t)
    lags = int(len(t) ** 0.5)
    variance = float(scores @ scores)
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(scores[lag:] @ scores[:-lag])
    return Slope(value, 1.96 * max(variance, 0.0) ** 0.5 / spread)

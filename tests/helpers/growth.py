"""How the time of some work grows with its size: a ratio, which a slow machine does not change."""

from __future__ import annotations

import time
from collections.abc import Callable


def growth(work: Callable[[int], object], size: int, factor: int = 4, tries: int = 3) -> float:
    """How many times as long `work(factor * size)` takes as `work(size)`: about `factor` where it is linear, its square
    where it is quadratic. `work` does not count what it takes to make its input if it returns the seconds."""

    def seconds(size: int) -> float:
        began = time.process_time()
        took = work(size)
        return took if isinstance(took, float) else time.process_time() - began

    seconds(size)
    return min(seconds(factor * size) for _ in range(tries)) / max(min(seconds(size) for _ in range(tries)), 1e-5)

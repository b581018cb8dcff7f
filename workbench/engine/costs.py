"""Measures what a run costs by batch size and shape: t(b) of one model on this machine, kept up to date.

A table, not a line: on some CPUs four batches of 8 rows beat one of 32 by 1.6 times. It holds no clock and no lock: one
thread writes, and any may read, since each figure is replaced whole.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from workbench.engine.admission import ShapeKey

DISPATCH_OVERHEAD_S = 60e-6
"""Seconds that any batch costs beside its run: waking the runner, joining, splitting, waking the event loop.
Added to each measured run, or a model whose single row runs in 10 us would never be batched though it gains."""

NEARLY_BEST = 0.8
"""The largest size within this part of the best measured rows/s is taken: it means fewer dispatches and a shorter
queue, and on a busy machine the measurements are no more exact than that."""

DOWN, UP = 0.25, 0.02
"""The part of the way that an estimate goes to a run that was quicker, and to one that was slower. A run can only seem
too long (its thread had to wait for a core), never too short, so an estimate stays near the quick ones."""

MOST_AT_ONCE = 2.0
"""A run longer than this many times the estimate counts as this many times: how long it was held up says nothing about
the model."""

EXPLORATION_DECAY = 2e-4
"""The part by which a size's estimate falls each time that another size is run. A size that was slow once, say at
warm-up, is therefore tried and measured again later; this costs at most a few runs in a hundred."""

TRUSTED_RUNS = 8
"""Runs before the quickest of them says how quick a shape can be."""

MAX_SHAPES = 64
"""Shapes that are told apart; the one not run for longest is forgotten first."""

_NOTHING: Mapping[int, float] = MappingProxyType({})


class Curve:
    """Seconds of one run by batch size, for one shape; between measured sizes along a straight line."""

    __slots__ = ("_least", "_runs", "_seconds", "_sizes")

    def __init__(self, run_s: Mapping[int, float], runs: int = 0) -> None:
        """`run_s`: seconds by batch size, one size at least. `runs` that it rests on."""
        self._sizes = sorted(run_s)
        self._seconds = [run_s[size] for size in self._sizes]
        self._least = list(self._seconds)
        self._runs = runs

    @property
    def run_s(self) -> dict[int, float]:
        """The estimates as they are now."""
        return dict(zip(self._sizes, self._seconds, strict=True))

    @property
    def largest(self) -> int:
        """The largest measured size."""
        return self._sizes[-1]

    @property
    def longest_s(self) -> float:
        """The longest measured run, ignoring the exploration decay."""
        return max(map(max, self._seconds, self._least))

    def seconds(self, rows: int) -> float:
        """The estimate for one run of `rows` rows."""
        return _along(self._sizes, self._seconds, rows)

    def least_s(self, rows: int) -> float:
        """The seconds in which one run of so many rows can be done; 0 while too little is known."""
        return _along(self._sizes, self._least, rows) if self._runs >= TRUSTED_RUNS else 0.0

    def least_row_s(self) -> float:
        """The seconds a row in which a long queue can be worked off by one runner; 0 while too little is known."""
        if self._runs < TRUSTED_RUNS:
            return 0.0
        return min(seconds / size for size, seconds in zip(self._sizes, self._least, strict=True))

    def observe(self, rows: int, ran_s: float) -> None:
        """One run of `rows` took so long. Between two sizes it tells of the nearer one."""
        self._runs += 1
        sizes, seconds, least = self._sizes, self._seconds, self._least
        ratio = min(ran_s / self.seconds(rows), MOST_AT_ONCE)
        nearest = min(range(len(sizes)), key=lambda i: abs(sizes[i] - rows))
        for i, estimate in enumerate(seconds):
            if i == nearest:
                seconds[i] = estimate * (1 + (DOWN if ratio < 1 else UP) * (ratio - 1))
                least[i] = min(least[i], max(estimate * ratio, 1e-9))
            else:
                seconds[i] = estimate * (1 - EXPLORATION_DECAY)

    def scaled(self, ratio: float) -> Curve:
        """The same curve for a shape whose runs take `ratio` times as long; nothing of it is measured yet."""
        return Curve({size: max(seconds * ratio, 1e-9) for size, seconds in self.run_s.items()})


class CostTable:
    """The curves of one model by shape. A shape not seen before is taken to be as the one of the warm-up is."""

    def __init__(self, run_s: Mapping[int, float] = _NOTHING, key: ShapeKey | None = None) -> None:
        """`run_s`: seconds by batch size, measured at warm-up with inputs of shape `key`; empty: nothing was."""
        self._seed = Curve(run_s, TRUSTED_RUNS) if run_s else None
        self._curves: OrderedDict[ShapeKey, Curve] = OrderedDict()
        if self._seed is not None and key is not None:
            self._curves[key] = self._seed

    @property
    def seeded(self) -> bool:
        """True where sizes were compared, so that one can be preferred to another."""
        return self._seed is not None

    def __len__(self) -> int:
        """The number of shapes with a curve of their own."""
        return len(self._curves)

    def __iter__(self) -> Iterator[tuple[ShapeKey, Curve]]:
        """The shapes that are told apart, the one run last at the end."""
        return iter(self._curves.items())

    def curve(self, key: ShapeKey) -> Curve | None:
        """The curve of this shape, or else of the warm-up's; None where nothing was measured."""
        return self._curves.get(key, self._seed)

    def observe(self, key: ShapeKey, rows: int, ran_s: float) -> Curve:
        """One run of this shape took so long; the curve that knows it now."""
        curve = self._curves.get(key)
        if curve is None:
            curve = Curve({rows: ran_s}) if self._seed is None else self._seed.scaled(ran_s / self._seed.seconds(rows))
            self._curves[key] = curve
            if len(self._curves) > MAX_SHAPES:
                self._curves.popitem(last=False)
        else:
            self._curves.move_to_end(key)
        curve.observe(rows, ran_s)
        return curve


def fastest_size(run_s: Mapping[int, float], max_batch_size: int) -> int:
    """The largest of the measured sizes that is within NEARLY_BEST of the best rows/s, dispatch included.

    A size that was never measured is never preferred to one that was: seeding stops where runs become long, and
    there larger batches only add latency.
    """
    rates = {size: size / (seconds + DISPATCH_OVERHEAD_S) for size, seconds in run_s.items() if size <= max_batch_size}
    if not rates:
        return max_batch_size
    enough = NEARLY_BEST * max(rates.values())
    return max(size for size, rate in rates.items() if rate >= enough)


def fastest_padded(curve: Curve, pending_rows: int, sizes: Iterable[int]) -> int:
    """The one of `sizes` that answers most rows a second where `pending_rows` wait. Padding counts for nothing."""
    return max(sizes, key=lambda size: (min(pending_rows, size) / (curve.seconds(size) + DISPATCH_OVERHEAD_S), size))


def _along(sizes: list[int], seconds: list[float], rows: int) -> float:
    i = bisect_left(sizes, rows)
    if i == len(sizes):
        return seconds[-1] * rows / sizes[-1]
    if sizes[i] == rows or i == 0:
        return seconds[i]
    low, high = sizes[i - 1], sizes[i]
    return seconds[i - 1] + (seconds[i] - seconds[i - 1]) * (rows - low) / (high - low)

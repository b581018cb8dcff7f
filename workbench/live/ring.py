"""Keeps the ticks of the last minutes in columns of numbers, and makes a page's history of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.live.batches import BatchLog
from workbench.live.tick import ENGINE_STAGES, LIVE_STAGES, ModelFigures, Tick, Work, batches_of, last_error

COLUMNS = ("requests_per_s", "p50_s", "p99_s", "queued", "errors_per_s")
"""Columns of every model. Where several ticks become one point, rates and p50 take their mean, higher percentiles and
the queue their maximum, so that no spike is lost."""

DETAIL = ("p95_s", "rows_per_s", "busy")
"""Further columns of the models asked for in detail, reduced in the same way."""

MEANS = {
    "batch_rows": ("rows", "batches"),
    **{f"{stage}_s": (f"{stage}_s", "run" if stage in ENGINE_STAGES else "answered") for stage in LIVE_STAGES},
}
"""Columns kept as two amounts, whose sums are divided, so that each request has the same weight."""

_HIGHEST = {"p95_s", "p99_s", "queued"}
_FIGURES = (*COLUMNS, *DETAIL)
_AMOUNTS = tuple(field.name for field in dataclasses.fields(Work))
_ROWS = len(_FIGURES) + len(_AMOUNTS)

MAX_MODELS = 500
"""Models kept at once; of more, those not seen for the longest are dropped."""


class Ring:
    """Keeps the last `capacity` ticks of one epoch.

    Takes 76 bytes per tick and model, allocated when a model is first seen, 8 per tick, and 12 for each kind of batch
    in a tick.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._epoch = ""
        self._taken = 0
        """Number of ticks so far, of which the last `capacity` are kept."""
        self._times = np.zeros(capacity)
        self._models: dict[str, _Past] = {}
        """In the order in which they were last seen."""

    @property
    def nbytes(self) -> int:
        return self._times.nbytes + sum(past.columns.nbytes + past.batches.nbytes for past in self._models.values())

    @property
    def names(self) -> list[str]:
        return list(self._models)

    def add(self, tick: Tick) -> None:
        """Add a tick. A new epoch drops all earlier ticks."""
        if tick.epoch != self._epoch:
            self._epoch, self._taken = tick.epoch, 0
            self._models.clear()
        number, at = self._taken, self._taken % self._capacity
        self._taken += 1
        self._times[at] = tick.time
        for name in self._models.keys() - tick.models.keys():
            self._models[name].columns[:, at] = np.nan
        for name, figures in tick.models.items():
            entries = tick.entries.get(name, ())
            past = self._models.pop(name, None) or _Past(self._capacity)
            past.columns[:, at] = _row(figures, Work.of(entries))
            past.batches.add(number, batches_of(entries), self._taken - self._capacity)
            past.last_error = last_error(entries) or past.last_error
            self._models[name] = past
        if len(self._models) > MAX_MODELS:
            for name in list(self._models)[:-MAX_MODELS]:
                del self._models[name]
        if at == 0:  # once per turn of the ring is enough
            self._forget()

    def history(
        self, names: Iterable[str] | None, window_s: float, points: int, detail: Collection[str] = ()
    ) -> dict[str, Any]:
        """Return `{"epoch", "models": {name: {"time": [...], column: [...]}}}`, oldest first.

        `names` is None for all models. Those in `detail` have more columns, whether they are in `names` or not.

        The window ends with the newest tick and is cut into `points` equal parts. A part without a tick gives no point,
        one without a value gives null.
        """
        numbers = np.arange(max(self._taken - self._capacity, 0), self._taken)
        times = self._times[numbers % self._capacity]
        within = times > times[-1] - window_s if len(times) else np.zeros(0, bool)
        numbers, times = numbers[within], times[within]
        models = {}
        if len(times):
            start = times[-1] - window_s
            parts = np.ceil((times - start) * (points / window_s)).astype(np.int64)
            firsts = np.flatnonzero(np.concatenate([[True], parts[1:] != parts[:-1]]))
            lasts = np.append(firsts[1:], len(times)) - 1
            shown = np.round(times[lasts], 3)
            wanted = self._models if names is None else {*names, *detail}
            for name in [name for name in self._models if name in wanted]:
                past, order = self._models[name], numbers % self._capacity
                models[name] = _thinned(shown, past, order, firsts, numbers[firsts] if name in detail else None)
        return {"epoch": self._epoch, "models": models}

    def _forget(self) -> None:
        """Drop models without a remaining tick."""
        for name in [name for name, past in self._models.items() if np.isnan(past.columns[0]).all()]:
            del self._models[name]


class _Past:
    """The kept columns of one model."""

    def __init__(self, capacity: int) -> None:
        self.columns = np.full((_ROWS, capacity), np.nan, np.float32)
        """Figures, then amounts; NaN where there is no tick."""
        self.batches = BatchLog()
        self.last_error: Mapping[str, Any] | None = None


def _row(figures: ModelFigures, work: Work) -> list[float]:
    found = [math.nan if (value := getattr(figures, name)) is None else value for name in _FIGURES]
    return found + [getattr(work, name) for name in _AMOUNTS]


def _thinned(
    times: NDArray[np.float64],
    past: _Past,
    order: NDArray[np.int64],
    firsts: NDArray[np.int64],
    ticks: NDArray[np.int64] | None,
) -> dict[str, Any]:
    """Return one point per part. A part begins at an entry of `firsts`, an index into `order`; parts before the model
    existed are left out. `ticks`, the numbers of the first ticks, is set where the detail is wanted."""
    found: dict[str, Any] = {}
    names = COLUMNS if ticks is None else _FIGURES
    columns = dict(zip(names, past.columns[: len(names), order].astype(np.float64), strict=True))
    there = np.logical_or.reduceat(~np.isnan(columns[COLUMNS[0]]), firsts)
    for name, column in columns.items():
        if name in _HIGHEST:
            values = np.fmax.reduceat(column, firsts)
        else:
            values = _divided(_summed(column, firsts), np.add.reduceat(~np.isnan(column), firsts, dtype=np.int64))
        found[name] = _digits(values[there])
    if ticks is not None:
        kept = past.columns[len(_FIGURES) :, order].astype(np.float64)
        amounts = dict(zip(_AMOUNTS, (_summed(column, firsts) for column in kept), strict=True))
        for name, (part, whole) in MEANS.items():
            found[name] = _digits(_divided(amounts[part], amounts[whole])[there])
        batches = past.batches.parts(ticks)
        found["batches"] = [batches[at] for at in np.flatnonzero(there)]
    if past.last_error is not None:
        found["last_error"] = past.last_error
    return {"time": times[there].tolist(), **found}


def _summed(column: NDArray[np.float64], firsts: NDArray[np.int64]) -> NDArray[np.float64]:
    sums: NDArray[np.float64] = np.add.reduceat(np.nan_to_num(column), firsts)
    return sums


def _divided(sums: NDArray[np.float64], counts: NDArray[Any]) -> NDArray[np.float64]:
    """Divide; NaN where the count is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: NDArray[np.float64] = sums / counts
    return found


def _digits(values: NDArray[np.float64]) -> list[float]:
    """Round to four digits, as in the ticks."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (3 - np.floor(np.log10(np.abs(values))))
        rounded = np.where(values == 0, 0.0, np.round(values * scale) / scale)
    found: list[float] = rounded.tolist()
    return found

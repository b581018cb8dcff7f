"""The last minutes of ticks, in columns of numbers, and what a page is given of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.jupyter.figures import ModelFigures, Tick

COLUMNS = ("requests_per_s", "p50_s", "p99_s", "queued", "errors_per_s")
"""What is kept of a model, and how it is thinned out: rates and p50 to their mean, p99 and the queue to their highest,
so that no spike is lost between two points."""

_HIGHEST = {"p99_s", "queued"}

MAX_MODELS = 500
"""Kept at once; of more, those not seen for the longest are forgotten."""


class Ring:
    """`capacity` ticks of one epoch: 20 bytes a tick and model, and 8 a tick, allocated when a model is first seen."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._epoch = ""
        self._taken = 0
        """Ticks taken in, of which the last `capacity` are there."""
        self._times = np.zeros(capacity)
        self._models: dict[str, NDArray[np.float32]] = {}
        """Name -> (len(COLUMNS), capacity), NaN where there is no figure; the one seen last is the last."""

    @property
    def nbytes(self) -> int:
        return self._times.nbytes + sum(columns.nbytes for columns in self._models.values())

    @property
    def names(self) -> list[str]:
        return list(self._models)

    def add(self, tick: Tick) -> None:
        """Of another epoch than the one before: what there was is dropped."""
        if tick.epoch != self._epoch:
            self._epoch, self._taken = tick.epoch, 0
            self._models.clear()
        at = self._taken % self._capacity
        self._taken += 1
        self._times[at] = tick.time
        for columns in self._models.values():
            columns[:, at] = np.nan
        for name, figures in tick.models.items():
            columns = self._columns(name)
            columns[:, at] = _row(figures)
            self._models[name] = columns
        if len(self._models) > MAX_MODELS:
            for name in list(self._models)[:-MAX_MODELS]:
                del self._models[name]
        if at == 0:  # once a round is often enough
            self._forget()

    def history(self, names: Iterable[str] | None, window_s: float, points: int) -> dict[str, Any]:
        """`{"epoch", "models": {name: {"time": [...], column: [...]}}}`, oldest first; None: of all models.

        The window ends with the newest tick and is cut into `points` equal parts; a part without a tick gives no
        point, one without a figure gives null.
        """
        order = np.arange(max(self._taken - self._capacity, 0), self._taken) % self._capacity
        times = self._times[order]
        within = times > times[-1] - window_s if len(times) else np.zeros(0, bool)
        order, times = order[within], times[within]
        models = {}
        if len(times):
            start = times[-1] - window_s
            parts = np.ceil((times - start) * (points / window_s)).astype(np.int64)
            firsts = np.flatnonzero(np.concatenate([[True], parts[1:] != parts[:-1]]))
            lasts = np.append(firsts[1:], len(times)) - 1
            shown = np.round(times[lasts], 3)
            for name in self._models if names is None else [name for name in names if name in self._models]:
                models[name] = _thinned(shown, self._models[name][:, order], firsts)
        return {"epoch": self._epoch, "models": models}

    def _columns(self, name: str) -> NDArray[np.float32]:
        columns = self._models.pop(name, None)
        if columns is None:
            columns = np.full((len(COLUMNS), self._capacity), np.nan, np.float32)
        return columns

    def _forget(self) -> None:
        """Drop models of which nothing is left."""
        for name in [name for name, columns in self._models.items() if np.isnan(columns).all()]:
            del self._models[name]


def _row(figures: ModelFigures) -> list[float]:
    return [math.nan if (value := getattr(figures, name)) is None else value for name in COLUMNS]


def _thinned(times: NDArray[np.float64], columns: NDArray[np.float32], firsts: NDArray[np.int64]) -> dict[str, Any]:
    """One point for each part, which begins at one of `firsts`; parts from before the model was there are left out."""
    found = {}
    there = np.logical_or.reduceat(~np.isnan(columns[0]), firsts)
    for name, column in zip(COLUMNS, columns.astype(np.float64), strict=True):
        if name in _HIGHEST:
            values = np.fmax.reduceat(column, firsts)
        else:
            counted = np.add.reduceat(~np.isnan(column), firsts, dtype=np.int64)
            with np.errstate(invalid="ignore"):
                values = np.add.reduceat(np.nan_to_num(column), firsts) / counted
        found[name] = _digits(values[there])
    return {"time": times[there].tolist(), **found}


def _digits(values: NDArray[np.float64]) -> list[float]:
    """Four digits of each, as in the ticks."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (3 - np.floor(np.log10(np.abs(values))))
        rounded = np.where(values == 0, 0.0, np.round(values * scale) / scale)
    found: list[float] = rounded.tolist()
    return found

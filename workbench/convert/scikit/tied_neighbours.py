"""Finds the rows that a nearest-neighbours model itself leaves undecided.

Where its last neighbour and the one behind it are equally far, which of the two counts is an accident of the order in
which they are looked at, and scikit-learn's order is not an export's. A KNNImputer, anywhere inside, is given its
stored rows in other orders: where the answer changes with them, it was such an accident.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from workbench.convert.scikit.precision import parts_of
from workbench.core.tensor import Array

EQUALLY_FAR = 1e-5
"""Distances that differ by no more than this share are equal: float32 tells them no further apart."""

_ORDERS = 3
"""In how many other orders the stored rows of imputers are tried."""

MOST_TIED = 0.2
"""Where a larger share of the rows is tied, as on small whole numbers, they are compared all the same: answers that
differ so often are no accident to a caller."""


def decided(estimator: Any, rows: Any) -> tuple[Any, int]:
    """The rows whose neighbours are told apart by their distance, and how many were left out."""
    found = [each for each in (_tied(estimator, rows), _filled_by_order(estimator, rows)) if each is not None]
    tied = np.logical_or.reduce(found) if found else None
    if tied is None or not tied.any() or tied.mean() > MOST_TIED:
        return rows, 0
    return (rows.loc[~tied] if hasattr(rows, "loc") else np.asarray(rows)[~tied]), int(tied.sum())


def _tied(estimator: Any, rows: Any) -> Array | None:
    """For each row whether its last neighbour is tied; None for a model without neighbours, or rows that it refuses."""
    while (inner := getattr(estimator, "best_estimator_", None)) is not None:
        estimator = inner
    try:
        while steps := getattr(estimator, "steps", None):
            for _, step in steps[:-1]:
                rows = rows if step in ("passthrough", None) else step.transform(rows)
            estimator = steps[-1][1]
        count = getattr(estimator, "n_neighbors_", None) or getattr(estimator, "n_neighbors", None)
        if not hasattr(estimator, "kneighbors") or not isinstance(count, int | np.integer):
            return None
        if count >= estimator.n_samples_fit_:
            return None
        distances, _ = estimator.kneighbors(rows, n_neighbors=count + 1)
    except Exception:  # the estimator's own: what it refuses is said where its answers are asked for
        return None
    last, behind = distances[:, -2], distances[:, -1]
    return np.asarray(behind - last <= EQUALLY_FAR * np.maximum(behind, 1e-30))


def _filled_by_order(estimator: Any, rows: Any) -> Array | None:
    """For each row whether its answer depends on the order of the rows that a KNNImputer stores; None without one."""
    if not _imputers(estimator):
        return None
    ask = "predict_proba" if hasattr(estimator, "predict_proba") else "predict"
    ask = ask if hasattr(estimator, ask) else "transform"
    random = np.random.default_rng(0)
    try:
        first = _numbers(getattr(estimator, ask)(rows))
        tied: Array = np.zeros(len(first), bool)
        for _ in range(_ORDERS):
            other = copy.deepcopy(estimator)
            for part in _imputers(other):
                order = random.permutation(len(part._fit_X))
                part._fit_X, part._mask_fit_X = part._fit_X[order], part._mask_fit_X[order]
            again = _numbers(getattr(other, ask)(rows))
            tied |= ~np.isclose(first, again, rtol=EQUALLY_FAR, equal_nan=True).all(axis=1)
    except Exception:  # as above
        return None
    return tied


def _imputers(estimator: Any) -> list[Any]:
    """The fitted ones; what they were cloned from is among the parts too."""
    return [each for each in parts_of(estimator) if type(each).__name__ == "KNNImputer" and hasattr(each, "_fit_X")]


def _numbers(found: Any) -> Array:
    """An answer as numbers, [N, all others]; text by which of its values it is."""
    array = np.asarray(found.toarray() if hasattr(found, "toarray") else found)
    if array.dtype.kind not in "fiub":
        array = np.unique(array.astype(str), return_inverse=True)[1].reshape(array.shape)
    return array.reshape(len(array), -1).astype(float)

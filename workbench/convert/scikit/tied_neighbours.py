"""Finds the rows that a nearest-neighbours model itself leaves undecided.

Where its last neighbour and the one behind it are equally far, which of the two counts is an accident of the order in
which they are looked at, and scikit-learn's order is not an export's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.core.tensor import Array

EQUALLY_FAR = 1e-5
"""Distances that differ by no more than this share are equal: float32 tells them no further apart."""

MOST_TIED = 0.2
"""Where a larger share of the rows is tied, as on small whole numbers, they are compared all the same: answers that
differ so often are no accident to a caller."""


def decided(estimator: Any, rows: Any) -> tuple[Any, int]:
    """The rows whose neighbours are told apart by their distance, and how many were left out."""
    tied = _tied(estimator, rows)
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

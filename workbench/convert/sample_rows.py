"""Rows on which an estimator and its export are compared when the user gave none.

Best are rows like those it was trained on, so its own memory is asked first: stored rows, centres, means and scales,
split points. Where it remembers nothing of the kind, rows of several magnitudes are made up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.core.tensor import Array

ROWS = 256


def rows_like_the_training_data(estimator: Any, features: int) -> Array:
    """ROWS rows of `features` float64 values that float32 holds exactly; the same ones each time.

    Exactly, so that the comparison is of the export and not of rounding the rows.
    """
    rng = np.random.default_rng(0)
    for step in _first_steps(estimator):
        rows = _remembered(step, rng)
        if rows is not None and rows.shape[1:] == (features,) and np.isfinite(rows).all():
            return np.asarray(rows.astype(np.float32).astype(np.float64))
    quarter = (ROWS // 4, features)
    made_up = [rng.standard_normal(quarter), rng.uniform(0, 1, quarter), rng.uniform(0, 20, quarter)]
    made_up.append(10 * rng.standard_normal(quarter))
    rows = np.abs(np.concatenate(made_up)) if _counts(estimator) else np.concatenate(made_up)
    return np.asarray(rows.astype(np.float32).astype(np.float64))


def texts_like_the_training_data(vectorizer: Any) -> Array:
    """ROWS texts of its vocabulary's words."""
    rng = np.random.default_rng(0)
    words = sorted(getattr(vectorizer, "vocabulary_", None) or ["one", "two", "three", "four"])
    return np.array([" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(ROWS)], dtype=object)


def _first_steps(estimator: Any) -> Iterator[Any]:
    """The estimator that sees the raw rows: a pipeline's first step, or the one inside a search or a wrapper."""
    steps = getattr(estimator, "steps", None)
    if steps:
        yield from _first_steps(steps[0][1])
        return
    for inner in ("best_estimator_", "estimator_"):
        if hasattr(estimator, inner):
            yield from _first_steps(getattr(estimator, inner))
    yield estimator


def _remembered(step: Any, rng: np.random.Generator) -> Array | None:
    for stored in ("_fit_X", "support_vectors_", "X_train_", "cluster_centers_"):
        rows = getattr(step, stored, None)
        if isinstance(rows, np.ndarray) and rows.ndim == 2 and len(rows):
            chosen = rows[rng.integers(0, len(rows), ROWS)]
            return np.asarray(chosen + 0.01 * rng.standard_normal(chosen.shape) * (rows.std(axis=0) + 1e-6))
    if getattr(step, "data_min_", None) is not None:
        return np.asarray(rng.uniform(step.data_min_, step.data_max_, (ROWS, len(step.data_min_))))
    if getattr(step, "mean_", None) is not None and getattr(step, "scale_", None) is not None:
        return np.asarray(rng.normal(step.mean_, step.scale_, (ROWS, len(step.mean_))))
    if getattr(step, "theta_", None) is not None and getattr(step, "var_", None) is not None:
        means, deviations = step.theta_, np.sqrt(step.var_)
        chosen = rng.integers(0, len(means), ROWS)
        return np.asarray(rng.normal(means[chosen], deviations[chosen]))
    return _around_the_splits(step, rng)


def _around_the_splits(step: Any, rng: np.random.Generator) -> Array | None:
    """For trees: values between the split points of each feature."""
    trees = list(np.ravel(np.asarray(getattr(step, "estimators_", [step]), dtype=object)))
    trees = [tree.tree_ for tree in trees if hasattr(tree, "tree_")]
    if not trees:
        return None
    features = step.n_features_in_
    feature = np.concatenate([tree.feature for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    low, high = np.zeros(features), np.ones(features)
    for index in range(features):
        if (points := threshold[feature == index]).size:
            margin = 0.1 * (np.ptp(points) or abs(points[0]) or 1.0)
            low[index], high[index] = points.min() - margin, points.max() + margin
    return np.asarray(rng.uniform(low, high, (ROWS, features)))


def _counts(estimator: Any) -> bool:
    """True for models of counts, which refuse negative values."""
    return any("NB" in type(step).__name__ or "Chi2" in type(step).__name__ for step in _all_steps(estimator))


def _all_steps(estimator: Any) -> list[Any]:
    return [step for _, step in getattr(estimator, "steps", [("", estimator)])]

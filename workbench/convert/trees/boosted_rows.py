"""Rows on which a boosted model and its export are compared when the user gave none: read from its own splits."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.convert.trees.tree_graph import Boosted
from workbench.core.tensor import Array

ROWS = 256
HOLES = 0.2
"""The share of missing values where there are some."""


def rows_at_the_splits(model: Boosted, *, double: bool) -> Array:
    """[ROWS, features] of float64, the same each time. Half of a feature's values lie between its thresholds, half on
    one of them or at the next number that the input can hold; categories are those of its splits and one more."""
    rng = np.random.default_rng(0)
    points, members = _splits(model)
    columns = []
    for feature in range(len(model.features)):
        if feature in model.categories:
            columns.append(rng.integers(0, len(model.categories[feature]), ROWS))
        elif feature in members:
            known = sorted(members[feature])
            columns.append(rng.choice([*known, known[-1] + 1], ROWS))
        else:
            columns.append(_around(points.get(feature, np.empty(0)), rng, double))
    return np.column_stack(columns).astype(np.float64)


def with_holes(rows: Any) -> Any:
    """A copy with some of the numbers missing; of a DataFrame, in its columns of floats and of categories."""
    rng = np.random.default_rng(1)
    if not hasattr(rows, "columns"):
        array = np.array(rows, dtype=np.float64 if np.asarray(rows).dtype.kind != "f" else None)
        array[rng.random(array.shape) < HOLES] = np.nan
        return array
    frame = rows.copy()
    for name in frame.columns:
        gone = rng.random(len(frame)) < HOLES
        if frame[name].dtype.kind == "f" or hasattr(frame[name].dtype, "categories"):
            frame[name] = frame[name].mask(gone)
    return frame


def _around(points: Array, rng: np.random.Generator, double: bool) -> Array:
    points = points[np.abs(points) < 1e30]
    if not len(points):
        return rng.normal(size=ROWS).astype(np.float32)
    spread = float(points[-1] - points[0]) or max(abs(float(points[0])), 1.0)
    ends = np.concatenate([[points[0] - spread / 4], points, [points[-1] + spread / 4]])
    which = rng.integers(0, len(ends) - 1, ROWS)
    between = ends[which] + rng.random(ROWS) * (ends[which + 1] - ends[which])
    at = points[rng.integers(0, len(points), ROWS)]
    if not double:
        between, at = between.astype(np.float32), at.astype(np.float32)
    at = np.nextafter(at, at.dtype.type(np.inf) * rng.choice([-1, 1], ROWS).astype(at.dtype), dtype=at.dtype)
    exact = points[rng.integers(0, len(points), ROWS)].astype(at.dtype)
    chosen = rng.integers(0, 4, ROWS)
    return np.select([chosen < 2, chosen == 2], [between, at], exact)


def _splits(model: Boosted) -> tuple[dict[int, Array], dict[int, set[int]]]:
    """Feature -> its thresholds in order; feature -> the categories that its splits ask for."""
    found: dict[int, set[float]] = {}
    members: dict[int, set[int]] = {}
    for tree in model.trees:
        for node, feature in enumerate(tree.feature.tolist()):
            if node in tree.members:
                members.setdefault(feature, set()).update(tree.members[node])
            else:
                found.setdefault(feature, set()).add(float(tree.threshold[node]))
    return {feature: np.array(sorted(each)) for feature, each in found.items()}, members

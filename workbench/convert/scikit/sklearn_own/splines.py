"""B-splines of each column, by de Boor's recurrence in the order of operations that scipy has, so to the last digit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.errors import Unsupported


def spline_transformer(graph: Graph, model: Any) -> Sequence[Value]:
    if model.extrapolation not in ("constant", "continue", "periodic"):
        raise Unsupported(
            f"extrapolation={model.extrapolation!r} has no ONNX form here; 'constant' and 'continue' have"
        )
    splines, degree, rows = model.bsplines_, int(model.degree), graph.rows
    knots = np.stack([each.t for each in splines])  # [features, knots]
    features = len(splines)
    inner = knots[:, degree : knots.shape[1] - degree]
    low, high = inner[:, 0], inner[:, -1]
    if model.extrapolation == "constant":
        rows = graph.node("Min", graph.node("Max", rows, low), high)
    elif model.extrapolation == "periodic":
        turned = graph.node("Mod", rows - low, high - low, fmod=1)
        rows = graph.where(turned < 0.0, turned + (high - low), turned) + low
    column = rows.reshape(-1, features, 1)
    pieces = inner.shape[1] - 1
    piece = (column >= inner[np.newaxis, :, 1:-1]).cast("int64").reduce("Sum", axis=2, keep=False)
    place = piece + np.arange(features) * pieces  # among all pieces of all features

    def of_piece(table: Any) -> Value:
        """Rows of `table`, [features, pieces, ...]."""
        array = np.asarray(table, float)
        return graph.numbers(array.reshape(features * pieces, *array.shape[2:])).take(place, axis=0)

    basis = graph.node("Expand", np.ones((1, 1, 1)), graph.node("Shape", column))
    last = np.arange(degree, degree + pieces)  # the knot where each piece begins
    for order in range(1, degree + 1):
        ahead = last[:, np.newaxis] + np.arange(1, order + 1)
        after, before = knots[:, ahead], knots[:, ahead - order]
        width = after - before
        share = basis / of_piece(np.where(width > 0, width, np.inf))
        left = graph.node("Pad", share * (of_piece(after) - column), np.array([0, 0, 0, 0, 0, 1]))
        right = graph.node("Pad", share * (column - of_piece(before)), np.array([0, 0, 1, 0, 0, 0]))
        basis = right + left
    taken = (last - degree)[:, np.newaxis] + np.arange(degree + 1)
    chosen = of_piece(np.stack([each.c[taken] for each in splines]))  # [N, features, degree + 1, splines], 0 or 1
    found = (graph.node("Unsqueeze", basis, np.array([2])) @ chosen).reshape(-1, features, splines[0].c.shape[1])
    count = splines[0].c.shape[1] - (0 if model.include_bias else 1)
    if not model.include_bias:
        found = found.take(np.arange(count), axis=2)
    return [found.reshape(-1, features * count)]


CONVERTERS = {"sklearn.preprocessing.SplineTransformer": spline_transformer}

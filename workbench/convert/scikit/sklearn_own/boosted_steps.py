"""LightGBM's, XGBoost's and CatBoost's models as steps of a pipeline, or inside another estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.convert.scikit.sklearn_own.trees import moved_on
from workbench.convert.trees.boosted_model import plain_classes
from workbench.convert.trees.boosted_original import read_original
from workbench.convert.trees.tree_graph import ML_OPSET, labelled, linked, raw_scores, two_classes
from workbench.convert.trees.tree_graph import Graph as TreeGraph
from workbench.errors import Unsupported


class _Inside(TreeGraph):
    """Adds the nodes at `place`, under names of its own."""

    def __init__(self, place: Graph) -> None:
        super().__init__()
        self._place = place

    def add(self, operator: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any) -> str:
        values = [Value(self._place, name) for name in inputs]
        version = {"op_version": ML_OPSET} if domain else {}
        return self._place.node(operator, *values, domain=domain, **version, **attributes).name

    def constant(self, values: Any) -> str:
        return self._place.constant(np.asarray(values)).name


def boosted_step(graph: Graph, estimator: Any) -> Sequence[Value]:
    original = read_original(estimator, None)
    model = original.model
    if model.categories:
        raise Unsupported(
            f"{original.kind} was trained on pandas categories, which reach it from the frame itself only"
        )
    if original.several_labels:
        raise Unsupported(f"{original.kind} has several labels; load it without the steps before it")
    inside = _Inside(graph)
    double = original.library == "lightgbm"
    if double and graph.behind:
        model = replace(model, trees=moved_on(model.trees))
    rows = graph.rows if double else graph.rows.cast("float32")
    scores = raw_scores(inside, model, rows.name, np.dtype(np.float64 if double else np.float32))
    if original.classes is None:
        return [Value(graph, linked(inside, model.link, scores, ""))]
    if graph.raw and getattr(estimator, "sigmoid", 1.0) != 1.0:
        raise Unsupported(f"{original.kind} has scores of another slope than its probabilities")
    probabilities = linked(inside, model.link, scores, "")
    if model.targets == 1:
        probabilities = two_classes(inside, probabilities, "")
    label = labelled(inside, probabilities, plain_classes(original.classes), "")
    return [Value(graph, label), Value(graph, scores if graph.raw else probabilities)]


CONVERTERS = dict.fromkeys(
    (
        *(f"lightgbm.sklearn.LGBM{kind}" for kind in ("Classifier", "Regressor", "Ranker")),
        *(
            f"xgboost.sklearn.XGB{kind}"
            for kind in ("Classifier", "Regressor", "Ranker", "RFClassifier", "RFRegressor")
        ),
        *(f"catboost.core.CatBoost{kind}" for kind in ("Classifier", "Regressor", "Ranker")),
    ),
    boosted_step,
)

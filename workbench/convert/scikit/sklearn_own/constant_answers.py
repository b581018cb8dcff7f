"""The estimators that answer the same whatever they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value
from workbench.convert.scikit.sklearn_own.responses import of_each_output
from workbench.errors import Unsupported


def dummy_classifier(graph: Graph, model: Any) -> Sequence[Value]:
    if model.strategy in ("stratified", "uniform"):
        raise Unsupported(f"strategy={model.strategy!r} answers at random, which an export cannot repeat")
    several = model.n_outputs_ > 1
    classes = model.classes_ if several else [model.classes_]
    priors = model.class_prior_ if several else [model.class_prior_]
    chosen, probabilities = [], []
    for place, (kinds, prior) in enumerate(zip(classes, priors, strict=True)):
        best = int(np.argmax(prior))
        if model.strategy == "constant":
            best = int(np.flatnonzero(kinds == np.ravel(model.constant)[place])[0])
        chosen.append(graph.labels(kinds, graph.fill(np.array(best))))
        row = np.asarray(prior, float) if model.strategy == "prior" else np.eye(len(kinds))[best]
        probabilities.append(graph.fill(row))
    return (
        of_each_output(chosen, probabilities, [len(each) for each in classes]) if several else [*chosen, *probabilities]
    )


def dummy_regressor(graph: Graph, model: Any) -> Sequence[Value]:
    return [graph.fill(np.ravel(np.asarray(model.constant_, float)))]


CONVERTERS = {"sklearn.dummy.DummyClassifier": dummy_classifier, "sklearn.dummy.DummyRegressor": dummy_regressor}

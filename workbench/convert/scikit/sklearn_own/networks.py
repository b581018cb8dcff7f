"""Neural networks that classify, of one label or of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value

_ACTIVATIONS = {"identity": "", "logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}


def mlp_classifier(graph: Graph, model: Any) -> Sequence[Value]:
    found = graph.rows
    kind = _ACTIVATIONS[model.activation]
    for place, (weights, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        found = found @ weights.astype(float) + bias.astype(float)
        if kind and place < len(model.coefs_) - 1:
            found = found.apply(kind)
    if model.out_activation_ == "softmax":
        found = graph.node("Softmax", found, axis=1)
        return [graph.labels(model.classes_, found.argmax()), found]
    found = found.apply("Sigmoid")
    if model._label_binarizer.y_type_.startswith("multilabel"):
        return [(found > 0.5).cast("int64"), found]
    label = graph.labels(model.classes_, (found.reshape(-1) > 0.5).cast("int64"))
    return [label, graph.concat([1.0 - found, found])]


CONVERTERS = {"sklearn.neural_network.MLPClassifier": mlp_classifier}

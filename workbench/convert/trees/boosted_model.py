"""Puts a boosted model's graph together: one matrix of rows, or an input a column where some hold categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.trees.tree_graph import (
    ML_OPSET,
    OPSET,
    Boosted,
    Graph,
    labelled,
    linked,
    raw_scores,
    two_classes,
)
from workbench.core.tensor import Array

INPUT = "X"


def boosted_model(model: Boosted, classes: Array | None, *, several_labels: bool, double: bool) -> Any:
    """The ModelProto. `classes`: of a classifier, which answers `label` and `probabilities`; None: it answers
    `variable`. `several_labels`: each target is a yes or no of its own. `double`: rows are float64."""
    from onnx import TensorProto, helper

    graph = Graph()
    dtype = np.dtype(np.float64 if double else np.float32)
    inputs, rows = _inputs(graph, model, dtype)
    scores = raw_scores(graph, model, rows, dtype)
    if dtype == np.float64 and model.weights is not None:
        scores = graph.add("Cast", scores, to=TensorProto.FLOAT)
    if classes is None and not several_labels:
        linked(graph, model.link, scores, "variable")
        width = 1 if model.link == "best class" else model.targets
        outputs = [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, width])]
    else:
        outputs = _classified(graph, model, classes, scores)
    made = helper.make_graph(graph.nodes, "boosted", inputs, outputs, graph.initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    return helper.make_model(made, opset_imports=opsets, ir_version=10)


def _classified(graph: Graph, model: Boosted, classes: Array | None, scores: str) -> list[Any]:
    from onnx import TensorProto, helper

    if classes is None:
        linked(graph, model.link, scores, "probabilities")
        yes = graph.add("Greater", "probabilities", graph.constant(np.float32(0.5)))
        graph.add("Cast", yes, output="label", to=TensorProto.INT64)
        kind, shape, width = TensorProto.INT64, [None, model.targets], model.targets
    else:
        two = model.targets == 1
        if two:
            two_classes(graph, linked(graph, model.link, scores, ""), "probabilities")
        else:
            linked(graph, model.link, scores, "probabilities")
        known = plain_classes(classes)
        labelled(graph, "probabilities", known, "label")
        kind = helper.np_dtype_to_tensor_dtype(known.dtype) if known.dtype != object else TensorProto.STRING
        shape, width = [None], 2 if two else model.targets
    label = helper.make_tensor_value_info("label", kind, shape)
    return [label, helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, width])]


def plain_classes(classes: Array) -> Array:
    """Classes as a constant can hold them: text as objects, whole numbers as int64."""
    if classes.dtype.kind in "OUST":
        return np.array([str(each) for each in classes], dtype=object)
    return classes.astype(np.int64) if classes.dtype.kind in "iub" else classes.astype(np.float32)


def is_text(categories: Sequence[Any]) -> bool:
    return any(isinstance(each, str) for each in categories)


def _inputs(graph: Graph, model: Boosted, dtype: np.dtype[Any]) -> tuple[list[Any], str]:
    """The inputs, and the name of the matrix that they make."""
    from onnx import TensorProto, helper

    number = helper.np_dtype_to_tensor_dtype(dtype)
    if not model.categories:
        return [helper.make_tensor_value_info(INPUT, number, [None, len(model.features)])], INPUT
    inputs, columns = [], []
    for index, name in enumerate(model.features):
        categories = model.categories.get(index)
        text = is_text(categories or ())
        inputs.append(helper.make_tensor_value_info(name, TensorProto.STRING if text else number, [None, 1]))
        if categories is None:
            columns.append(name)
            continue
        codes: dict[str, Any] = {"values_floats": [float(code) for code in range(len(categories))]}
        codes["default_float"] = float("nan")  # of a category that was not there in training
        if text:
            column = graph.add("LabelEncoder", name, domain="ai.onnx.ml", keys_strings=list(categories), **codes)
        else:
            given = graph.add("Cast", name, to=TensorProto.FLOAT) if dtype == np.float64 else name
            keys = [float(each) for each in categories]
            column = graph.add("LabelEncoder", given, domain="ai.onnx.ml", keys_floats=keys, **codes)
        columns.append(graph.add("Cast", column, to=number) if dtype == np.float64 else column)
    return inputs, graph.add("Concat", *columns, axis=1)

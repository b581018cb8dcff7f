"""Registers our own converters with skl2onnx for the time of one export, so that they work inside its pipelines too."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own import (
    boosted_steps,
    calibration,
    chains,
    clusters,
    columns_alone,
    constant_answers,
    forests,
    gaussian_processes,
    imputers,
    kernel_models,
    linear_maps,
    neighbours,
    networks,
    one_against_another,
    splines,
    target_transforms,
    trees,
    votes_and_stacks,
    wrappers,
)
from workbench.convert.scikit.sklearn_own.graph_values import Graph, Value, is_text

Converter = Callable[[Graph, Any], Sequence[Value]]
"""(where, the fitted estimator) -> the outputs: of a classifier labels and probabilities or scores, of a clusterer
labels and distances if it has a `transform`, of an outlier detector labels and scores, of all others one array."""

_TABLES = (
    boosted_steps,
    calibration,
    chains,
    clusters,
    columns_alone,
    constant_answers,
    forests,
    gaussian_processes,
    imputers,
    kernel_models,
    linear_maps,
    neighbours,
    networks,
    one_against_another,
    splines,
    target_transforms,
    trees,
    votes_and_stacks,
    wrappers,
)

CONVERTERS: dict[str, Converter] = {path: function for table in _TABLES for path, function in table.CONVERTERS.items()}
"""The path of a class -> its converter."""

_OPTIONS: dict[str, Any] = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "raw_scores": [True, False],
}


@contextlib.contextmanager
def own_converters(estimator: Any, behind: bool = False) -> Iterator[None]:
    """Those that `estimator` may need; `behind` as for Graph. skl2onnx's tables are the whole process's, so they are
    put back afterwards."""
    from skl2onnx import update_registered_converter
    from skl2onnx._parse import sklearn_parsers_map
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common._registration import _converter_pool, _shape_calculator_pool

    tables: list[dict[Any, Any]] = [
        sklearn_operator_name_map,
        sklearn_parsers_map,
        _converter_pool,
        _shape_calculator_pool,
    ]
    before = [dict(table) for table in tables]
    try:
        for path, function in (CONVERTERS | _of_several_outputs(estimator)).items():
            if (kind := _class(path)) is not None:
                from sklearn.base import ClassifierMixin

                classifies = issubclass(kind, ClassifierMixin) or kind.__name__ == "CatBoostClassifier"
                options = _OPTIONS if classifies else None
                update_registered_converter(
                    kind, f"Own{kind.__name__}", _shapes, _converter(function, behind), parser=_parser, options=options
                )
        yield
    finally:
        for table, kept in zip(tables, before, strict=True):
            table.clear()
            table.update(kept)


def _of_several_outputs(estimator: Any) -> dict[str, Converter]:
    """The converter of neighbours with several outputs; skl2onnx's own is used for one output."""
    last = estimator.steps[-1][1] if getattr(estimator, "steps", None) else estimator
    several: dict[str, Converter] = dict(neighbours.OF_SEVERAL_OUTPUTS)
    found = {path: each for path, each in several.items() if _class(path) is type(last)}
    return found if isinstance(getattr(last, "classes_", None), list) else {}


def _class(path: str) -> Any:
    """None where this version of scikit-learn does not have it, or nobody has imported its library yet."""
    module, _, name = path.rpartition(".")
    if not path.startswith("sklearn.") and module not in sys.modules:
        return None
    return getattr(importlib.import_module(module), name, None)


def _converter(function: Converter, behind: bool) -> Callable[[Any, Any, Any], None]:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        found = function(Graph(scope, operator, container, behind), operator.raw_operator)
        for value, output in zip(found, operator.outputs, strict=False):
            kind, attributes = "Identity", {}
            if output.type.__class__.__name__ in ("FloatTensorType", "DoubleTensorType"):
                kind = "Cast"
                attributes = {"to": 1 if output.type.__class__.__name__ == "FloatTensorType" else 11}
            name = scope.get_unique_operator_name(kind)
            container.add_node(kind, value.name, output.full_name, name=name, **attributes)

    return convert


def _parser(scope: Any, model: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common.data_types import Int64TensorType

    operator = scope.declare_local_operator(sklearn_operator_name_map[type(model)], model)
    operator.inputs = inputs
    for name in output_names(model):
        kind = Int64TensorType() if name == "label" else _floats(inputs[0])()
        operator.outputs.append(scope.declare_local_variable(name, kind))
    return list(operator.outputs)


def output_names(model: Any) -> list[str]:
    from sklearn.base import is_classifier, is_clusterer, is_outlier_detector

    if hasattr(model, "get_support"):  # a selector of columns, whatever it selects them by
        return ["variable"]
    if is_classifier(model):
        scores = any(hasattr(model, method) for method in ("predict_proba", "decision_function"))
        if getattr(model, "multi_class", "") == "one_vs_one" and len(model.classes_) > 2:  # of Gaussian processes
            scores = False
        counts = {len(each) for each in _classes(model)}
        if not scores or (hasattr(model, "chain_method") and counts != {2}):
            return ["label"]  # a chain has probabilities of two classes only
        if len(counts) > 1:  # no array holds them all
            return ["label", *(f"probabilities_{place}" for place in range(len(_classes(model))))]
        return ["label", "probabilities"]
    if is_clusterer(model) and hasattr(model, "predict"):
        return ["label", "scores"] if hasattr(model, "transform") else ["label"]
    return ["label", "scores"] if is_outlier_detector(model) else ["variable"]


def _shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    model, rows = operator.raw_operator, operator.inputs[0].get_first_dimension()
    for place, output in enumerate(operator.outputs):
        if output_names(model)[place] == "label":
            several = _several_outputs(model)
            shape = [rows, None] if several else [rows]
            text = any(is_text(np.asarray(each)) for each in _classes(model))
            output.set_type(StringTensorType(shape) if text else Int64TensorType(shape))
        else:
            output.set_type(_floats(operator.inputs[0])(None))


def _floats(variable: Any) -> Any:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    return DoubleTensorType if isinstance(variable.type, DoubleTensorType) else FloatTensorType


def _classes(model: Any) -> list[Any]:
    """The classes of each output; none of what is no classifier."""
    try:
        classes = getattr(model, "classes_", None)
    except AttributeError:
        classes = None
    if classes is None:
        return []
    return list(classes) if isinstance(classes, list) else [classes]


def _several_outputs(model: Any) -> bool:
    return isinstance(getattr(model, "classes_", None), list) or bool(getattr(model, "multilabel_", False))

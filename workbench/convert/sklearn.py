"""scikit-learn estimators and pipelines -> ONNX, by skl2onnx.

The batch axis is free, probabilities are a plain array, and the same estimator gives the same bytes each time. One
input `X` of float32 rows; a DataFrame of several kinds of column becomes one input a column, by the column's name.
"""

from __future__ import annotations

import contextlib
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.client.formatting import megabytes
from workbench.convert.converters import Converted
from workbench.convert.sample_rows import rows_like_the_training_data, texts_like_the_training_data
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, Unsupported

INPUT = "X"
MOST_ROWS = 1000
"""More rows than these are thinned out evenly before they are compared."""

_SECOND = ("predict_proba", "decision_function", "score_samples", "transform")
"""The methods that the second output of an export may stand for, in this order."""

_UNKNOWN = re.compile(r"Unable to find a(?: shape calculator|n? ?converter)[^<]*<class '(?:[^']*\.)?(\w+)'>")
"""The beginning of skl2onnx's error for a class that it cannot convert."""


def convert(source: object, sample: object | None) -> Converted:
    """The export of a fitted estimator. `sample`: rows as its `predict` takes them."""
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    estimator: Any = source
    kind = _called(estimator)
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise InvalidInput(f"{kind} is not fitted yet; call fit() first") from None
    except TypeError:
        raise InvalidInput(f"{kind} is no estimator: it has no fit()") from None
    rows = _thinned(sample) if sample is not None else _made_up(estimator, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of skl2onnx's own use of scikit-learn, nothing a user could mend
        proto = _export(estimator, kind, rows)
        try:
            expected, labels = _own_answers(estimator, [output.name for output in proto.graph.output], rows)
        except (ValueError, TypeError, KeyError) as error:
            reason = textwrap.shorten(str(error), 300, placeholder=" …")
            raise InvalidInput(f"{kind} itself refuses the rows that it was to be compared on: {reason}") from error
    model = proto.SerializeToString(deterministic=True)
    opset = max(item.version for item in proto.opset_import if item.domain == "")
    exported = f"{kind} exported to ONNX (opset {opset}, {megabytes(len(model))})"
    return Converted(model, exported, rows, len(rows), sample is None, expected, labels, kind)


# Rows


def _thinned(sample: Any) -> Any:
    """`sample` itself when it is a DataFrame or Series, else an array; MOST_ROWS of it at most."""
    rows = sample if hasattr(sample, "iloc") else np.asarray(sample)
    if np.ndim(rows) == 0 or not len(rows):
        raise InvalidInput("sample takes rows as predict takes them; this holds none")
    every = -(-len(rows) // MOST_ROWS)
    return rows[::every] if every > 1 else rows


def _made_up(estimator: Any, kind: str) -> Array:
    first = _first_step(estimator)
    if _reads_text(first):
        return texts_like_the_training_data(first)
    features = getattr(estimator, "n_features_in_", None)
    if features is None or _wants_columns(first):
        raise InvalidInput(f"{kind} takes columns by name; give some rows to export it by, as sample=X[:100]")
    return rows_like_the_training_data(estimator, int(features))


def _reads_text(step: Any) -> bool:
    return hasattr(step, "build_analyzer")


def _wants_columns(step: Any) -> bool:
    return hasattr(step, "transformers_")


# Export


def _export(estimator: Any, kind: str, rows: Any) -> Any:
    """The ModelProto. Raises Unsupported with skl2onnx's own reason."""
    types = _initial_types(rows, by_column=_wants_columns(_first_step(estimator)))
    failure: Exception | None = None
    for target in (None, {"": 21, "ai.onnx.ml": 3}):  # some converters know the older operators only
        try:
            with _truth_values_as_integers():
                proto = _convert(estimator, types, target)
                return _with_plain_names(proto, hasattr(estimator, "predict_proba"))
        except Exception as error:  # skl2onnx raises whatever its converters do
            failure = failure or error
    reason = textwrap.shorten(str(failure), 300, placeholder=" …")
    if unknown := _UNKNOWN.match(reason):
        raise Unsupported(f"{kind} has no ONNX form: skl2onnx knows no conversion of {unknown[1]}") from failure
    raise Unsupported(f"{kind} has no ONNX form that skl2onnx can make: {reason}") from failure


def _convert(estimator: Any, types: list[tuple[str, Any]], target: dict[str, int] | None) -> Any:
    from skl2onnx import convert_sklearn

    name = type(estimator).__name__
    scalers = _scalers_before_trees(estimator)
    exact: dict[Any, Any] = {id(scaler): {"div": "div_cast"} for scaler in scalers}
    try:
        options = {id(estimator): {"zipmap": False}, **exact}
        proto = convert_sklearn(estimator, name=name, initial_types=types, options=options, target_opset=target)
    except NameError:  # it has no option zipmap, and so no dictionaries to give
        proto = convert_sklearn(estimator, name=name, initial_types=types, options=exact, target_opset=target)
    for scaler in scalers:
        _restore_mean(proto.graph, scaler.mean_)
    if sys.platform == "linux":
        _name_a_locale(proto.graph)
    return proto


def _scalers_before_trees(estimator: Any) -> list[Any]:
    """What must scale in float64, as scikit-learn does, because trees compare afterwards.

    A split point halfway between two training values may be a third value exactly, and then the last bit decides.
    """
    steps = [step for _, step in getattr(estimator, "steps", ())]
    trees = any(type(step).__module__.startswith(("sklearn.tree", "sklearn.ensemble")) for step in steps)
    scalers = [step for step in steps if type(step).__name__ == "StandardScaler" and step.mean_ is not None]
    return scalers if trees else []


def _restore_mean(graph: Any, mean: Array) -> None:
    """skl2onnx 1.20 keeps in float64 what it has rounded to float32 before."""
    from onnx import numpy_helper

    rounded = mean.astype(np.float32)
    for initializer in graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.dtype == np.float64 and np.array_equal(values.reshape(-1), rounded):
            initializer.CopyFrom(numpy_helper.from_array(mean.reshape(values.shape), initializer.name))


def _name_a_locale(graph: Any) -> None:
    """ONNX Runtime's own choice for lower-casing text is en_US.UTF-8, which slim containers do not have."""
    from onnx import helper

    for node in graph.node:
        if node.op_type == "StringNormalizer" and not any(each.name == "locale" for each in node.attribute):
            node.attribute.append(helper.make_attribute("locale", "C.UTF-8"))


def _initial_types(rows: Any, *, by_column: bool) -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    of_kind = {"f": FloatTensorType, "i": Int64TensorType, "s": StringTensorType}
    if hasattr(rows, "columns"):
        kinds = ["f" if dtype.kind == "f" else "i" if dtype.kind in "iub" else "s" for dtype in rows.dtypes]
        if by_column or "s" in kinds:
            return [(str(name), of_kind[kind]([None, 1])) for name, kind in zip(rows.columns, kinds, strict=True)]
        return [(INPUT, FloatTensorType([None, len(kinds)]))]
    array = np.asarray(rows)
    if array.dtype.kind in "OUST":
        return [(INPUT, StringTensorType([None, *array.shape[1:]]))]
    return [(INPUT, FloatTensorType([None, *array.shape[1:]]))]


@contextlib.contextmanager
def _truth_values_as_integers() -> Iterator[None]:
    """skl2onnx 1.20 mixes truth values into lists of integers, which onnx with a newer protobuf refuses."""
    from onnx import helper

    original = helper.make_attribute

    def make_attribute(key: str, value: Any, *rest: Any, **named: Any) -> Any:
        if isinstance(value, list | tuple | np.ndarray):
            value = [int(item) if isinstance(item, bool | np.bool_) else item for item in value]
        return original(key, value, *rest, **named)

    helper.make_attribute = make_attribute
    try:
        yield
    finally:
        helper.make_attribute = original


def _with_plain_names(proto: Any, probabilities: bool) -> Any:
    """`proto` with inner names that tell the operator and its place, in place of skl2onnx's.

    Those hold counters that run on from one conversion to the next, so the same estimator would get another digest.
    Where the classifier has no probabilities, the output that skl2onnx calls so anyway is named for what it is.
    """
    names = {value.name: value.name for value in (*proto.graph.input, *proto.graph.output)}
    if not probabilities and "probabilities" in names:
        names["probabilities"] = "scores"
    for value in proto.graph.output:
        value.name = names[value.name]
    _rename(proto.graph, names, "")
    return proto


def _rename(graph: Any, names: dict[str, str], prefix: str) -> None:
    """Subtleness ahead: an inner graph sees the outer names, so it goes on with a copy of what they became."""
    for index, initializer in enumerate(graph.initializer):
        initializer.name = names.setdefault(initializer.name, f"{prefix}constant_{index}")
    if prefix:
        for kind, values in (("in", graph.input), ("out", graph.output)):
            for index, value in enumerate(values):
                names[value.name] = f"{prefix}{kind}_{index}"
                value.name = names[value.name]
        graph.name = prefix.rstrip("/")
    for index, node in enumerate(graph.node):
        node.name = f"{prefix}{node.op_type}_{index}"
        node.input[:] = [names[name] if name else "" for name in node.input]
        for place, name in enumerate(node.output):
            if name:
                names.setdefault(name, f"{node.name}:{place}")
        node.output[:] = [names[name] if name else "" for name in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                _rename(inner, dict(names), f"{node.name}/")
    del graph.value_info[:]


# What the estimator itself answers


def _own_answers(estimator: Any, outputs: list[str], rows: Any) -> tuple[dict[str, Array], frozenset[str]]:
    """Output name -> the estimator's own values, for the outputs that it has a method for, and which are labels."""
    labelled = "label" in outputs
    expected: dict[str, Array] = {}
    if labelled or hasattr(estimator, "predict"):
        expected[outputs[0]] = np.asarray(estimator.predict(rows))
    elif hasattr(estimator, "transform"):
        expected[outputs[0]] = _dense(estimator.transform(rows))
    for name in outputs[1:2]:
        for method in _SECOND:
            if hasattr(estimator, method):
                expected[name] = _dense(getattr(estimator, method)(rows))
                break
    return expected, frozenset(outputs[:1] if labelled else ())


def _dense(value: Any) -> Array:
    return np.asarray(value.toarray() if hasattr(value, "toarray") else value)


def _first_step(estimator: Any) -> Any:
    while getattr(estimator, "steps", None):
        estimator = estimator.steps[0][1]
    return estimator


def _called(estimator: Any) -> str:
    """`Pipeline of StandardScaler and SVC`, or the class."""
    steps = getattr(estimator, "steps", None)
    if not steps:
        return type(estimator).__name__
    names = [type(step).__name__ for _, step in steps]
    return f"Pipeline of {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"Pipeline of {names[0]}"

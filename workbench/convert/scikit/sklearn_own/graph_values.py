"""Expressions over ONNX tensors that read like numpy's: each operator adds a node to the graph of a conversion.

They compute in float64, as scikit-learn does; what leaves a converter is cast to the type of the export's outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.core.tensor import Array
from workbench.errors import Unsupported

_NUMBER = {"float32": 1, "int64": 7, "bool": 9, "float64": 11}
"""A dtype -> ONNX's number for it."""


class Graph:
    """The place in skl2onnx's graph where one estimator is converted."""

    def __init__(self, scope: Any, operator: Any, container: Any, behind: bool = False) -> None:
        """`behind`: its input was made by functions whose last digit may be another in ONNX Runtime."""
        self._scope, self._operator, self._container = scope, operator, container
        self.behind = behind

    @property
    def rows(self) -> Value:
        """The estimator's input, float64 [N, features]; several inputs side by side."""
        parts = [Value(self, each.full_name).cast("float64") for each in self._operator.inputs]
        return self.concat(parts) if len(parts) > 1 else parts[0]

    @property
    def rounded_rows(self) -> Value:
        """The input as scikit-learn's own trees take it: rounded to float32, and then compared as float64."""
        from skl2onnx.common.data_types import FloatTensorType

        if all(isinstance(each.type, FloatTensorType) for each in self._operator.inputs):
            return self.rows
        return self.rows.cast("float32").cast("float64")

    @property
    def raw(self) -> bool:
        """Whether scores are asked for in place of probabilities; see `inner`."""
        options = self._container.get_options(self._operator.raw_operator, {}, fail=False)
        return bool(options and options.get("raw_scores"))

    @property
    def first(self) -> Value:
        """The first of the estimator's inputs, in its own type."""
        return Value(self, self._operator.inputs[0].full_name)

    def column(self, place: int, *, text: bool) -> Value:
        """One column of the input, [N, 1]: text, or else float64."""
        from skl2onnx.common.data_types import StringTensorType

        for each in self._operator.inputs:
            width = int(each.type.shape[1])
            if place < width:
                if isinstance(each.type, StringTensorType) != text:
                    raise Unsupported("a column is text in one place and numbers in another")
                found = Value(self, each.full_name)
                found = found.take([place]) if width > 1 else found
                return found if text else found.cast("float64")
            place -= width
        raise Unsupported("it reads a column that its input does not have")

    @property
    def row_count(self) -> Value:
        """N, int64 [1]."""
        return self.node("Shape", self.first, start=0, end=1)

    @property
    def output_count(self) -> int:
        return len(self._operator.outputs)

    def node(self, kind: str, *inputs: object, domain: str = "", **attributes: object) -> Value:
        """The first output of a new node. Arrays and numbers among the inputs become constants."""
        return self.nodes(kind, 1, *inputs, domain=domain, **attributes)[0]

    def nodes(
        self, kind: str, outputs: int, *inputs: object, domain: str = "", **attributes: object
    ) -> tuple[Value, ...]:
        names = [self.value(each).name for each in inputs]
        found = [self._scope.get_unique_variable_name(kind.lower()) for _ in range(outputs)]
        name = self._scope.get_unique_operator_name(kind)
        self._container.add_node(kind, names, found, op_domain=domain, name=name, **attributes)
        return tuple(Value(self, each) for each in found)

    def value(self, given: object) -> Value:
        """`given` itself, or a constant: text, int64 for whole numbers and truth values, float64 otherwise."""
        if isinstance(given, Value):
            return given
        from onnx import numpy_helper

        array = np.asarray(given)
        if array.dtype.kind not in "OUS":
            array = array.astype(np.int64 if array.dtype.kind in "iu" else bool if array.dtype.kind == "b" else float)
        name = self._scope.get_unique_variable_name("constant")
        self._container.initializers.append(numpy_helper.from_array(_plain(array), name))
        return Value(self, name)

    def constant(self, array: Array) -> Value:
        """`array` in its own type."""
        from onnx import numpy_helper

        name = self._scope.get_unique_variable_name("constant")
        self._container.initializers.append(numpy_helper.from_array(array, name))
        return Value(self, name)

    def numbers(self, given: object) -> Value:
        """A float64 constant."""
        return self.value(np.asarray(given, dtype=float))

    def concat(self, parts: Sequence[object], axis: int = 1) -> Value:
        return self.node("Concat", *parts, axis=axis)

    def where(self, condition: Value, yes: object, no: object) -> Value:
        return self.node("Where", condition, yes, no)

    def fill(self, row: object) -> Value:
        """`row`, a constant of any rank, once for each input row: [N, *shape of row]."""
        array = np.asarray(row)
        shape = self.concat([self.row_count, np.array(array.shape, np.int64)], axis=0)
        return self.node("Expand", array[np.newaxis], shape)

    def labels(self, classes: Array, places: Value) -> Value:
        """The classes at `places`, int64 of any shape; numbers become int64, as in skl2onnx's exports."""
        array = np.asarray(classes)
        if array.dtype.kind == "f" and not np.array_equal(array, np.round(array)):
            raise Unsupported("its classes are fractions, and labels of an export are whole numbers or text")
        return self.node("Gather", _texts(array) if is_text(array) else array.astype(np.int64), places, axis=0)

    # Estimators inside

    def behind_steps(self, estimator: Any, rows: Value | None) -> tuple[Any, Value | None]:
        """The last step of a pipeline, and what the steps before it make of `rows`; another estimator is itself."""
        while (steps := getattr(estimator, "steps", None)) is not None:
            *before, (_, estimator) = steps
            for _, step in before:
                if isinstance(step, Taken):
                    rows = (self.rows if rows is None else rows).take(step.places)
                elif step is not None and step != "passthrough":
                    rows = self.inner(step, rows)[0].cast("float64")
        return estimator, rows

    def inner(self, estimator: Any, rows: Value | None = None, *, outputs: int = 1, raw: bool = False) -> list[Value]:
        """The outputs of an estimator inside this one: by skl2onnx, or by a converter of ours.

        `rows`: what it is given, float64 [N, its features]; None: the input itself. `raw`: scores in place of
        probabilities, where its converter can give them.
        """
        from skl2onnx._supported_operators import sklearn_operator_name_map
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType

        estimator, rows = self.behind_steps(estimator, rows)
        if (alias := sklearn_operator_name_map.get(type(estimator))) is None:
            raise Unsupported(f"it holds an estimator of the class {type(estimator).__name__}, which has no ONNX form")
        known = (self._container.options or {}).get(id(estimator)) or {}
        if known.get("raw_scores", raw) != raw:
            estimator = copy.copy(estimator)  # options are looked at later, by the object
        double = isinstance(self._operator.inputs[0].type, DoubleTensorType)
        kind: Any = DoubleTensorType if double else FloatTensorType
        operator = self._scope.declare_local_operator(alias, estimator)
        if self._container.has_options(estimator, "raw_scores"):
            self._container.add_options(id(estimator), {"raw_scores": raw})
        if self._container.has_options(estimator, "zipmap"):
            self._container.add_options(id(estimator), {"zipmap": False})
        if rows is None:
            for each in self._operator.inputs:
                operator.inputs.append(each)
        else:
            given = self._scope.declare_local_variable("given", kind([None, estimator.n_features_in_]))
            self._container.add_node(
                "Cast",
                rows.name,
                given.full_name,
                name=self._scope.get_unique_operator_name("Cast"),
                to=_NUMBER["float64" if double else "float32"],
            )
            operator.inputs.append(given)
        found = []
        for place in range(outputs):
            labels = outputs > 1 and place == 0
            variable = self._scope.declare_local_variable("inner", Int64TensorType() if labels else kind())
            operator.outputs.append(variable)
            found.append(Value(self, variable.full_name))
        return found


class Taken:
    """A step that takes some columns of what it is given."""

    def __init__(self, places: Array, width: int) -> None:
        self.places, self.n_features_in_ = places, width

    def fit(self, *_: object) -> Taken:
        return self

    def transform(self, rows: Array) -> Array:
        return np.asarray(rows)[:, self.places]


class Value:
    """A tensor of the graph."""

    __array_ufunc__ = None  # so that an array on the left of an operator leaves it to this class

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def __add__(self, other: object) -> Value:
        return self.graph.node("Add", self, other)

    def __radd__(self, other: object) -> Value:
        return self.graph.node("Add", other, self)

    def __sub__(self, other: object) -> Value:
        return self.graph.node("Sub", self, other)

    def __rsub__(self, other: object) -> Value:
        return self.graph.node("Sub", other, self)

    def __mul__(self, other: object) -> Value:
        return self.graph.node("Mul", self, other)

    def __rmul__(self, other: object) -> Value:
        return self.graph.node("Mul", other, self)

    def __truediv__(self, other: object) -> Value:
        return self.graph.node("Div", self, other)

    def __rtruediv__(self, other: object) -> Value:
        return self.graph.node("Div", other, self)

    def __matmul__(self, other: object) -> Value:
        return self.graph.node("MatMul", self, other)

    def __pow__(self, other: object) -> Value:
        return self.graph.node("Pow", self, other)

    def __neg__(self) -> Value:
        return self.graph.node("Neg", self)

    def __lt__(self, other: object) -> Value:
        return self.graph.node("Less", self, other)

    def __le__(self, other: object) -> Value:
        return self.graph.node("LessOrEqual", self, other)

    def __gt__(self, other: object) -> Value:
        return self.graph.node("Greater", self, other)

    def __ge__(self, other: object) -> Value:
        return self.graph.node("GreaterOrEqual", self, other)

    def equals(self, other: object) -> Value:
        return self.graph.node("Equal", self, other)

    def cast(self, dtype: str) -> Value:
        return self.graph.node("Cast", self, to=_NUMBER[dtype])

    def apply(self, kind: str) -> Value:
        """A function of each element by ONNX's name, as "Exp"."""
        return self.graph.node(kind, self)

    def reduce(self, kind: str, axis: int = 1, *, keep: bool = True) -> Value:
        """`kind` as "Sum", "Max" or "Mean"."""
        return self.graph.node(f"Reduce{kind}", self, np.array([axis]), keepdims=int(keep))

    def argmax(self) -> Value:
        """The place of the largest of each row, int64 [N]; the first where there are several."""
        return self.graph.node("ArgMax", self, axis=1, keepdims=0)

    def argmin(self) -> Value:
        return self.graph.node("ArgMin", self, axis=1, keepdims=0)

    def take(self, places: Value | Sequence[int] | Array | int, axis: int = 1) -> Value:
        return self.graph.node("Gather", self, places, axis=axis)

    def reshape(self, *shape: int) -> Value:
        return self.graph.node("Reshape", self, np.array(shape))

    def clip(self, low: float, high: float) -> Value:
        return self.graph.node("Min", self.graph.node("Max", self, float(low)), float(high))


def is_text(values: Array) -> bool:
    array = np.asarray(values)
    return array.dtype.kind in "US" or (array.dtype.kind == "O" and any(isinstance(each, str) for each in array.flat))


def _texts(array: Array) -> Array:
    return np.array([str(each) for each in array.flat], dtype=object).reshape(array.shape)


def _plain(array: Array) -> Array:
    return _texts(array) if array.dtype.kind in "US" else np.array(array, order="C")

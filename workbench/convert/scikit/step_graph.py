"""Pipelines over columns of several kinds, put together step by step.

skl2onnx converts a whole pipeline, but refuses an int beside a float column, text that may be missing, and more. So
what chooses columns and what works on each of them by itself is written here (`column_steps`), and skl2onnx is asked
only for steps that take a table of numbers, one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto

from workbench.convert.scikit.column_steps import ENCODERS, FILLERS, Columns, ColumnSteps
from workbench.convert.scikit.graph_parts import GraphParts
from workbench.convert.scikit.hoisted_columns import inside
from workbench.convert.scikit.trained_columns import places_of
from workbench.errors import Unsupported

Export = Callable[[Any, Any, bool, bool], ModelProto]
"""(a fitted step, a few rows as it takes them, in double?, behind functions?) -> its own model. Raises
Unsupported."""

_OF_FUNCTIONS = ("FunctionTransformer", "PowerTransformer")
"""Transformers whose powers and logarithms may have another last digit in ONNX Runtime."""


class StepGraph:
    def __init__(self, export: Export, *, double: bool) -> None:
        """`double`: numbers are FP64, the inputs and all that is made of them."""
        self._export = export
        self._double = double
        self._graph = GraphParts()

    def made(self, estimator: Any, columns: Sequence[tuple[str, int, bool]], name: str) -> ModelProto:
        """The whole model, for inputs (name, how many columns, of text?)."""
        number = TensorProto.DOUBLE if self._double else TensorProto.FLOAT
        self._steps = ColumnSteps(self._graph, number)
        found = []
        for each, width, text in columns:
            tensor = self._graph.input(each, TensorProto.STRING if text else number, [None, width])
            found.append(Columns(tensor, (each,) if width == 1 else tuple(f"{each}[{i}]" for i in range(width)), text))
        given = self._applied(estimator, found, last=True)
        if given is not None:
            like = ValueInfoProto()
            merged = self._merged(given, "the outputs")
            kind = TensorProto.STRING if merged.text else self._steps.element
            like.type.tensor_type.elem_type = kind
            like.type.tensor_type.shape.dim.add()
            like.type.tensor_type.shape.dim.add().dim_value = merged.width
            self._graph.output(merged.tensor, "variable", like)
        taken = {each for each, _, _ in columns} & set(self._graph.outputs)
        if taken:
            raise Unsupported(f"column {min(taken)!r} is called as an output of the model; rename it before you train")
        return self._graph.model(name)

    def _applied(self, step: Any, given: list[Columns], *, last: bool = False) -> list[Columns] | None:
        """What a step makes of columns; None where it is the last and predicts, which makes the graph's outputs."""
        step = inside(step)
        kind = type(step).__name__
        if step is None or step == "passthrough" or (kind == "FunctionTransformer" and step.func is None):
            return given
        if isinstance(step, str):  # drop
            return []
        if (steps := getattr(step, "steps", None)) is not None:
            found: list[Columns] | None = given
            for place, (_, each) in enumerate(steps, 1):
                assert found is not None
                found = self._applied(each, found, last=last and place == len(steps))
            return found
        if hasattr(step, "transformers_"):
            return self._by_column(step, given)
        if hasattr(step, "transformer_list"):
            weights = step.transformer_weights or {}
            parts = [(name, each, given) for name, each in step.transformer_list]
            return self._side_by_side(parts, weights)
        if kind in FILLERS:
            single = [self._steps.settled(column) for column in self._single(given)]
            return self._steps.filled(step, single) if kind == "SimpleImputer" else self._steps.indicated(step, single)
        if kind in ENCODERS:
            return self._steps.encoded(step, self._single(given))
        if hasattr(step, "get_support") and not (last and hasattr(step, "predict")):
            table = self._merged(given, kind)
            chosen = np.flatnonzero(step.get_support())
            tensor = self._graph.node("Gather", [table.tensor, self._graph.constant(chosen)], axis=1)
            return [
                Columns(tensor, tuple(table.names[place] for place in chosen), table.text, table.filled, table.inexact)
            ]
        return self._exported(step, given, last)

    def _by_column(self, step: Any, given: list[Columns]) -> list[Columns]:
        single = self._single(given)
        names = [str(name) for name in getattr(step, "feature_names_in_", [column.names[0] for column in single])]
        by_name = {column.names[0]: column for column in single}
        parts = []
        for name, each, chosen in step.transformers_:
            if isinstance(each, str) and each == "drop":
                continue
            places = places_of(chosen, names, len(names))
            taken = [by_name[names[place]] if names[place] in by_name else single[place] for place in places]
            parts.append((name, each, taken))
        return self._side_by_side(parts, step.transformer_weights or {})

    def _side_by_side(self, parts: list[tuple[str, Any, list[Columns]]], weights: Any) -> list[Columns]:
        found = []
        for name, each, taken in parts:
            if not taken:
                continue
            given = self._applied(each, taken)
            assert given is not None
            if name in weights:
                weight = self._graph.constant(np.array(weights[name], self._steps.numpy))
                given = [
                    Columns(
                        self._graph.node("Mul", [column.tensor, weight]),
                        column.names,
                        filled=column.filled,
                        inexact=column.inexact,
                    )
                    for column in given
                ]
            found += given
        return found

    def _single(self, given: list[Columns]) -> list[Columns]:
        """Each column by itself."""
        found = []
        for block in given:
            if block.width == 1:
                found.append(block)
                continue
            for place, name in enumerate(block.names):
                index = self._graph.constant(np.array([place], np.int64))
                tensor = self._graph.node("Gather", [block.tensor, index], axis=1)
                found.append(Columns(tensor, (name,), block.text, block.filled, block.inexact))
        return found

    def _merged(self, given: list[Columns], reader: str) -> Columns:
        given = [self._steps.settled(column) for column in given]
        if len(given) == 1:
            return given[0]
        texts = [column.names[0] for column in given if column.text]
        if not given:
            raise Unsupported(f"its steps leave no column for {reader}, so there is nothing to serve")
        if texts and len(texts) < len(given):
            raise Unsupported(
                f"{reader} takes text ({', '.join(map(repr, texts[:3]))}) and numbers side by side, which ONNX cannot "
                "hold in one table; encode the text first"
            )
        names = tuple(name for column in given for name in column.names)
        together = self._graph.node("Concat", [column.tensor for column in given], axis=1)
        return Columns(together, names, bool(texts), inexact=any(column.inexact for column in given))

    def _exported(self, step: Any, given: list[Columns], last: bool) -> list[Columns] | None:
        kind = type(step).__name__
        table = self._merged(given, kind)
        tensor = table.tensor
        if hasattr(step, "build_analyzer"):
            tensor = self._graph.node("Reshape", [tensor, self._graph.constant(np.array([-1], np.int64))])
            rows: Any = np.array(["a text", "another"], object)
        elif table.text:
            rows = np.full((2, table.width), "a text", object)
        else:
            rows = np.zeros((2, table.width))
        wide = not table.text and self._steps.element == TensorProto.DOUBLE
        model, narrow = self._loadable(step, rows, wide, table.inexact)
        if narrow:
            tensor = self._graph.cast(tensor, TensorProto.FLOAT)
        outputs = self._graph.graft(model, {model.graph.input[0].name: tensor})
        if last and (hasattr(step, "predict") or not hasattr(step, "transform")):
            for name, value in outputs:
                self._graph.output(name, value.name, value)
            return None
        if hasattr(step, "predict") and not (hasattr(step, "cluster_centers_") and len(outputs) > 1):
            raise Unsupported(f"{kind} as a step before the last, where it transforms, has no ONNX form here")
        normal = getattr(step, "output_distribution", "") == "normal"
        inexact = table.inexact or kind in _OF_FUNCTIONS or normal
        name, value = outputs[-1 if hasattr(step, "predict") else 0]
        if value.type.tensor_type.elem_type not in (self._steps.element, TensorProto.STRING):
            name = self._graph.cast(name, self._steps.element)
        width = _width(step, value, rows)
        return [Columns(name, tuple(f"{kind}[{index}]" for index in range(width)), filled=True, inexact=inexact)]

    def _loadable(self, step: Any, rows: Any, double: bool, behind: bool) -> tuple[ModelProto, bool]:
        """The step's own model, and whether it takes float32 although the rest is in double."""
        if not double:
            return self._export(step, rows, False, behind), False
        try:
            return self._export(step, rows, True, behind), False
        except Unsupported:
            return self._export(step, rows, False, behind), True


def _width(step: Any, value: ValueInfoProto, rows: Any) -> int:
    dims = value.type.tensor_type.shape.dim
    if len(dims) == 2 and dims[1].dim_value:
        return int(dims[1].dim_value)
    if hasattr(step, "get_feature_names_out"):
        return len(step.get_feature_names_out())
    return int(np.shape(step.transform(rows))[1])

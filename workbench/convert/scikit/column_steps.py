"""Steps of scikit-learn that work on each column by itself, as ONNX nodes: filling what is missing, and categories.

skl2onnx has these too, but takes columns of one kind only, drops the indicators of missing values, and knows no missing
text. An encoder is asked itself for what it gives for each category, so whatever it does with rare, dropped and unknown
ones is in the answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import TensorProto

from workbench.convert.scikit.graph_parts import GraphParts
from workbench.core.table_columns import CATEGORY_OF, MISSING_TEXT
from workbench.core.tensor import Array
from workbench.errors import Unsupported

ENCODERS = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
FILLERS = ("SimpleImputer", "MissingIndicator")

_UNHEARD_OF = "\ufffd a category that is not there"


@dataclass(frozen=True, slots=True)
class Columns:
    """A tensor of rows in the graph, with one column or several of one kind."""

    tensor: str
    names: tuple[str, ...]
    """What errors call its columns."""
    text: bool = False
    filled: bool = False
    """Whether a step has filled what was missing."""
    inexact: bool = False
    """Whether its numbers are powers or logarithms, whose last digit may be another than the original's."""
    to_fill: tuple[str, str] | None = None
    """Of one column of text that is still to be filled: the text that is missing, and what takes its place."""

    @property
    def width(self) -> int:
        return len(self.names)


class NeedsDouble(Exception):
    """Two categories are the same number in float32."""


class ColumnSteps:
    """Writes them into `graph`, in which numbers have the ONNX type `element`."""

    def __init__(self, graph: GraphParts, element: int) -> None:
        self._graph = graph
        self.element = element
        self.numpy = np.dtype(np.float64 if element == TensorProto.DOUBLE else np.float32)

    # Missing values

    def filled(self, step: Any, columns: Sequence[Columns]) -> list[Columns]:
        """Of SimpleImputer, each of whose columns is one of `columns`."""
        found = []
        for column, fill in zip(columns, step.statistics_, strict=True):
            if _dropped(step, fill):
                continue
            name = column.names[0]
            if isinstance(fill, str) != column.text:
                raise Unsupported(
                    f"column {name!r} holds {'text' if column.text else 'numbers'}, and its SimpleImputer fills in "
                    f"{fill!r}; ONNX has no column of both, so fill it with a value of its own kind before you train"
                )
            if column.text:
                found.append(Columns(column.tensor, column.names, True, True, to_fill=(_missing_text(step), str(fill))))
                continue
            hole = self._is_missing(step, column)
            value = self._cell(float(fill), self.numpy)
            tensor = self._graph.node("Where", [hole, value, column.tensor])
            found.append(Columns(tensor, column.names, False, True, column.inexact))
        if (indicator := getattr(step, "indicator_", None)) is not None:
            found += self.indicated(indicator, columns)
        return found

    def settled(self, column: Columns) -> Columns:
        """The column with its text filled, for a step that reads the text itself. An encoder looks up what is missing
        like any other text, which spares comparing and copying a string for each row."""
        if column.to_fill is None:
            return column
        missing, fill = (self._cell(each, object) for each in column.to_fill)
        hole = self._graph.node("Equal", [column.tensor, missing])
        return replace(column, tensor=self._graph.node("Where", [hole, fill, column.tensor]), to_fill=None)

    def indicated(self, step: Any, columns: Sequence[Columns]) -> list[Columns]:
        """Of MissingIndicator: 1 where a value is missing, in the columns that it watches."""
        watched = [columns[index] for index in step.features_]
        return [
            Columns(self._graph.cast(self._is_missing(step, column), self.element), column.names) for column in watched
        ]

    def _is_missing(self, step: Any, column: Columns) -> str:
        marker = step.missing_values
        if column.text:
            return self._graph.node("Equal", [column.tensor, self._cell(_missing_text(step), object)])
        if marker is None or marker != marker or not isinstance(marker, int | float | np.number):
            return self._graph.node("IsNaN", [column.tensor])
        return self._graph.node("Equal", [column.tensor, self._cell(marker, self.numpy)])

    def _cell(self, value: Any, dtype: Any) -> str:
        """A constant to set beside a column. Of shape [1, 1]: with [1], ONNX Runtime takes a column row by row."""
        return self._graph.constant(np.array([[value]], dtype))

    # Categories

    def encoded(self, step: Any, columns: Sequence[Columns]) -> list[Columns]:
        """Of an encoder: the rows of a table of what it gives for each of a column's categories."""
        known, unknown = _tables(step)
        found = []
        for column, categories, table, other in zip(columns, step.categories_, known, unknown, strict=True):
            place = self._place(column, list(categories))
            rows = table if other is None else np.vstack([table, other])
            values = self._graph.constant(rows.astype(self.numpy))
            tensor = self._graph.node("Gather", [values, place], called=f"{CATEGORY_OF}{column.names[0]!r}", axis=0)
            found.append(Columns(tensor, column.names * table.shape[1], filled=True))
        return found

    def _place(self, column: Columns, categories: list[Any]) -> str:
        """Each row's index among the categories, and after their last where it has another: INT64 [rows]."""
        name = column.names[0]
        missing = [_missing(each) for each in categories]
        if sum(missing) > 1:
            raise Unsupported(
                f"column {name!r} was trained with both None and NaN, which the encoder tells apart and a text input "
                "cannot; make them one before you train, as with df.fillna(np.nan)"
            )
        if any(missing) and column.filled:
            raise Unsupported(
                f"column {name!r} has a missing value among its categories although a SimpleImputer comes before: it "
                "fills NaN only, and not None; make them NaN before you train, as with df.fillna(np.nan)"
            )
        present = [each for each, hole in zip(categories, missing, strict=True) if not hole]
        text = [isinstance(each, str) for each in present]
        if any(text) != all(text) or (present and all(text) != column.text):
            kinds = "text and numbers" if any(text) != all(text) else "text" if all(text) else "numbers"
            raise Unsupported(
                f"column {name!r} was trained with {kinds}, and the rows hold {'text' if column.text else 'numbers'}; "
                "ONNX has columns of one kind, so make it one before you train, as with df[column].astype(str)"
            )
        graph = self._graph
        if column.text:
            keys = [MISSING_TEXT if hole else each for each, hole in zip(categories, missing, strict=True)]
            if MISSING_TEXT in present:
                raise Unsupported(f"column {name!r} has a category {MISSING_TEXT!r}, which stands for a missing value")
            flat = graph.node("Reshape", [column.tensor, graph.constant(np.array([-1], np.int64))])
            places = {key: place for place, key in enumerate(keys)}
            if column.to_fill is not None:
                missing_text, fill = column.to_fill
                places[missing_text] = places.get(fill, len(keys))
            return graph.node(
                "LabelEncoder", [flat], domain="ai.onnx.ml",
                keys_strings=list(places), values_int64s=list(places.values()), default_int64=len(keys),
            )  # fmt: skip
        try:
            numbers = np.array([np.nan if hole else each for each, hole in zip(categories, missing, strict=True)])
            numbers = numbers.astype(np.float64)
        except (TypeError, ValueError):
            raise Unsupported(
                f"column {name!r} has categories that are neither text nor numbers ({present[0]!r:.60}); make them "
                "text before you train, as with df[column].astype(str)"
            ) from None
        if len(np.unique(numbers.astype(self.numpy))) < len(numbers):
            raise NeedsDouble
        same = graph.node("Equal", [column.tensor, graph.constant(numbers.astype(self.numpy)[np.newaxis])])
        if any(missing):
            hole = graph.constant(np.array(missing)[np.newaxis])
            same = graph.node("Or", [same, graph.node("And", [graph.node("IsNaN", [column.tensor]), hole])])
        marks = graph.cast(same, TensorProto.FLOAT)
        pads, half = graph.constant(np.array([0, 0, 0, 1])), graph.constant(np.array(0.5, np.float32))
        return graph.node("ArgMax", [graph.node("Pad", [marks, pads, half])], axis=1, keepdims=0)


def _missing_text(step: Any) -> str:
    """The text that a step on text takes for a missing value."""
    return step.missing_values if isinstance(step.missing_values, str) else MISSING_TEXT


def _dropped(step: Any, fill: Any) -> bool:
    """Whether SimpleImputer leaves a column out, since all of it was missing."""
    return _missing(fill) and step.strategy != "constant" and not step.keep_empty_features


def _missing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or bool(value != value)


def _tables(step: Any) -> tuple[list[Array], list[Array | None]]:
    """For each column: what the encoder gives for each category, and for an unknown one; None where it refuses that."""
    categories = [list(each) for each in step.categories_]
    most = max(map(len, categories))
    known = _asked(step, [[each[row % len(each)] for row in range(most)] for each in categories])
    widths = _widths(step, known.shape[1])
    ends = np.cumsum(widths)
    tables = [known[: len(each), end - width : end]
              for each, end, width in zip(categories, ends, widths, strict=True)]  # fmt: skip
    try:
        other = _asked(step, [[_another(each)] for each in categories])
    except ValueError:
        return tables, [None] * len(tables)
    return tables, [other[:, end - width : end] for end, width in zip(ends, widths, strict=True)]


def _asked(step: Any, columns: list[list[Any]]) -> Array:
    array = np.empty((len(columns[0]), len(columns)), object)
    for place, values in enumerate(columns):
        array[:, place] = values
    if all(np.asarray(each).dtype.kind in "iufb" for each in step.categories_):
        array = array.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the columns have no names here, and that a category is unknown
        given = step.transform(array)
    return np.asarray(given.toarray() if hasattr(given, "toarray") else given, dtype=np.float64)


def _another(categories: list[Any]) -> Any:
    present = [each for each in categories if not _missing(each)]
    if any(isinstance(each, str) for each in present):
        return _UNHEARD_OF
    return float(max(map(float, present), default=0.0)) + 1.0


def _widths(step: Any, total: int) -> list[int]:
    """How many columns the encoder makes of each."""
    count = len(step.categories_)
    if type(step).__name__ == "OneHotEncoder":
        return [int(each) for each in step._n_features_outs]
    return [total // count] * count if total >= count else [1] * count

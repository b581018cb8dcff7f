"""Converts LightGBM's, XGBoost's and CatBoost's models, native ones and those in scikit-learn's form.

One input `X` of rows, which knows its columns' names where the model was trained on some; a model trained on pandas
categories has an input a column, by the column's name. The rows are float32, and float64 for LightGBM, as each compares
in it: so a row on a split is decided as the original decides it. That costs nothing: 11.3 and 10.9 ms for 1000 rows of
300 trees, 8 and 9 us for one row.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import numpy as np

from workbench.convert.converters import Check, Converted, exported_as
from workbench.convert.given_rows import thinned
from workbench.convert.refused_rows import refused_rows
from workbench.convert.trees.boosted_model import INPUT, boosted_model, is_text, plain_classes
from workbench.convert.trees.boosted_original import read_original
from workbench.convert.trees.boosted_rows import rows_at_the_splits, with_holes
from workbench.convert.trees.tree_graph import OPSET, Boosted
from workbench.core.class_names import METADATA_KEY as CLASSES_KEY
from workbench.core.class_names import encode_classes
from workbench.core.table_columns import METADATA_KEY, MISSING_NUMBER, MISSING_TEXT, encode_columns
from workbench.core.tensor import Array


def convert(source: object, sample: object | None) -> Converted:
    """The export of a fitted model. `sample`: rows as its `predict` takes them, or those of its training matrix."""
    original = read_original(source, sample)
    model, double = original.model, original.library == "lightgbm"
    proto = boosted_model(model, original.classes, several_labels=original.several_labels, double=double)
    entry = proto.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, _columns(model, original.names)
    if original.classes is not None:
        entry = proto.metadata_props.add()
        entry.key, entry.value = CLASSES_KEY, encode_classes("probabilities", plain_classes(original.classes).tolist())
    data = proto.SerializeToString(deterministic=True)
    rows: Any = _named(model, rows_at_the_splits(model, double=double)) if sample is None else thinned(original.rows)
    checks = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, on rows without names and the like
        try:
            if np.ndim(rows) == 1:
                raise TypeError("one axis")  # which CatBoost takes for one row
            checks.append(Check(rows, len(rows), original.answer(rows), ""))
        except Exception as error:  # the library's own, of any class
            trained = SimpleNamespace(n_features_in_=len(model.features), feature_names_in_=original.names)
            raise refused_rows(trained, original.kind, rows, error) from error
        for what, given in (("with missing values", with_holes(rows)), ("in batches of 1", rows[:1])):
            try:
                checks.append(Check(given, len(given), original.answer(given), what))
            except Exception:  # it takes no missing values
                continue
    return Converted(
        data,
        exported_as(original.kind, original.library, version(original.library), OPSET),
        tuple(checks),
        sample is None,
        frozenset({"label"} if "label" in checks[0].expected else ()),
        original.kind,
        notes=("takes float64, as LightGBM compares in it",) if double else (),
        versions={original.library: version(original.library)},
    )


def _columns(model: Boosted, names: Sequence[str]) -> str:
    """What the file says of its columns: their names and, where each is an input, how a missing value is sent."""
    if not model.categories:
        return encode_columns({}, (), {INPUT: names} if names else {})
    texts = {model.features[index]: MISSING_TEXT for index, each in model.categories.items() if is_text(each)}
    numbers = dict.fromkeys(model.features, MISSING_NUMBER)
    return encode_columns({**numbers, **texts}, (), {})


def _named(model: Boosted, rows: Array) -> Any:
    """`rows` as the model was trained on: a DataFrame, where some columns hold pandas categories."""
    if not model.categories:
        return rows
    import pandas

    columns: dict[str, Any] = {}
    for index, name in enumerate(model.features):
        categories = model.categories.get(index)
        column = rows[:, index]
        if categories is None:
            columns[name] = column
        else:
            columns[name] = pandas.Categorical.from_codes(column.astype(np.int64).tolist(), pandas.Index(categories))
    return pandas.DataFrame(columns)

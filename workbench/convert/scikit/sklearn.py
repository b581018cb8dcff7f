"""Converts scikit-learn estimators and pipelines, by skl2onnx.

The batch axis is free, probabilities are a plain array, and the same estimator gives the same bytes each time. One
input `X` of float32 rows; a DataFrame of several kinds of column becomes one input a column, by the column's name.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto

from workbench.client.formatting import counted
from workbench.convert.conversion import expect_inputs
from workbench.convert.converters import Check, Converted, exported_as, words
from workbench.convert.given_rows import thinned
from workbench.convert.refused_rows import check_rows, refused_rows
from workbench.convert.scikit.frame_columns import input_columns, unread_columns
from workbench.convert.scikit.own_answers import own_answers
from workbench.convert.scikit.precision import computes_in_double, has_trees
from workbench.convert.scikit.row_variants import RowVariants
from workbench.convert.scikit.rows_at_splits import rows_at_splits
from workbench.convert.scikit.sample_rows import MadeUp, made_up_rows, nothing_like_it
from workbench.convert.scikit.sklearn_export import ends_in_net, export, parts_and_members
from workbench.convert.scikit.tied_neighbours import decided
from workbench.convert.scikit.without_form import check_askable, why_none
from workbench.core.class_names import METADATA_KEY as CLASSES_KEY
from workbench.core.class_names import encode_classes
from workbench.core.model import FREE
from workbench.core.table_columns import METADATA_KEY, encode_columns
from workbench.errors import InvalidInput, ModelError, Unsupported

_BATCHES = (1, 2, 7)
"""Sizes of batches on which the two are compared beside the largest."""

_TABLE_ROWS = 4096
"""The most rows of a batch of a model over columns: its nodes cost little a row, and much a call, being many."""


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
    check_askable(estimator, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of skl2onnx's own use of scikit-learn, nothing a user could mend
        made_up = _made_up(estimator, kind) if sample is None else MadeUp(thinned(sample), "")
        if sample is not None:
            check_rows(estimator, kind, made_up.rows)
        if sample is None and ends_in_net(estimator) and isinstance(made_up.rows, np.ndarray):
            made_up = replace(made_up, rows=made_up.rows.astype(np.float32))  # torch takes no other
        return _converted(estimator, kind, made_up, sample is None, double=computes_in_double(estimator))


def _made_up(estimator: Any, kind: str) -> MadeUp:
    try:
        return made_up_rows(estimator, kind)
    except ModelError as error:  # which asks for a sample, in vain where there is no form whatever the rows
        if why := why_none(kind, parts_and_members(estimator)):
            raise Unsupported(f"{kind} has no ONNX form: {why}") from error
        raise


def _converted(estimator: Any, kind: str, made_up: MadeUp, unasked: bool, *, double: bool) -> Converted:
    rows = made_up.rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if np.ndim(rows) == 2:
            with contextlib.suppress(Unsupported):  # which the export says, with more about the reason
                expect_inputs({name: (FREE, width) for name, width, _ in input_columns(estimator, rows)})
        proto = export(estimator, kind, rows, double=double)
        rows, tied = decided(estimator, rows)
        outputs = [output.name for output in proto.graph.output]
        try:
            expected, labels = own_answers(estimator, outputs, rows)
        except Exception as error:  # the estimator's own, of any class
            if unasked:
                raise nothing_like_it(kind, f"the estimator itself refuses what was ({words(error)})") from error
            raise refused_rows(estimator, kind, rows, error) from error
        checks = [Check(rows, len(rows), expected)]
        for some, what in _variants(estimator, proto, rows):
            with contextlib.suppress(Exception):  # rows that the estimator itself refuses are no check
                some, left_out = decided(estimator, some)
                checks.append(Check(some, len(some), own_answers(estimator, outputs, some)[0], what))
                tied += left_out
    classes: Any = getattr(estimator, "classes_", None)
    scores = expected.get("probabilities")
    if scores is not None and classes is not None and scores.shape[1:] == np.shape(classes):
        entry = proto.metadata_props.add()
        entry.key, entry.value = CLASSES_KEY, encode_classes("probabilities", np.asarray(classes).tolist())
    model = proto.SerializeToString(deterministic=True)
    opset = max(item.version for item in proto.opset_import if item.domain == "")
    versions = {"scikit-learn": version("scikit-learn"), "skl2onnx": version("skl2onnx")}
    exported = exported_as(kind, "scikit-learn", versions["scikit-learn"], opset)
    wide = any(value.type.tensor_type.elem_type == TensorProto.DOUBLE for value in proto.graph.input)
    numbers = any(value.type.tensor_type.elem_type == TensorProto.FLOAT for value in proto.graph.input)
    return Converted(
        model,
        exported,
        tuple(checks),
        unasked,
        labels,
        kind,
        made_up.like,
        (f"{counted(tied, 'row')} whose neighbours are equally far left out of the comparison",) if tied else (),
        versions=versions,
        max_batch_size=_TABLE_ROWS if len(proto.graph.input) > 1 else 0,
        way="in double precision" if wide else "",
        retry=(lambda: _converted(estimator, kind, made_up, unasked, double=True)) if numbers else None,
    )


def _variants(estimator: Any, proto: ModelProto, rows: Any) -> Iterator[tuple[Any, str]]:
    """Rows to compare the two on beside `rows`, and what is special about them.

    What is found out of missing values on the way goes into the model's metadata.
    """
    for count in _BATCHES:
        if count < len(rows):
            yield rows[-count:], f"in a batch of {count}"
    if np.ndim(rows) != 2:
        return
    if has_trees(estimator):
        beside = None
        with contextlib.suppress(Exception):  # the estimator's own: rows that it refuses are no check
            beside = rows_at_splits(estimator, rows)
        if beside is not None:
            yield beside, "on both sides of its splits"
    table = rows if hasattr(rows, "columns") else np.asarray(rows)
    read = {value.name for value in proto.graph.input}
    inputs = [each for each in input_columns(estimator, table) if each[0] in read]
    outputs = [output.name for output in proto.graph.output]
    variants = RowVariants(table, inputs, lambda some: own_answers(estimator, outputs, some))
    missing = variants.missing()
    names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    ignored = unread_columns(estimator, names)
    columns = {name: names for name, width, _ in inputs if width == len(names) > 1}
    if missing or ignored or columns:
        entry = proto.metadata_props.add()
        entry.key, entry.value = METADATA_KEY, encode_columns(missing, sorted(ignored), columns)
    yield from variants.variants()


def _called(estimator: Any) -> str:
    """`Pipeline of StandardScaler and SVC`, or the class."""
    steps = getattr(estimator, "steps", None)
    if not steps:
        return type(estimator).__name__
    names = [type(step).__name__ for _, step in steps]
    return f"Pipeline of {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"Pipeline of {names[0]}"

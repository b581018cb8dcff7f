"""Converts scikit-learn estimators and pipelines, by skl2onnx.

The batch axis is free, probabilities are a plain array, and the same estimator gives the same bytes each time. One
input `X` of float32 rows; a DataFrame of several kinds of column becomes one input a column, by the column's name.
"""

from __future__ import annotations

import textwrap
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np

from workbench.convert.converters import Check, Converted, exported_as
from workbench.convert.own_answers import own_answers
from workbench.convert.sample_rows import MadeUp, made_up_rows, nothing_like_it
from workbench.convert.sklearn_export import export
from workbench.errors import InvalidInput

MOST_ROWS = 1000
"""More rows than these are thinned out evenly before they are compared."""


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of skl2onnx's own use of scikit-learn, nothing a user could mend
        made_up = made_up_rows(estimator, kind) if sample is None else MadeUp(thinned(sample), "")
        rows = made_up.rows
        proto = export(estimator, kind, rows)
        try:
            expected, labels = own_answers(estimator, [output.name for output in proto.graph.output], rows)
        except Exception as error:  # the estimator's own, of any class
            reason = textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")
            if sample is None:
                raise nothing_like_it(kind, f"the estimator itself refuses what was ({reason})") from error
            raise InvalidInput(f"{kind} itself refuses the rows of the sample: {reason}") from error
    model = proto.SerializeToString(deterministic=True)
    opset = max(item.version for item in proto.opset_import if item.domain == "")
    check = Check(rows, len(rows), expected)
    versions = {"scikit-learn": version("scikit-learn"), "skl2onnx": version("skl2onnx")}
    exported = exported_as(kind, "scikit-learn", versions["scikit-learn"], opset)
    return Converted(model, exported, (check,), sample is None, labels, kind, made_up.like, versions=versions)


def thinned(sample: Any) -> Any:
    """`sample` itself when it is a DataFrame or Series, else an array; MOST_ROWS of it at most."""
    try:
        rows = sample if hasattr(sample, "iloc") else np.asarray(sample)
        count = len(rows) if np.ndim(rows) else 0
    except (ValueError, TypeError):
        raise InvalidInput("sample takes rows as predict takes them; this is no table of numbers or text") from None
    if not count:
        raise InvalidInput("sample takes rows as predict takes them; this holds none")
    every = -(-count // MOST_ROWS)
    return rows[::every] if every > 1 else rows


def _called(estimator: Any) -> str:
    """`Pipeline of StandardScaler and SVC`, or the class."""
    steps = getattr(estimator, "steps", None)
    if not steps:
        return type(estimator).__name__
    names = [type(step).__name__ for _, step in steps]
    return f"Pipeline of {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"Pipeline of {names[0]}"

"""What a scikit-learn estimator itself answers, in the form of its export's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.core.tensor import Array

_SECOND = ("predict_proba", "decision_function", "score_samples", "transform")
"""The methods that the second output of an export may stand for, in this order; of a classifier, the last does not."""


def own_answers(estimator: Any, outputs: Sequence[str], rows: Any) -> tuple[dict[str, Array], frozenset[str]]:
    """Output -> the estimator's own values, for the outputs that it has a method for; and which of them are labels.

    Raises whatever the estimator does.
    """
    labelled = "label" in outputs
    expected: dict[str, Array] = {}
    if labelled or hasattr(estimator, "predict"):
        expected[outputs[0]] = np.asarray(estimator.predict(rows))
    else:
        method = "transform" if hasattr(estimator, "transform") else "score_samples"
        expected[outputs[0]] = _dense(getattr(estimator, method)(rows))
    for name in outputs[1:2]:
        for method in _SECOND[: 3 if hasattr(estimator, "classes_") else None]:
            if hasattr(estimator, method):
                if (scores := _dense(getattr(estimator, method)(rows))) is not None:
                    expected[name] = scores
                break
    if outputs[1:] and outputs[1].endswith("_0"):  # an array for each output, since their classes differ in number
        shares = estimator.predict_proba(rows)
        expected |= dict(zip(outputs[1:], map(_dense, shares), strict=True))
    return {name: array for name, array in expected.items() if array is not None}, frozenset(
        outputs[:1] if labelled else ()
    )


def _dense(value: Any) -> Any:
    """An array; None for a list of arrays of different shapes, as several outputs with classes of their own have."""
    if isinstance(value, list) and len({np.shape(each) for each in value}) > 1:
        return None
    return np.asarray(value.toarray() if hasattr(value, "toarray") else value)

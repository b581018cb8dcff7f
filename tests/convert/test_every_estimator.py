"""Every estimator of scikit-learn, on every kind of data that it takes: loaded and right, or refused in words.

`pytest tests/convert/test_every_estimator.py -m long -s` prints the counts; docs/python.md has them.
"""

from __future__ import annotations

import asyncio
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.helpers.fitted_estimators import Fitted, fitted_estimators
from tests.helpers.onnx_client import OnnxClient
from workbench.client.predict import Predictor
from workbench.convert.load import load
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, WorkbenchError

SOME = {
    "CategoricalNB": {"whole numbers"},
    "DecisionTreeClassifier": {"missing values", "several labels", "several classes"},
    "ExtraTreesRegressor": {"missing values", "several targets"},
    "HistGradientBoostingRegressor": {"missing values"},
    "KBinsDiscretizer": {"numbers"},
    "KNeighborsRegressor": {"whole numbers"},
    "KernelDensity": {"numbers"},
    "LabelEncoder": {"labels alone"},
    "MLPClassifier": {"several labels"},
    "OneVsRestClassifier": {"several labels"},
    "OrdinalEncoder": {"words", "whole numbers"},
    "RFECV": {"named classes"},
    "RadiusNeighborsRegressor": {"numbers"},
    "RandomForestClassifier": {"missing values", "named classes"},
    "SimpleImputer": {"missing values", "numbers"},
    "TunedThresholdClassifierCV": {"two classes"},
    "boosting on categories": {"whole numbers"},
    "columns, boosting": {"a mixed frame"},
    "columns, logistic": {"a mixed frame"},
    "filled and marked, tree": {"missing values"},
    "one-hot, logistic": {"words", "whole numbers"},
    "tf-idf, logistic": {"texts"},
}
"""What is tried in each run of the tests: each of them was loaded wrongly, or ended in a bare exception, before."""


async def outcome(fitted: Fitted) -> tuple[str, str]:
    """How a load without a sample, and then a call with rows that the estimator has not seen, ended; and why."""
    client = OnnxClient()
    try:
        report = await load(client, "m", fitted.estimator, {})
        answer = await Predictor(client).predict("m", fitted.unseen)
    except WorkbenchError as error:
        told = isinstance(error, InvalidInput) or len(error.message) > 40
        return "refused" if told and "\n" not in error.message else "refused without a word", error.message
    except Exception as error:
        return "bare exception", f"{type(error).__name__}: {error}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        difference = difference_from(fitted, list(answer.values()))
    return ("wrong" if difference else "right"), difference or report.details[0]


def difference_from(fitted: Fitted, outputs: list[Array]) -> str:
    """How the answers to unseen rows differ from the estimator's own; empty where they do not."""
    estimator, rows = fitted.estimator, fitted.unseen
    if isinstance(rows, np.ndarray) and rows.dtype.kind == "i":
        rows = rows.astype(float)  # some estimators compute in whole numbers then, and answer something else
    method = next(each for each in ("predict", "transform", "score_samples") if hasattr(estimator, each))
    if difference := unlike(getattr(estimator, method)(rows), outputs[0]):
        return difference
    if len(outputs) > 1 and hasattr(estimator, "predict_proba"):
        own: Any = estimator.predict_proba(rows)
        if len({np.shape(each) for each in own}) == 1:  # several outputs may have classes of their own
            return unlike(own, outputs[1])
    return ""


def unlike(own: Any, found: Array) -> str:
    expected = np.asarray(own.toarray() if hasattr(own, "toarray") else own)
    if expected.size != found.size:
        return f"the shape is {found.shape} in place of {expected.shape}"
    found = found.reshape(expected.shape)
    if expected.dtype.kind not in "biuf" or found.dtype.kind not in "biuf":
        share = float((expected.astype(str) != found.astype(str)).mean())
        return f"{share:.1%} of the values differ" if share else ""
    finite = np.abs(expected[np.isfinite(expected)].astype(float))
    close = np.isclose(found.astype(float), expected, rtol=0, atol=2e-3 * (finite.max(initial=0) or 1), equal_nan=True)
    return "" if close.all() else f"{1 - close.mean():.1%} of the values differ"


def counts_of(chosen: Any) -> tuple[Counter[str], list[str]]:
    counts: Counter[str] = Counter()
    told: list[str] = []
    for fitted in fitted_estimators(chosen):
        kind, why = asyncio.run(outcome(fitted))
        counts[kind] += 1
        if kind not in ("right", "refused"):
            told.append(f"{fitted}: {kind}: {why}")
    return counts, told


def test_estimators_that_were_once_loaded_wrongly_are_loaded_right_or_refused() -> None:
    counts, told = counts_of(lambda name, data: data in SOME.get(name, ()))
    assert not told, "\n".join(told)
    assert counts["right"] >= 20, counts


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_estimator_on_every_kind_of_data_is_loaded_right_or_refused() -> None:
    counts, told = counts_of(lambda name, data: True)
    print(dict(counts))
    assert not told, "\n".join(told)
    assert counts["right"] >= 900, counts

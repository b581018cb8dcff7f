"""Every estimator of scikit-learn, on every kind of data that it takes: loaded and right, or refused in words.

`pytest tests/convert/scikit/test_every_estimator.py -m long -s` prints the counts; docs/python.md has them.
"""

from __future__ import annotations

import asyncio
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
from sklearn.base import OutlierMixin
from sklearn.utils import all_estimators

from tests.helpers.fitted_estimators import Fitted, fitted_estimators
from tests.helpers.onnx_client import OnnxClient
from workbench.client.predict import Predictor
from workbench.convert.load import load
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, WorkbenchError

SOME = {
    "AffinityPropagation": {"numbers"},
    "Birch": {"numbers"},
    "BisectingKMeans": {"numbers"},
    "CCA": {"several targets"},
    "CalibratedClassifierCV": {"two classes"},
    "CategoricalNB": {"whole numbers"},
    "ClassifierChain": {"several labels"},
    "DecisionTreeClassifier": {"missing values", "several labels", "several classes"},
    "DummyClassifier": {"named classes"},
    "EllipticEnvelope": {"numbers"},
    "ExtraTreesRegressor": {"missing values", "several targets"},
    "HistGradientBoostingRegressor": {"missing values"},
    "GaussianProcessClassifier": {"numbers"},
    "Isomap": {"counts"},
    "IsotonicRegression": {"one column"},
    "KBinsDiscretizer": {"numbers"},
    "KNeighborsRegressor": {"whole numbers"},
    "KernelDensity": {"numbers"},
    "KernelRidge": {"several targets"},
    "LabelEncoder": {"labels alone"},
    "LabelSpreading": {"named classes"},
    "MLPClassifier": {"several labels"},
    "MeanShift": {"numbers"},
    "MultiOutputClassifier": {"several classes"},
    "NearestCentroid": {"named classes"},
    "OneVsOneClassifier": {"named classes"},
    "OneVsRestClassifier": {"several labels"},
    "OutputCodeClassifier": {"numbers"},
    "OrdinalEncoder": {"words", "whole numbers"},
    "RFECV": {"named classes"},
    "RadiusNeighborsClassifier": {"several classes"},
    "RadiusNeighborsRegressor": {"numbers"},
    "RandomForestClassifier": {"missing values", "named classes"},
    "RegressorChain": {"several targets"},
    "SelfTrainingClassifier": {"two classes"},
    "SimpleImputer": {"missing values", "numbers"},
    "TransformedTargetRegressor": {"numbers"},
    "TunedThresholdClassifierCV": {"two classes"},
    "QuantileTransformer": {"whole numbers"},
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


class Tally:
    """The outcomes of many loads."""

    def __init__(self, chosen: Any) -> None:
        self.counts: Counter[str] = Counter()
        self.told: list[str] = []
        self.refused: dict[str, set[str]] = {}
        """Estimator -> the kinds of data on which it, or one of the ways to build it, was refused."""
        for fitted in fitted_estimators(chosen):
            kind, why = asyncio.run(outcome(fitted))
            self.counts[kind] += 1
            found = self.refused.setdefault(fitted.name, set())
            if kind == "refused":
                found.add(fitted.data)
            elif kind != "right":
                self.told.append(f"{fitted}: {kind}: {why}")


def test_estimators_that_were_once_loaded_wrongly_are_loaded_right_or_refused() -> None:
    tally = Tally(lambda name, data: data in SOME.get(name, ()))
    assert not tally.told, "\n".join(tally.told)
    assert tally.counts["right"] >= 50, tally.counts


PLAIN = {
    "numbers",
    "one column",
    "two classes",
    "named classes",
    "a frame of numbers",
    "missing values",
    "several labels",
    "several targets",
}
"""An estimator counts as served where none of these that it can be fitted to is refused."""


def estimators_that_predict() -> dict[str, list[str]]:
    """classifier, regressor, cluster, outlier -> the names of those with a `predict`."""
    found = {
        kind: [name for name, each in all_estimators(type_filter=kind) if hasattr(each, "predict")]
        for kind in ("classifier", "regressor", "cluster")
    }
    return found | {"outlier": [name for name, each in all_estimators() if issubclass(each, OutlierMixin)]}


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_estimator_on_every_kind_of_data_is_loaded_right_or_refused() -> None:
    tally = Tally(lambda name, data: True)
    print(dict(tally.counts))
    for kind, names in estimators_that_predict().items():
        not_tried = [name for name in names if name not in tally.refused]
        refused = [name for name in names if tally.refused.get(name, set()) & PLAIN]
        right = len(names) - len(not_tried) - len(refused)
        print(f"{kind}: {right} of {len(names)} served; refused {refused}, could not be fitted {not_tried}")
        assert right >= 0.9 * len(names), kind
    assert not tally.told, "\n".join(tally.told)
    assert tally.counts["right"] >= 1200, tally.counts

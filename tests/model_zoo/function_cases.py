"""Objects without an ONNX form, which are served as Python: functions, own estimators, lambdas in pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from tests.model_zoo.case import Case
from workbench.convert.python.python_function import PythonFunction

X, Y = load_iris(return_X_y=True)
TRAIN, FRESH = slice(0, None, 2), slice(1, None, 2)


class Median(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """The median target of the nearest rows."""

    def fit(self, X: Any, y: Any) -> Median:
        self.rows_, self.targets_ = np.asarray(X), np.asarray(y, float)
        return self

    def predict(self, X: Any) -> Any:
        near = ((np.asarray(X)[:, None] - self.rows_) ** 2).sum(axis=2).argsort(axis=1)[:, :5]
        return np.median(self.targets_[near], axis=1)


def brightness(x: Any) -> Any:
    return np.sqrt(x).mean(axis=1)


def logged(x: Any) -> Any:
    return np.log1p(x)


def _pipeline() -> tuple[object, object]:
    model = make_pipeline(FunctionTransformer(logged), LogisticRegression(max_iter=1000))
    return PythonFunction(model.fit(X[TRAIN], Y[TRAIN])), X[FRESH]


CASES = [
    Case("Python function", lambda: (brightness, X[FRESH])),
    Case("Python function of rows (batch=True)", lambda: (PythonFunction(brightness, rows=True), X[FRESH])),
    Case("Own estimator (as Python)", lambda: (PythonFunction(Median().fit(X[TRAIN], Y[TRAIN])), X[FRESH])),
    Case("Pipeline with a function of one's own (as Python)", _pipeline),
]

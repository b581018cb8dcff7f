"""Our own converters work inside skl2onnx's, and leave its tables as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import MeanShift
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import RandomizedSearchCV
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from tests.helpers.exported import answers_of_export
from workbench.convert.scikit.sklearn_export import export
from workbench.convert.scikit.sklearn_own.registration import CONVERTERS, own_converters
from workbench.errors import Unsupported

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 3)).astype(np.float32)
REAL = (X @ [1.0, -2.0, 0.5]).astype(np.float64)
CLASSES = np.array(["low", "mid", "high"])[np.digitize(REAL, [-1, 1])]


def tables() -> list[dict[Any, Any]]:
    from skl2onnx._parse import sklearn_parsers_map
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common._registration import _converter_pool, _shape_calculator_pool

    return [sklearn_operator_name_map, sklearn_parsers_map, _converter_pool, _shape_calculator_pool]


def test_the_tables_of_skl2onnx_are_as_before_also_after_a_failure() -> None:
    before = [dict(each) for each in tables()]
    export(MeanShift().fit(X), "it", X)
    with pytest.raises(Unsupported):
        export(FunctionTransformer(lambda rows: rows).fit(X), "it", X)
    assert [dict(each) for each in tables()] == before
    with own_converters(MeanShift()):
        assert tables()[0][MeanShift] == "OwnMeanShift"
    assert MeanShift not in tables()[0]


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), KernelRidge(kernel="rbf")),
        make_pipeline(FunctionTransformer(np.arcsinh), StandardScaler(), LinearRegression()),
        make_pipeline(
            FeatureUnion([("near", Nystroem(n_components=5)), ("as is", StandardScaler())]), LinearRegression()
        ),
        StackingRegressor([("kernel", KernelRidge()), ("line", LinearRegression())]),
        BaggingRegressor(KernelRidge(), n_estimators=3),
        TransformedTargetRegressor(make_pipeline(StandardScaler(), KernelRidge()), transformer=StandardScaler()),
        RandomizedSearchCV(
            make_pipeline(StandardScaler(), KernelRidge()), {"kernelridge__alpha": [1.0]}, n_iter=1, cv=2
        ),
    ],
    ids=lambda each: type(each).__name__,
)
def test_regressors_of_ours_inside_others(estimator: Any) -> None:
    estimator.fit(X, REAL)
    np.testing.assert_allclose(answers_of_export(estimator, X)[0].reshape(-1), estimator.predict(X), atol=1e-5)


@pytest.mark.parametrize(
    "estimator",
    [
        VotingClassifier([("near", NearestCentroid()), ("line", LogisticRegression())], voting="soft"),
        SelfTrainingClassifier(make_pipeline(StandardScaler(), LogisticRegression())),
        FrozenEstimator(make_pipeline(StandardScaler(), NearestCentroid()).fit(X, CLASSES)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_classifiers_of_ours_inside_others(estimator: Any) -> None:
    target = CLASSES.astype(object)
    if isinstance(estimator, SelfTrainingClassifier):
        target[::5] = -1  # not known
    estimator.fit(X, target)
    label, probabilities = answers_of_export(estimator, X)
    assert np.array_equal(label, estimator.predict(X))
    np.testing.assert_allclose(probabilities, estimator.predict_proba(X), atol=1e-5)


class Doubler(TransformerMixin, BaseEstimator):
    def fit(self, rows: Any, target: Any = None) -> Doubler:
        return self

    def transform(self, rows: Any) -> Any:
        return 2 * rows


def test_a_class_of_the_users_own_inside_one_of_ours_is_named() -> None:
    estimator = TransformedTargetRegressor(make_pipeline(Doubler(), KernelRidge())).fit(X, REAL)
    with pytest.raises(Unsupported, match=r"it has no ONNX form: .*Doubler"):
        export(estimator, "it", X)


def test_each_class_of_the_table_exists() -> None:
    import importlib

    for path in CONVERTERS:
        module, _, name = path.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), type), path

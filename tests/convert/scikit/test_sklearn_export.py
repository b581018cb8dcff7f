"""What skl2onnx would export otherwise than the estimator answers, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesRegressor, IsolationForest, RandomForestClassifier, VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import RFE
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from workbench.convert.scikit.sklearn_export import export
from workbench.core.tensor import Array
from workbench.errors import Unsupported

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
HOLED = np.where(RANDOM.random(X.shape) < 0.2, np.float32(np.nan), X)


def answered(estimator: Any, rows: Array) -> list[Any]:
    proto = export(estimator, "it", rows, double=rows.dtype == np.float64)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: rows}))


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(max_depth=5, random_state=0),
        ExtraTreesRegressor(5, max_depth=5, random_state=0),
        IsolationForest(n_estimators=5, random_state=0),
        RandomForestClassifier(5, max_depth=5, random_state=0),
    ],
    ids=str,
)
def test_trees_send_missing_values_where_they_have_learnt_to(estimator: Any) -> None:
    estimator.fit(HOLED, Y)
    expected = estimator.predict(HOLED)
    assert not np.array_equal(expected, estimator.predict(np.nan_to_num(HOLED)))
    np.testing.assert_allclose(answered(estimator, HOLED)[0].reshape(-1), expected, rtol=1e-6)


def test_words_are_those_of_every_language() -> None:
    texts = np.array(["köln été 東京 a", "Köln köln", "naïve_2 ok"], object)
    estimator = CountVectorizer().fit(texts)
    np.testing.assert_array_equal(answered(estimator, texts)[0], estimator.transform(texts).toarray())


def test_forms_that_it_refuses_give_the_same_values_in_another() -> None:
    bins = KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf").fit(X)
    np.testing.assert_array_equal(answered(bins, X)[0], bins.transform(X).toarray())
    assert bins.encode == "onehot"  # the user's own stays as it was
    pipeline = make_pipeline(bins, LogisticRegression()).fit(X, Y)
    np.testing.assert_array_equal(answered(pipeline, X)[0], pipeline.predict(X))
    columns = make_pipeline(ColumnTransformer([("bins", bins, [0, 1, 2, 3])]), LogisticRegression()).fit(X, Y)
    np.testing.assert_array_equal(answered(columns, X)[0], columns.predict(X))
    voting = VotingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=2))], voting="soft")
    voting.fit(X, Y)
    np.testing.assert_array_equal(answered(voting, X)[0], voting.predict(X))
    assert voting.flatten_transform


def test_a_selector_that_predicts_is_exported_as_what_it_predicts() -> None:
    for estimator in (RFE(LogisticRegression()), make_pipeline(StandardScaler(), RFE(LogisticRegression()))):
        estimator.fit(X, Y)
        np.testing.assert_array_equal(answered(estimator, X)[0], estimator.predict(X))


def test_a_scaler_before_trees_scales_as_exactly_among_columns_as_in_a_pipeline() -> None:
    """A split point halfway between two values may be a third one: then the last bit decides."""
    rows = np.repeat(np.arange(100, dtype=np.float32)[:, np.newaxis], 2, axis=1) * np.float32(22026.47)
    columns = ColumnTransformer([("scaled", StandardScaler(), [0, 1])])
    for first in (StandardScaler(), columns):
        pipeline = make_pipeline(first, DecisionTreeClassifier()).fit(rows[::2].astype(float), np.arange(50) % 2)
        rows = rows.astype(float)
        np.testing.assert_array_equal(answered(pipeline, rows)[0], pipeline.predict(rows))


@pytest.mark.parametrize("estimator", [LogisticRegression(), DecisionTreeClassifier(max_depth=2)], ids=str)
def test_labels_of_truth_values_stay_truth_values(estimator: Any) -> None:
    """1 and 0 would choose rows 1 and 0, where a mask chooses those that are true."""
    for model in (estimator.fit(X, Y == 1), make_pipeline(StandardScaler(), estimator).fit(X, Y == 1)):
        label = answered(model, X)[0]
        assert label.dtype == bool
        assert np.array_equal(label, model.predict(X))


@pytest.mark.parametrize(
    ("analyzer", "said"), [("char_wb", "'char_wb'"), (str.split, "a function of yours")], ids=["letters", "own"]
)
def test_an_analyzer_that_has_no_form_is_named(analyzer: Any, said: str) -> None:
    texts = np.array(["rain falls", "the red fox"], object)
    with pytest.raises(Unsupported, match=rf"the analyzer of its CountVectorizer is {said}, .*fit it with analyzer='w"):
        export(make_pipeline(CountVectorizer(analyzer=analyzer), LogisticRegression()).fit(texts, [0, 1]), "it", texts)

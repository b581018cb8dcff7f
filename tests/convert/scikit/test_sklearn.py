"""Exports, run by ONNX Runtime here: no service is needed to see that they answer as the original."""

from __future__ import annotations

import re
import warnings
from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.semi_supervised import LabelPropagation
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from workbench.client.input_adapter import adapt
from workbench.client.results import CallTimings, Prediction
from workbench.convert.agreement import Agreement, compare
from workbench.convert.converters import Converted, converter_for
from workbench.convert.scikit.sklearn import convert
from workbench.core.model import Signature, TensorSpec
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, Unsupported

ESTIMATORS = [
    DecisionTreeClassifier(random_state=0),
    DecisionTreeRegressor(random_state=0),
    GaussianNB(),
    GradientBoostingRegressor(n_estimators=5, random_state=0),
    HistGradientBoostingClassifier(max_iter=3, random_state=0),
    HistGradientBoostingRegressor(max_iter=3, random_state=0),
    KMeans(10, n_init=1, random_state=0),
    KNeighborsClassifier(),
    LinearRegression(),
    LinearSVC(dual=False, max_iter=50),
    LogisticRegression(max_iter=50),
    MLPClassifier((8,), max_iter=5, random_state=0),
    MinMaxScaler(),
    MultinomialNB(),
    PCA(4, random_state=0),
    RandomForestClassifier(5, random_state=0),
    SGDClassifier(random_state=0),
    SVC(),
    make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)),
    make_pipeline(StandardScaler(), SVC()),
    make_pipeline(StandardScaler(), LinearSVC(dual=False, max_iter=50)),
]


@cache
def digits() -> tuple[Array, Array]:
    X, y = load_digits(return_X_y=True)
    return X[:500], y[:500]


def fitted(estimator: Any, two_classes: bool = False) -> Any:
    X, y = digits()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some do not converge is no matter here
        return estimator.fit(X, (y > 4).astype(int) if two_classes else y)


def answers(converted: Converted) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(converted.model, providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": "FP32", "tensor(double)": "FP64", "tensor(int64)": "INT64", "tensor(string)": "BYTES"}
    specs = tuple(
        TensorSpec(each.name, kinds[each.type], tuple(-1 if size is None else size for size in each.shape))
        for each in session.get_inputs()
    )
    inputs = adapt(converted.checks[0].rows, Signature(specs, ()), "m").inputs
    texts = {spec.name for spec in specs if spec.datatype == "BYTES"}
    decode = np.vectorize(bytes.decode, otypes=[object])
    feeds = {name: decode(array) if name in texts else array for name, array in inputs.items()}
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def compared(converted: Converted) -> Agreement:
    return compare(converted.checks[0].expected, answers(converted), converted.labels)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_an_export_answers_as_the_original_on_made_up_and_on_real_rows(estimator: Any) -> None:
    fitted(estimator)
    for sample in (None, digits()[0]):
        found = compared(convert(estimator, sample))
        assert found.agrees, found.summary
        assert "not compared" not in found.summary


@pytest.mark.parametrize("estimator", [SVC(), LinearSVC(dual=False), LogisticRegression(), SGDClassifier()], ids=str)
def test_two_classes_export_too(estimator: Any) -> None:
    found = compared(convert(fitted(estimator, two_classes=True), digits()[0]))
    assert found.agrees, found.summary


@pytest.mark.parametrize("estimator", [KNeighborsClassifier(), LogisticRegression(max_iter=50), SVC()], ids=str)
def test_the_same_estimator_gives_the_same_bytes_each_time(estimator: Any) -> None:
    fitted(estimator)
    assert convert(estimator, None).model == convert(estimator, None).model


def test_probabilities_are_a_plain_array_and_the_batch_axis_is_free() -> None:
    converted = convert(fitted(LogisticRegression(max_iter=50)), None)
    session = onnxruntime.InferenceSession(converted.model, providers=["CPUExecutionProvider"])
    assert [(each.name, each.shape) for each in session.get_outputs()] == [
        ("label", [None]),
        ("probabilities", [None, 10]),
    ]
    assert [(each.name, each.shape) for each in session.get_inputs()] == [("X", [None, 64])]
    assert re.fullmatch(r"exported LogisticRegression \(scikit-learn \d+\.\d+, opset \d+\)", converted.exported)


def test_labels_of_text_stay_text() -> None:
    X, y = digits()
    estimator = LogisticRegression(max_iter=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, np.array(["even", "odd"])[y % 2])
    found = compared(convert(estimator, X))
    assert found.agrees, found.summary


def mixed() -> tuple[pd.DataFrame, Any]:
    frame = pd.DataFrame(
        {"age": np.linspace(18, 80, 60), "rooms": np.arange(60) % 5, "city": ["Bern", "Zürich", "Genf"] * 20}
    )
    columns = ColumnTransformer([("numbers", StandardScaler(), ["age", "rooms"]), ("words", OneHotEncoder(), ["city"])])
    target = (frame["age"] > 50).astype(int)
    return frame, make_pipeline(columns, LogisticRegression()).fit(frame, target)


def test_a_pipeline_over_a_dataframe_becomes_an_input_a_column() -> None:
    frame, pipeline = mixed()
    converted = convert(pipeline, frame)
    session = onnxruntime.InferenceSession(converted.model, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["age", "rooms", "city"]
    assert compared(converted).agrees
    assert "Pipeline of ColumnTransformer and LogisticRegression" in converted.exported


def test_a_pipeline_over_text_exports_and_needs_no_locale_of_its_own() -> None:
    texts = ["a good film", "a bad film", "very good", "so bad"]
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0])
    for sample in (None, texts):
        found = compared(convert(pipeline, sample))
        assert found.agrees, found.summary


TEXTS = ["köln film", "été à köln", "naïve film", "film", "été", "naïve köln"] * 4


@pytest.mark.parametrize(
    "model",
    [KNeighborsClassifier(3), KernelRidge(), LabelPropagation(max_iter=50), Nystroem(n_components=3, random_state=0)],
    ids=lambda each: type(each).__name__,
)
def test_an_estimator_that_keeps_sparse_rows_is_exported_behind_a_vectoriser(model: Any) -> None:
    pipeline = make_pipeline(TfidfVectorizer(), model).fit(TEXTS, ["köln" in each for each in TEXTS])
    found = compared(convert(pipeline, TEXTS[:6]))
    assert found.agrees, found.summary


def test_sparse_rows_that_are_too_large_with_their_zeros_are_refused_with_what_to_do() -> None:
    texts = [f"word{place}" for place in range(9_000)]
    pipeline = make_pipeline(TfidfVectorizer(), KNeighborsClassifier()).fit(texts, [0, 1] * 4_500)
    with pytest.raises(
        Unsupported, match=r"keeps 9,000 rows of 9,000 columns, mostly zeros.*0\.3 GB.*TruncatedSVD\(100\)"
    ):
        convert(pipeline, texts[:5])


@pytest.mark.parametrize("around", [OneVsRestClassifier, lambda each: VotingClassifier([("only", each)])])
def test_a_vectoriser_inside_another_estimator_splits_words_of_any_language(around: Any) -> None:
    inner = make_pipeline(TfidfVectorizer(), LogisticRegression())
    target = [next(place for place, word in enumerate(("köln", "été", "film", "")) if word in each) for each in TEXTS]
    found = compared(convert(around(inner).fit(TEXTS, target), TEXTS[:6]))
    assert found.agrees, found.summary


def test_a_pipeline_over_columns_makes_up_a_frame_of_its_columns() -> None:
    frame, pipeline = mixed()
    converted = convert(pipeline, None)
    made_up: Any = converted.checks[0].rows
    assert list(made_up.columns) == list(frame.columns)
    assert set(made_up["city"]) == set(frame["city"])
    assert made_up["age"].min() > 0 and made_up["age"].max() < 120
    found = compared(converted)
    assert found.agrees, found.summary


def test_a_dataframe_of_numbers_is_one_input() -> None:
    X, _ = digits()
    converted = convert(fitted(LogisticRegression(max_iter=50)), pd.DataFrame(X))
    session = onnxruntime.InferenceSession(converted.model, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["X"]


def test_a_large_sample_is_thinned_out() -> None:
    X, _ = digits()
    converted = convert(fitted(LinearRegression()), np.tile(X, (5, 1)))
    assert converted.checks[0].row_count == 834


def test_categories_that_are_dates_are_told_so_without_a_sample() -> None:
    dates = pd.DataFrame({"when": pd.date_range("2026-01-01", periods=4)})
    made = make_pipeline(ColumnTransformer([("w", OneHotEncoder(), ["when"])]), LogisticRegression())
    with pytest.raises(Unsupported, match=r"dates, which no tensor can hold.*df\[column\].astype\('int64'\)"):
        convert(made.fit(dates, [0, 1, 0, 1]), None)


def test_a_vector_for_an_estimator_of_a_table_is_the_users_to_mend() -> None:
    table = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "k": ["u", "v", "u", "v"]})
    made = make_pipeline(ColumnTransformer([("k", OneHotEncoder(), ["k"])]), LogisticRegression())
    with pytest.raises(InvalidInput, match="refuses the rows of the sample: it has one axis, and rows of columns"):
        convert(made.fit(table, [0, 1, 0, 1]), table["k"].to_numpy())


def test_a_sample_that_the_estimator_refuses_is_the_users_to_mend() -> None:
    with pytest.raises(InvalidInput, match="rows of the sample: it has 3 columns, and 64 were there") as caught:
        convert(fitted(LogisticRegression(max_iter=50)), digits()[0][:, :3])
    assert "\n" not in caught.value.message


def test_scores_that_are_no_probabilities_are_not_called_so() -> None:
    converted = convert(fitted(SVC()), digits()[0])
    assert list(converted.checks[0].expected) == ["label", "scores"]
    assert "scores within" in compared(converted).summary


def test_what_cannot_be_exported_says_why() -> None:
    class Odd(BaseEstimator):  # type: ignore[misc]
        def fit(self, X: Array, y: Array) -> Odd:
            self.n_features_in_ = X.shape[1]
            return self

        def predict(self, X: Array) -> Array:
            return np.zeros(len(X))

    with pytest.raises(Unsupported, match="Odd has no ONNX form: skl2onnx knows no conversion of Odd") as caught:
        convert(fitted(Odd()), None)
    assert "\n" not in caught.value.message
    with pytest.raises(InvalidInput, match="is not fitted yet"):
        convert(LogisticRegression(), None)
    with pytest.raises(InvalidInput, match="is no estimator"):
        convert(LogisticRegression, None)
    with pytest.raises(InvalidInput, match="holds none"):
        convert(fitted(LinearRegression()), [])


def test_the_registry_knows_scikit_learn_and_says_what_to_do_with_others() -> None:
    assert converter_for(LogisticRegression()) is convert
    boosted = type("XGBClassifier", (BaseEstimator,), {"__module__": "xgboost.sklearn"})
    assert converter_for(boosted()).__module__ == "workbench.convert.trees.boosting"
    with pytest.raises(Unsupported, match="an int cannot be loaded; a model is"):
        converter_for(3)


def test_a_prediction_can_be_compared_as_it_is() -> None:
    given = Prediction("m", "1", {"y": np.array([1.0])}, CallTimings(0.0))
    assert compare({"y": np.array([1.0])}, given, frozenset()).agrees

"""Pipelines over columns of several kinds, run by ONNX Runtime here as the service would."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import (
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier

from workbench.client.input_adapter import adapt
from workbench.convert.scikit.own_answers import own_answers
from workbench.convert.scikit.sklearn import convert
from workbench.core.model import Signature, TensorSpec
from workbench.core.table_columns import METADATA_KEY, with_columns
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, Unsupported

KINDS = {"tensor(float)": "FP32", "tensor(double)": "FP64", "tensor(string)": "BYTES"}


def table(rows: int = 300) -> pd.DataFrame:
    """A column of every kind, with missing values in most."""
    rng = np.random.default_rng(0)

    def some(values: Any) -> Any:
        column = pd.Series(values)
        return column.mask(rng.random(rows) < 0.1, pd.NA if not isinstance(column.dtype, np.dtype) else np.nan)

    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, rows),
            "fare": some(rng.lognormal(3, 1, rows)),
            "member": rng.random(rows) < 0.5,
            "kids": some(pd.array(rng.integers(0, 4, rows), dtype="Int64")),
            "rate": some(pd.array(rng.random(rows), dtype="Float64")),
            "paid": some(pd.array(rng.random(rows) < 0.5, dtype="boolean")),
            "city": some(rng.choice(["Köln", "Paris", "Rom"], rows)),
            "plan": some(pd.Categorical(rng.choice(["a", "b"], rows))),
            "grade": pd.Series(some(rng.choice(["x", "y"], rows)), dtype=object),
            "zone": some(pd.array(rng.choice(["n", "s"], rows), dtype="string")).astype(object).fillna(np.nan),
            "seen": pd.date_range("2026-01-01", periods=rows),
        }
    )


FRAME = table()
TARGET = ((FRAME["age"] > 45) ^ (FRAME["city"] == "Rom")).to_numpy().astype(int)
NUMBERS = ["age", "fare", "member", "kids", "rate", "paid"]
WORDS = ["city", "plan", "grade", "zone"]


def columns(*parts: tuple[Any, Any], **more: Any) -> ColumnTransformer:
    return ColumnTransformer([(f"p{index}", *part) for index, part in enumerate(parts)], **more)


def numbers(**settings: Any) -> Any:
    return make_pipeline(SimpleImputer(strategy="median", **settings), StandardScaler())


def words() -> Any:
    return make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))


RARE = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.34, drop="first")
ORDERED = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
PIPELINES: dict[str, Any] = {
    "filled, scaled, one-hot": make_pipeline(columns((numbers(), NUMBERS), (words(), WORDS)), LogisticRegression()),
    "where it was missing": make_pipeline(columns((numbers(add_indicator=True), NUMBERS)), LogisticRegression()),
    "indicators": columns((MissingIndicator(), ["fare", "kids"]), ("passthrough", ["age"])),
    "constant texts": columns(
        (make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder()), ["city"])
    ),
    "filled text as it is": columns((SimpleImputer(strategy="most_frequent"), WORDS)),
    "filled twice": columns(
        (
            make_pipeline(
                SimpleImputer(strategy="constant", fill_value="Rom"),
                SimpleImputer(missing_values="Rom", strategy="constant", fill_value="Paris"),
                OneHotEncoder(handle_unknown="ignore"),
            ),
            ["city"],
        )
    ),
    "filled with what is no category": columns(
        (
            make_pipeline(
                SimpleImputer(strategy="constant", fill_value="none"),
                OneHotEncoder(categories=[["Paris", "Rom"]], handle_unknown="ignore"),
            ),
            ["city"],
        )
    ),
    "rare and dropped": columns((RARE, ["city", "plan", "age"])),
    "categories of all kinds": columns((OneHotEncoder(handle_unknown="ignore"), ["city", "age", "member", "grade"])),
    "ordered": make_pipeline(
        columns((ORDERED, WORDS), (numbers(), ["kids"])), HistGradientBoostingRegressor(max_iter=5)
    ),
    "encoded by target": make_pipeline(columns((TargetEncoder(), WORDS), ("passthrough", ["age"])), Ridge()),
    "forest": make_pipeline(columns((numbers(), NUMBERS), (words(), WORDS)), RandomForestClassifier(10)),
    "selected": make_pipeline(columns((numbers(), NUMBERS), (words(), WORDS)), SelectKBest(k=3), LogisticRegression()),
    "searched": GridSearchCV(
        make_pipeline(columns((numbers(), make_column_selector(dtype_include="number"))), LogisticRegression()),
        {"logisticregression__C": [0.1, 1]},
        cv=2,
    ),
    "weighted": make_pipeline(
        columns((numbers(), NUMBERS), (words(), WORDS), transformer_weights={"p0": 0.5}),
        FeatureUnion([("same", "passthrough"), ("near", KMeans(2, n_init=1, random_state=0))]),
        LogisticRegression(),
    ),
    "encoder alone": OneHotEncoder(handle_unknown="ignore"),
}


def fitted(name: str) -> tuple[Any, pd.DataFrame]:
    frame = FRAME[["city", "grade"]] if name == "encoder alone" else FRAME
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PIPELINES[name].fit(frame, TARGET), frame


def served(model: Any) -> tuple[onnxruntime.InferenceSession, Signature]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = [TensorSpec(each.name, KINDS[each.type], (-1, *each.shape[1:])) for each in session.get_inputs()]
    said = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")
    return session, with_columns(Signature(tuple(inputs), ()), said)


def answered(model: Any, rows: object) -> dict[str, Array]:
    session, signature = served(model)
    inputs = adapt(rows, signature, "m").inputs
    texts = {spec.name for spec in signature.inputs if spec.datatype == "BYTES"}
    decode = np.vectorize(bytes.decode, otypes=[object])
    feeds = {name: decode(array) if name in texts else array for name, array in inputs.items()}
    return dict(zip([each.name for each in session.get_outputs()], session.run(None, feeds), strict=True))


def check_rows(converted: Any, what: str) -> Any:
    return next(check for check in converted.checks if check.what == what)


@pytest.mark.parametrize("name", PIPELINES)
def test_every_kind_of_column_answers_as_the_original_missing_and_unknown_ones_too(name: str) -> None:
    estimator, frame = fitted(name)
    converted = convert(estimator, frame)
    for check in converted.checks:
        found = answered(converted.model, check.rows)
        for output, own in check.expected.items():
            given = found[output].reshape(own.shape)
            if given.dtype == object:
                np.testing.assert_array_equal(given, own.astype(str), err_msg=check.what)
            else:
                np.testing.assert_allclose(given, own, atol=1e-4, err_msg=check.what)
    whats = {check.what for check in converted.checks}
    assert {"", "in a batch of 1", "in a batch of 2", "in a batch of 7", "in new combinations"} < whats


def test_an_encoder_reads_filled_text_without_a_copy_of_each_row() -> None:
    model = onnx.load_from_string(convert(*fitted("filled, scaled, one-hot")).model)
    texts = {value.name for value in model.graph.input if value.type.tensor_type.elem_type == onnx.TensorProto.STRING}
    assert texts == set(WORDS)
    assert {node.op_type for node in model.graph.node if texts & set(node.input)} == {"Reshape"}


@pytest.mark.parametrize("name", ["filled, scaled, one-hot", "forest", "ordered", "rare and dropped"])
def test_double_precision_answers_the_same(name: str) -> None:
    estimator, frame = fitted(name)
    converted = convert(estimator, frame)
    if not converted.way:
        assert converted.retry is not None
        converted = converted.retry()
    assert converted.way == "in double precision"
    check = converted.checks[0]
    found = answered(converted.model, frame)
    for output, own in check.expected.items():
        np.testing.assert_allclose(found[output].reshape(own.shape), own, atol=1e-6)


def test_what_a_missing_value_is_sent_as_is_in_the_signature_and_so_is_what_is_not_read() -> None:
    estimator, frame = fitted("filled, scaled, one-hot")
    converted = convert(estimator, frame)
    signature = served(converted.model)[1]
    assert {spec.name: spec.missing for spec in signature.inputs} == {
        **dict.fromkeys(NUMBERS, "NaN"),
        **dict.fromkeys(WORDS, "<NA>"),
    }
    assert signature.ignored == ("seen",)
    rows = [dict(frame.iloc[index]) for index in range(3)]
    expected, _ = own_answers(estimator, ["label", "probabilities"], frame.iloc[:3])
    for given in (rows, frame.iloc[:3], frame.iloc[:3][NUMBERS + WORDS].to_dict("list")):
        assert np.array_equal(answered(converted.model, given)["label"], expected["label"])
    for given in (rows[0], frame.iloc[0]):
        assert np.array_equal(answered(converted.model, given)["label"], expected["label"][:1])


def test_one_column_goes_through_several_steps() -> None:
    steps = columns(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (ORDERED, ["city"]),
        (TargetEncoder(), ["city"]),
        (numbers(), ["age"]),
        (KBinsDiscretizer(2, encode="onehot-dense", quantile_method="averaged_inverted_cdf"), ["age"]),
    )
    frame = FRAME[["age", "city"]]
    estimator = make_pipeline(steps, LogisticRegression()).fit(frame, TARGET)
    for sample in (None, frame):
        converted = convert(estimator, sample)
        for check in converted.checks:
            found = answered(converted.model, check.rows)
            np.testing.assert_allclose(found["probabilities"], check.expected["probabilities"], atol=1e-5)


def test_without_rows_of_the_user_columns_are_made_up_with_missing_ones() -> None:
    estimator, _ = fitted("filled, scaled, one-hot")
    converted = convert(estimator, None)
    assert "seen" not in converted.checks[0].rows
    check = check_rows(converted, "with missing values")
    assert check.rows["city"].isna().any() and check.rows["fare"].isna().any()
    assert np.array_equal(answered(converted.model, check.rows)["label"], check.expected["label"])


def test_a_missing_value_or_category_that_the_original_refuses_is_refused_with_its_column() -> None:
    frame = FRAME[["age", "city"]].dropna()
    columns_ = columns(("passthrough", ["age"]), (OneHotEncoder(), ["city"]))
    estimator = make_pipeline(columns_, LogisticRegression()).fit(frame, frame["age"] > 40)
    model = convert(estimator, frame).model
    for column in ("age", "city"):
        rows = frame.iloc[:3].astype({"age": float})
        rows.loc[rows.index[1], column] = np.nan
        with pytest.raises(InvalidInput, match=f"row 1 of '{column}' is missing, and the model was trained without"):
            answered(model, rows)
    with pytest.raises(Exception, match="category of 'city'"):
        answered(model, frame.iloc[:3].assign(city="Bern"))


def test_the_same_pipeline_gives_the_same_bytes_each_time() -> None:
    estimator, frame = fitted("searched")
    assert convert(estimator, frame).model == convert(estimator, frame).model


def test_numbers_that_float32_cannot_tell_apart_are_categories_in_double() -> None:
    frame = pd.DataFrame({"id": [2**24, 2**24 + 1, 2**24 + 2] * 4})
    encoder = OneHotEncoder().fit(frame)
    converted = convert(encoder, frame)
    assert converted.way == "in double precision"
    np.testing.assert_array_equal(answered(converted.model, frame)["variable"], encoder.transform(frame).toarray())


@pytest.mark.parametrize(
    ("column", "step", "says"),
    [
        (["a", 1, "b", 2], "passthrough", "column 'c' holds text and numbers, .*astype\\(str\\)"),
        (pd.date_range("2026", periods=4), "passthrough", "column 'c' holds datetime values, which no tensor can"),
        (pd.Series(["a", None, np.nan, "b"], dtype=object), OneHotEncoder(), "trained with both None and NaN"),
        (["a", "b", "<NA>", "b"], OneHotEncoder(), "has a category '<NA>', which stands for a missing value"),
        (
            pd.Series(["a", None, "a", "b"], dtype=object),
            make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()),
            "although a SimpleImputer comes before",
        ),
    ],
    ids=["mixed", "dates", "None and NaN", "the stand-in", "None unfilled"],
)
def test_a_column_that_cannot_be_served_right_is_refused_by_name_with_the_cure(
    column: Any, step: Any, says: str
) -> None:
    frame = pd.DataFrame({"c": column})
    estimator = columns((step, ["c"])).fit(frame)
    with pytest.raises(Unsupported, match=says):
        convert(estimator, frame)


def test_text_beside_numbers_in_a_vectoriser_takes_its_own_column() -> None:
    frame = FRAME.assign(note=FRAME["city"].fillna("nobody was there").astype(str))
    estimator = make_pipeline(columns((TfidfVectorizer(), "note"), ("passthrough", ["age"])), LogisticRegression())
    estimator.fit(frame, TARGET)
    converted = convert(estimator, frame)
    assert np.array_equal(answered(converted.model, frame)["label"], estimator.predict(frame))


@pytest.mark.parametrize(
    "step",
    [
        OneHotEncoder(handle_unknown="ignore"),
        make_pipeline(SimpleImputer(missing_values=None, strategy="most_frequent"), OneHotEncoder()),
    ],
    ids=["a category", "filled"],
)
@pytest.mark.parametrize("given", [True, False], ids=["sample", "made up"])
def test_none_in_a_column_of_objects_is_as_the_original_has_it(step: Any, given: bool) -> None:
    cities = FRAME["city"].astype(object)
    frame = pd.DataFrame({"city": cities.where(cities.notna(), None)})
    estimator = make_pipeline(columns((step, ["city"])), LogisticRegression()).fit(frame, TARGET)
    converted = convert(estimator, frame if given else None)
    check = check_rows(converted, "with missing values")
    assert any(value is None for value in check.rows["city"])
    for rows, own in ((check.rows, check.expected["label"]), (frame, estimator.predict(frame))):
        assert np.array_equal(answered(converted.model, rows)["label"], own)


def test_a_function_and_stacked_estimators_behind_columns_are_served() -> None:
    logged = make_pipeline(SimpleImputer(), FunctionTransformer(np.log1p))
    stacked = StackingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=3))], cv=2)
    estimator = make_pipeline(columns((logged, ["fare"]), (words(), ["city"])), stacked).fit(FRAME, TARGET)
    converted = convert(estimator, FRAME)
    assert np.array_equal(answered(converted.model, FRAME)["label"], estimator.predict(FRAME))

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tests.helpers.exported import answers_of_export
from tests.helpers.onnx_client import OnnxClient
from workbench.convert.load import load

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(400, 3)).astype(np.float32)
ROWS[:, 0] = RANDOM.integers(0, 12, 400)
SIGNAL = np.isin(ROWS[:, 0], [1, 4, 7, 9]) * 2.0 + ROWS[:, 1]


def asked() -> Any:
    """With categories that nobody has seen, and missing values."""
    rows = ROWS.copy()
    rows[::11, 0], rows[::13, 0], rows[::7, 1] = 40, np.nan, np.nan
    return rows


@pytest.mark.parametrize("holes", [False, True], ids=["whole", "with holes"])
def test_boosting_on_categories_asks_for_each_of_them(holes: bool) -> None:
    rows = ROWS.copy()
    if holes:
        rows[::5, 0] = np.nan
    model = HistGradientBoostingRegressor(categorical_features=[0], max_iter=4).fit(rows, SIGNAL)
    np.testing.assert_allclose(answers_of_export(model, asked())[0].reshape(-1), model.predict(asked()), atol=1e-5)
    for classes in (SIGNAL > 1, np.digitize(SIGNAL, [0, 1])):
        classifier = HistGradientBoostingClassifier(categorical_features=[0], max_iter=4).fit(rows, classes)
        label, probabilities = answers_of_export(classifier, asked())
        assert np.array_equal(label, classifier.predict(asked()))
        np.testing.assert_allclose(probabilities, classifier.predict_proba(asked()), atol=1e-5)


@pytest.mark.parametrize("loss", ["poisson", "gamma", "absolute_error"])
def test_each_loss_of_boosting_has_its_link(loss: Any) -> None:
    model = HistGradientBoostingRegressor(loss=loss, max_iter=3).fit(ROWS, np.exp(SIGNAL))
    np.testing.assert_allclose(answers_of_export(model, ROWS)[0].reshape(-1), model.predict(ROWS), rtol=1e-5)


def test_boosting_takes_a_frame_with_categories_of_text() -> None:
    colours = np.array(["red", "green", "blue", "grün"])[RANDOM.integers(0, 4, 400)]
    frame = pd.DataFrame({"size": ROWS[:, 1], "colour": pd.Categorical(colours), "weight": ROWS[:, 2]})
    target = (colours == "red") * 2.0 + frame["size"]
    model = HistGradientBoostingRegressor(categorical_features="from_dtype", max_iter=4).fit(frame, target)
    found = answers_of_export(model, frame.astype({"colour": object}))[0].reshape(-1)
    np.testing.assert_allclose(found, model.predict(frame), atol=1e-5)


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(max_depth=3),
        RandomForestClassifier(5, max_depth=3),
        make_pipeline(StandardScaler(), RandomForestClassifier(5, max_depth=3, random_state=0)),
    ],
    ids=["tree", "forest", "pipeline"],
)
def test_each_output_has_the_probabilities_of_its_own_classes(estimator: Any) -> None:
    alike = np.column_stack([SIGNAL > 1, ROWS[:, 2] > 0]).astype(int)
    estimator.fit(ROWS.astype(float), alike)
    label, probabilities = answers_of_export(estimator, ROWS)
    assert np.array_equal(label, estimator.predict(ROWS))
    np.testing.assert_allclose(probabilities, estimator.predict_proba(ROWS), atol=1e-5)

    different = np.column_stack([alike[:, 0], np.digitize(SIGNAL, [0, 1])])
    estimator.fit(ROWS.astype(float), different)
    label, *probabilities = answers_of_export(estimator, ROWS)
    assert np.array_equal(label, estimator.predict(ROWS))
    for own, found in zip(estimator.predict_proba(ROWS), probabilities, strict=True):
        np.testing.assert_allclose(found, own, atol=1e-5)


async def test_a_split_on_what_powers_made_of_a_training_row_keeps_that_row() -> None:
    """Of 426 rows and 255 bins each third split is a row's own value; near 0 that is a difference of larger ones."""
    rows, target = load_breast_cancer(return_X_y=True)
    rows, _, target, _ = train_test_split(rows, target, random_state=1)
    model = make_pipeline(PowerTransformer(), HistGradientBoostingRegressor(max_iter=30, random_state=0))
    await load(OnnxClient(), "m", model.fit(rows, target), {}, sample=rows, tolerance=1e-6)

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from tests.helpers.exported import answers_of_export

ROWS, NUMBERS = load_iris(return_X_y=True)
ROWS = (ROWS + np.random.default_rng(0).normal(0, 0.5, ROWS.shape)).astype(np.float32)
TARGETS = {
    "two classes": np.where(NUMBERS > 1, "last", "other"),
    "three classes": np.array(["a", "b", "c"])[NUMBERS],
    "several labels": np.column_stack([NUMBERS == 0, NUMBERS > 0, np.ones(150), ROWS[:, 0] > 5]).astype(int),
}


@pytest.mark.filterwarnings("ignore:Label 2 is present in all")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "inside",
    [
        LinearSVC(),
        RidgeClassifier(),
        LogisticRegression(),
        LinearRegression(),
        HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5),
        make_pipeline(StandardScaler(), LinearSVC()),
    ],
    ids=lambda each: type(each).__name__,
)
def test_one_against_the_rest_answers_what_each_of_them_says(inside: Any, target: str) -> None:
    """skl2onnx gives the scores of an SVM as if they were shares, and takes other labels for the largest."""
    model = OneVsRestClassifier(inside).fit(ROWS, TARGETS[target])
    label, *scores = answers_of_export(model, ROWS)
    assert np.array_equal(label, model.predict(ROWS))
    method = getattr(model, "predict_proba", None) or getattr(model, "decision_function", None)
    if scores:
        assert method is not None
        expected = method(ROWS)
        np.testing.assert_allclose(scores[0].reshape(expected.shape), expected, atol=1e-5)
    else:
        assert method is None

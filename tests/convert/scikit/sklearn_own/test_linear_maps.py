from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_wine
from sklearn.linear_model import SGDClassifier

from tests.helpers.exported import answers_of_export

ROWS, CLASSES = load_wine(return_X_y=True)
ROWS = ROWS.astype(np.float32)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("loss", ["hinge", "log_loss", "modified_huber"])
def test_labels_follow_the_scores_where_the_probabilities_are_equal(loss: str, classes: int) -> None:
    few = classes > CLASSES
    model = SGDClassifier(loss=loss, random_state=0).fit(ROWS[few].astype(float), CLASSES[few])
    label, second = answers_of_export(model, ROWS)
    np.testing.assert_array_equal(label, model.predict(ROWS.astype(float)))
    own = model.decision_function if loss == "hinge" else model.predict_proba
    np.testing.assert_allclose(second.reshape(len(ROWS), -1).squeeze(), own(ROWS.astype(float)), rtol=1e-5, atol=1e-6)


def test_one_that_is_calibrated_answers_as_before() -> None:
    model = CalibratedClassifierCV(SGDClassifier(loss="modified_huber", random_state=0), cv=2).fit(ROWS, CLASSES)
    np.testing.assert_allclose(answers_of_export(model, ROWS)[1], model.predict_proba(ROWS), atol=1e-5)

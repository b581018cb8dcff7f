"""Functions around a served model: each stage is compared with what it answers here, and the three answer as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from workbench.api import Workbench
from workbench.errors import InvalidInput, ModelNotFound

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


def own_functions() -> tuple[Any, Any]:
    """Functions that their processes do not import with this module."""
    names = NAMES

    def scaled(rows: Any) -> Any:
        return rows / 10

    def named(label: Any, probabilities: Any) -> Any:
        return {"species": names[label], "sure": probabilities.max(axis=1)}

    return scaled, named


def test_functions_before_and_after_a_model_serve_as_one(wb: Workbench) -> None:
    scaled, named = own_functions()
    model = LogisticRegression(max_iter=1000).fit(X / 10, Y)
    wb.load("iris", model)
    report = wb.function("named", preprocess=scaled, postprocess=named, model="iris", sample=X[:20], batch=True)
    assert "scaled served from its source" in report.exported
    assert "joined named.preprocess >> iris >> named.postprocess" in report.exported
    assert "labels equal" in report.compared
    served = wb.predict("named", X)
    assert served["species"].tolist() == NAMES[model.predict(X / 10)].tolist()
    assert np.allclose(served["sure"], model.predict_proba(X / 10).max(axis=1), atol=1e-5)

    wb.function("only_after", postprocess=named, model="iris", sample=(X / 10)[:20].astype(np.float32), batch=True)
    assert wb.predict("only_after", X / 10)["species"].tolist() == served["species"].tolist()
    wb.function("only_before", preprocess=scaled, model="iris", sample=X[:20], batch=True)
    assert wb.predict("only_before", X)["label"].tolist() == model.predict(X / 10).tolist()


def test_what_does_not_fit_is_told_before_anything_is_routed(wb: Workbench) -> None:
    scaled, _ = own_functions()

    def other(species: Any, label: Any) -> Any:
        return label

    wb.load("iris", LogisticRegression(max_iter=1000).fit(X, Y))
    with pytest.raises(
        InvalidInput,
        match=r"postprocess takes 'species', 'label'; model 'iris' gives 'label', 'prob.* nothing for 'species'",
    ):
        wb.function("m", postprocess=other, model="iris", sample=X[:5])
    with pytest.raises(ModelNotFound):
        wb.function("m", preprocess=scaled, model="tulip", sample=X[:5])
    with pytest.raises(InvalidInput, match="are declared by a sample"):
        wb.function("m", preprocess=scaled, model="iris")
    with pytest.raises(InvalidInput, match="function takes predict alone, or preprocess"):
        wb.function("m", preprocess=scaled)
    assert "m" not in wb


def test_a_model_that_does_not_take_what_preprocess_answers_leaves_all_as_it_was(wb: Workbench) -> None:
    scaled, named = own_functions()

    def narrow(rows: Any) -> Any:
        return rows[:, :3]

    def wrong(label: Any) -> Any:
        raise KeyError("no such name")

    wb.load("iris", LogisticRegression(max_iter=1000).fit(X, Y))
    for functions in ({"preprocess": narrow}, {"preprocess": narrow, "postprocess": named}):
        with pytest.raises(
            InvalidInput, match=r"'iris' does not take what preprocess answers to the sample: .*\[5, 3\]"
        ):
            wb.function("m", **functions, model="iris", sample=X[:5])
        with pytest.raises(InvalidInput, match=r"does not take the sample: "):
            wb.function("m", postprocess=named, model="iris", sample=X[:5, :3])
        assert [each.name for each in wb.models()] == ["iris"]

    wb.function("m", preprocess=scaled, model="iris", sample=X[:5])
    before = wb.predict("m", X[:5])["probabilities"]
    with pytest.raises(InvalidInput, match="wrong itself fails on the sample: KeyError"):
        wb.function("m", preprocess=lambda rows: rows / 20, postprocess=wrong, model="iris", sample=X[:5])
    assert np.array_equal(wb.predict("m", X[:5])["probabilities"], before)
    assert {each.name: each.version for each in wb.models()} == {"iris": "1", "m": "1", "m.preprocess": "1"}

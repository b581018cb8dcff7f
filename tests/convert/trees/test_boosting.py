"""Boosted models answer as the libraries themselves, on the rows at their own splits and on fresh ones."""

from __future__ import annotations

from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

from tests.helpers.boosted_models import (
    BOOSTED,
    FRAME,
    NUMBERS,
    REAL,
    TWO,
    catboost_with_categories,
    lightgbm_with_linear_leaves,
)
from tests.helpers.onnx_client import OnnxClient
from workbench.client.client import AsyncClient
from workbench.client.predict import Predictor
from workbench.client.shared_service import Address
from workbench.convert.agreement import compare
from workbench.convert.load import load
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, Unsupported

CLOSE = 2e-6
"""What summing a few trees in float32 may cost, as a share of the largest answer; 1e-7 and 9e-7 were seen."""


def own(model: Any, rows: Any) -> dict[str, Array]:
    if isinstance(model, xgboost.Booster):
        names = None if hasattr(rows, "columns") else model.feature_names
        return {"variable": model.predict(xgboost.DMatrix(rows, feature_names=names))}
    if hasattr(model, "predict_proba"):
        return {"label": np.asarray(model.predict(rows)), "probabilities": np.asarray(model.predict_proba(rows))}
    return {"variable": np.asarray(model.predict(rows))}


@pytest.mark.parametrize("kind", BOOSTED)
async def test_a_boosted_model_is_served_as_it_answers(kind: str) -> None:
    model, fresh = BOOSTED[kind]()
    client = OnnxClient()
    report = await load(client, "m", model, {}, tolerance=CLOSE)
    assert len(report.details) == 3  # at its splits, with missing values, one row alone
    answer = await Predictor(client).predict("m", fresh)
    expected = own(model, fresh)
    comparison = compare(expected, answer, frozenset({"label"}), CLOSE)
    assert comparison.agrees, comparison.summary
    assert len(np.unique(next(iter(expected.values())))) > 1 or kind == "LGBMRegressor of a constant"


async def test_rows_on_a_threshold_and_beside_it_are_decided_as_lightgbm_decides_them() -> None:
    rows = np.arange(2000.0).reshape(-1, 1) + 1_700_000_000
    model = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1, n_jobs=1, min_child_samples=1)
    model.fit(rows, np.sin(np.arange(2000.0) * 1.7) * 100)
    client = OnnxClient()
    await load(client, "m", model, {})
    answer = (await Predictor(client).predict("m", rows))["variable"].reshape(-1)
    np.testing.assert_allclose(answer, model.predict(rows), rtol=1e-6)
    assert len(np.unique(answer)) > 10
    rounded = model.predict(rows.astype(np.float32).astype(float))
    assert not np.allclose(answer, rounded, atol=0.1)  # float32 could not tell the rows from each other


async def test_categories_are_mapped_by_the_order_of_training() -> None:
    model, fresh = BOOSTED["LGBMClassifier on pandas categories"]()
    client = OnnxClient()
    await load(client, "m", model, {})
    shuffled = fresh.assign(
        colour=fresh.colour.astype(str).astype("category").cat.reorder_categories(["rot", "blau", "gelb"])
    )
    answer = await Predictor(client).predict("m", shuffled.assign(colour=shuffled.colour.astype(str)))
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(fresh), atol=1e-6)
    unseen = fresh.assign(colour="lila", size=77)
    own = fresh.assign(colour=fresh.colour.cat.set_categories([]), size=fresh["size"].cat.set_categories([]))
    answer = await Predictor(client).predict("m", unseen)
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(own), atol=1e-6)
    with pytest.raises(InvalidInput, match="missing: 'age'"):
        await Predictor(client).predict("m", fresh.drop(columns="age"))


async def test_a_sample_is_compared_as_it_is_and_with_holes() -> None:
    model, fresh = BOOSTED["XGBClassifier on a DataFrame"]()
    report = await load(OnnxClient(), "m", model, {}, sample=fresh)
    assert report.compared.endswith("on 121 rows")
    assert "on 60 rows of yours: label equal" in report.details[0]
    assert "on 60 rows of yours with missing values: label equal" in report.details[1]


async def test_what_has_no_onnx_form_is_refused_in_words() -> None:
    model, _ = lightgbm_with_linear_leaves()
    with pytest.raises(Unsupported, match=r"linear_tree=True has a linear model in each leaf.*train it without"):
        await load(OnnxClient(), "m", model, {})
    model, _ = catboost_with_categories()
    with pytest.raises(Unsupported, match=r"categorical features \('colour', 'size'\).*OrdinalEncoder"):
        await load(OnnxClient(), "m", model, {})
    model = lightgbm.LGBMClassifier(objective=lambda t, p: (p - t, np.ones_like(p)), n_estimators=3, verbose=-1)
    with pytest.raises(Unsupported, match="an objective of its own, so it has no classes"):
        await load(OnnxClient(), "m", model.fit(NUMBERS, TWO), {})
    for unfitted in (catboost.CatBoostRegressor(), lightgbm.LGBMRegressor(), xgboost.XGBClassifier()):
        with pytest.raises(InvalidInput, match="is not fitted yet; call fit"):
            await load(OnnxClient(), "m", unfitted, {})


async def test_data_of_a_library_are_no_model() -> None:
    for data in (xgboost.DMatrix(NUMBERS), lightgbm.Dataset(NUMBERS), catboost.Pool(NUMBERS)):
        with pytest.raises(InvalidInput, match="holds data, not a model; load what was trained on it"):
            await load(OnnxClient(), "m", data, {})


async def test_ordered_categories_need_rows_to_tell_the_columns_apart() -> None:
    frame = FRAME.assign(size=FRAME["size"].cat.as_ordered())
    model = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1).fit(frame, REAL)
    with pytest.raises(InvalidInput, match=r"2 pandas category columns, and 1 could be told.*sample=df\[:100\]"):
        await load(OnnxClient(), "m", model, {})
    client = OnnxClient()
    await load(client, "m", model, {}, sample=frame[:100])
    answer = (await Predictor(client).predict("m", frame))["variable"].reshape(-1)
    np.testing.assert_allclose(answer, model.predict(frame), rtol=1e-5)


async def test_categories_that_xgboost_does_not_give_back_are_those_of_the_sample() -> None:
    frame = FRAME.assign(colour=FRAME.colour.cat.rename_categories({"gelb": "grün"}))
    model = xgboost.XGBRegressor(n_estimators=5, n_jobs=1, enable_categorical=True).fit(frame, REAL)
    with pytest.raises(
        InvalidInput, match=r"categories of 'colour', since they are not plain ASCII.*sample=df\[:100\]"
    ):
        await load(OnnxClient(), "m", model, {})
    client = OnnxClient()
    await load(client, "m", model, {}, sample=frame[:100])
    answer = (await Predictor(client).predict("m", frame))["variable"].reshape(-1)
    np.testing.assert_allclose(answer, model.predict(frame), rtol=1e-5)


async def test_columns_are_called_as_those_of_the_sample_and_not_as_lightgbm_writes_them() -> None:
    frame = FRAME.rename(columns={"width": "width in cm"})
    model = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1).fit(frame, REAL)
    client = OnnxClient()
    await load(client, "m", model, {}, sample=frame[:100])
    answer = (await Predictor(client).predict("m", frame))["variable"].reshape(-1)
    np.testing.assert_allclose(answer, model.predict(frame), rtol=1e-5)


@pytest.mark.parametrize("made", [catboost.CatBoostRegressor, lightgbm.LGBMRegressor, xgboost.XGBRegressor])
async def test_columns_of_a_frame_go_by_their_names(made: Any) -> None:
    frame = pd.DataFrame(NUMBERS[:, :3], columns=["petal width", "age", "height"])
    quiet = {"verbosity": -1} if made is lightgbm.LGBMRegressor else {}
    quiet = {"verbose": 0, "allow_writing_files": False} if made is catboost.CatBoostRegressor else quiet
    model = made(n_estimators=5, **quiet).fit(frame, frame.age * 3 + frame.height)
    own = model.predict(frame)
    backwards = frame[["height", "age", "petal width"]]
    for sample in (None, backwards):
        client = OnnxClient()
        await load(client, "m", model, {}, sample=sample)
        predictor = Predictor(client)
        for rows in (frame, backwards, backwards.to_dict("records"), frame.to_numpy()):
            answer = (await predictor.predict("m", rows))["variable"].reshape(-1)
            np.testing.assert_allclose(answer, own, rtol=1e-5, atol=1e-6)
        one = (await predictor.predict("m", backwards.iloc[3]))["variable"].reshape(-1)
        np.testing.assert_allclose(one, own[3:4], rtol=1e-5, atol=1e-6)
        with pytest.raises(InvalidInput, match="missing: 'age'"):
            await predictor.predict("m", frame.drop(columns="age"))
        with pytest.raises(InvalidInput, match=r"missing: 'age'; unknown: 'ages'; did you mean 'age' for 'ages'\?"):
            await predictor.predict("m", frame.rename(columns={"age": "ages"}))
    with pytest.raises(InvalidInput, match=r"sample has other columns than \w+ was trained on; unknown: 'extra'"):
        await load(OnnxClient(), "m", model, {}, sample=frame.assign(extra=1))


async def test_rows_of_a_model_trained_without_names_go_by_position() -> None:
    frame = pd.DataFrame(NUMBERS[:, :3], columns=["a", "b", "c"])
    for model in (
        catboost.CatBoostRegressor(n_estimators=5, verbose=0, allow_writing_files=False),
        lightgbm.LGBMRegressor(n_estimators=5, verbosity=-1),
        xgboost.XGBRegressor(n_estimators=5),
    ):
        model.fit(frame.to_numpy(), REAL)
        client = OnnxClient()
        await load(client, "m", model, {})
        answer = (await Predictor(client).predict("m", frame))["variable"].reshape(-1)
        np.testing.assert_allclose(answer, model.predict(frame.to_numpy()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("made", [lightgbm.LGBMClassifier, xgboost.XGBClassifier])
async def test_missing_categories_go_where_the_library_sends_them(made: Any) -> None:
    frame = FRAME.copy()
    frame.loc[::5, "colour"] = np.nan
    frame.loc[::7, "size"] = np.nan
    options = (
        {"enable_categorical": True} if made is xgboost.XGBClassifier else {"verbose": -1, "min_data_per_group": 1}
    )
    model = made(n_estimators=20, n_jobs=1, **options).fit(
        frame, (frame.colour.isna() | (frame.colour == "rot")).astype(int)
    )
    own = model.predict_proba(frame)
    assert own[:, 1].max() - own[:, 1].min() > 0.5
    for sample in (None, frame):
        client = OnnxClient()
        report = await load(client, "m", model, {}, sample=sample)
        assert any("with missing values" in each for each in report.details)
        for rows in (frame, frame.assign(colour=frame.colour.astype(object)), frame.to_dict("records")):
            answer = await Predictor(client).predict("m", rows)
            np.testing.assert_allclose(answer["probabilities"], own, atol=1e-6)


async def test_the_service_serves_them(service: Address) -> None:
    async with AsyncClient(service.url, service.token) as client:
        for kind in ("LGBMClassifier, text labels", "XGBClassifier on pandas categories"):
            model, fresh = BOOSTED[kind]()
            report = await load(client, "boosted", model, {}, force=True)
            assert report.status.routed
            answer = await Predictor(client).predict("boosted", fresh)
            np.testing.assert_array_equal(answer["label"].astype(str), model.predict(fresh).astype(str))
        await client.unload("boosted")

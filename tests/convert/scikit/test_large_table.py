"""100,000 rows of a pipeline with text and missing values, through a real service."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from workbench.client.client import AsyncClient
from workbench.client.predict import Predictor
from workbench.client.shared_service import Address
from workbench.convert.load import load

ROWS = 100_000
TIMES = 10
"""How many times as long as the estimator itself it may take; on two busy cores it was 1.6 times."""


@pytest.mark.serial
async def test_a_large_table_with_missing_texts_is_answered_as_by_the_original(service: Address) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, ROWS),
            "fare": np.where(rng.random(ROWS) < 0.1, np.nan, rng.lognormal(3, 1, ROWS)),
            "city": rng.choice(np.array(["Köln", "Paris", "Rom", None], object), ROWS),
            "plan": rng.choice(np.array(["a", "b", np.nan], object), ROWS),
        }
    )
    columns = ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["age", "fare"]),
            (
                "w",
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                ["city", "plan"],
            ),
        ]
    )
    trained = frame[:500]
    estimator = make_pipeline(columns, RandomForestClassifier(50, max_depth=8, random_state=0))
    estimator.fit(trained, (trained["age"] > 45) ^ (trained["city"] == "Rom"))
    began = time.perf_counter()
    own = estimator.predict_proba(frame)
    alone = time.perf_counter() - began
    async with AsyncClient(service.url, service.token) as client:
        report = await load(client, "table", estimator, {}, sample=trained)
        assert report.status.max_batch_size == 4096
        predictor = Predictor(client)
        await predictor.predict("table", frame[:10])
        began = time.perf_counter()
        answer = await predictor.predict("table", frame)
        served = time.perf_counter() - began
        await client.unload("table")
    np.testing.assert_allclose(answer["probabilities"], own, atol=1e-5)
    decided = np.abs(own[:, 1] - own[:, 0]) > 1e-5  # else the last bit of a sum decides
    assert decided.mean() > 0.9
    assert np.array_equal(answer["label"][decided], (own[:, 1] > own[:, 0])[decided])
    assert served < TIMES * alone, f"{served:.2f} s served, {alone:.2f} s by the estimator alone"

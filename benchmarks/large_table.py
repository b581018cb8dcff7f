"""A DataFrame of 100,000 rows with text and missing values: `python -m benchmarks.large_table`.

The estimator alone (`predict_proba(frame)`) and the served model (`wb.predict(name, frame)`) answer in turn, in one
process; the service is another one. Medians of the rounds; the ratio is what may be quoted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import workbench

ROWS = 100_000
TRAINED = 2_000

NUMBERS = ["age", "visits", "fare", "rate", "days", "load"]
TEXTS = ["plan", "city", "street"]


def table(rows: int, distinct: tuple[int, int, int], seed: int) -> pd.DataFrame:
    """Two columns of ints, four of floats and three of text with so many `distinct` texts; a tenth is missing."""
    rng = np.random.default_rng(seed)
    numbers: dict[str, Any] = {"age": rng.integers(18, 80, rows), "visits": rng.integers(0, 9, rows)}
    for name in NUMBERS[2:]:
        numbers[name] = np.where(rng.random(rows) < 0.1, np.nan, rng.lognormal(1, 1, rows))
    for name, count in zip(TEXTS, distinct, strict=True):
        words = np.array([f"{name} number {place}" for place in range(count)] + [None], object)
        places = np.where(rng.random(rows) < 0.1, count, rng.integers(0, count, rows))
        numbers[name] = words[places]
    return pd.DataFrame(numbers)


def pipelines(many: bool) -> dict[str, Any]:
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encoder = codes if many else OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), encoder)
    columns = ColumnTransformer([("n", numbers, NUMBERS), ("t", texts, TEXTS)])
    found: dict[str, Any] = {
        "LogisticRegression": LogisticRegression(max_iter=300),
        "RandomForest(100)": RandomForestClassifier(100, max_depth=10, random_state=0),
        "HistGradientBoosting": HistGradientBoostingClassifier(random_state=0),
    }
    return {name: make_pipeline(columns, model) for name, model in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_table", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    wb = workbench.connect()
    for title, distinct, many in (
        ("10, 20 and 100 texts", (10, 20, 100), False),
        ("50,000 texts", (10, 100, 50_000), True),
    ):
        frame = table(ROWS, distinct, 1)
        trained = table(TRAINED, distinct, 2)
        for name, estimator in pipelines(many).items():
            estimator.fit(trained, (trained["age"] > 45) ^ (trained["fare"] > 3))
            wb.load("large_table", estimator, sample=trained[:500], force=True)
            compare(f"{name}, {title}", estimator, wb, frame, rounds)
            wb.unload("large_table")


def compare(title: str, estimator: Any, wb: Any, frame: pd.DataFrame, rounds: int) -> None:
    own, answer = estimator.predict_proba(frame), wb.predict("large_table", frame)
    off = float(np.abs(own - answer["probabilities"]).max())
    alone, served = in_turns(rounds, lambda: estimator.predict_proba(frame), lambda: wb.predict("large_table", frame))
    print(
        f"{title}: alone {alone * 1e3:.0f} ms, served {served * 1e3:.0f} ms, ratio {served / alone:.2f}, "
        f"at most {off:.1e} off",
        flush=True,
    )


def in_turns(rounds: int, *asked: Callable[[], object]) -> list[float]:
    """The median seconds of each."""
    times: list[list[float]] = [[] for _ in asked]
    for _ in range(rounds):
        for which, each in enumerate(asked):
            began = time.perf_counter()
            each()
            times[which].append(time.perf_counter() - began)
    return [statistics.median(each) for each in times]


if __name__ == "__main__":
    main()

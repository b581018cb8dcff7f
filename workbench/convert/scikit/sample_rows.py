"""Rows on which an estimator and its export are compared when the user gave none.

Best are rows like those it was trained on, so its own memory is asked first: stored rows, centres, and what it knows
of each column (`trained_columns`). Rows on both sides of its decisions are added, and rows with missing values where
it was trained with some. Where it remembers nothing, rows of several magnitudes are made up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.convert.scikit.frame_columns import unread_columns
from workbench.convert.scikit.trained_columns import Column, trained_columns
from workbench.core.tensor import Array
from workbench.errors import ModelError, Unsupported

ROWS = 256
PAIRS = 48
"""Pairs of rows with different answers between which a decision is looked for."""
NEAR_ZERO = 16
"""Rows near the place where a linear model's sum is 0, for each of as many sums."""
FAR = 1000.0
"""How far from 0 that place is where its training data cannot have been around 0."""
HALVINGS = 3
"""How often the way between the two is halved: nearer to a decision, rounding to float32 may take either side."""
WITH_HOLES = 64
HOLES = 0.2
"""The share of values that are missing in these rows."""

_OF_COUNTS = ("MultinomialNB", "ComplementNB", "AdditiveChi2Sampler", "SkewedChi2Sampler")
"""Classes that refuse negative values."""

_STORED = ("_fit_X", "support_vectors_", "X_train_", "X_fit_")
"""Attributes that hold rows of the training data."""


@dataclass(frozen=True, slots=True)
class MadeUp:
    rows: Any
    """As `predict` or `transform` takes them: an array, or a DataFrame of the columns' names."""
    like: str
    """How near they come to the training data, as words after "made-up rows"; empty: as near as can be."""


def made_up_rows(estimator: Any, kind: str) -> MadeUp:
    """The same rows each time, of numbers that float32 holds exactly, so that the comparison is not of rounding them.

    `kind` is what errors call the estimator. Raises ModelError where nothing like its training data can be made up.
    """
    rng = np.random.default_rng(0)
    columns = _columns(estimator)
    if not columns:
        return MadeUp(_single_column(estimator, kind, rng), "")
    first = _first_step(estimator)
    if hasattr(first, "build_analyzer"):
        return MadeUp(np.array(columns[0].choices, dtype=object), "")
    names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    if any(column.text for column in columns) or (names and hasattr(first, "transformers_")):
        mixed = _mixed(columns, names, unread_columns(estimator, names), kind, rng)
        if not _takes(estimator, mixed):  # of two steps that read a column, one may take no missing values
            columns = [dataclasses.replace(column, hole=None, none=False) for column in columns]
            mixed = _mixed(columns, names, unread_columns(estimator, names), kind, rng)
        return MadeUp(mixed, "")
    stored = next((rows for step in _first_steps(estimator) if (rows := _remembered(step, rng)) is not None), None)
    like = ""
    if stored is not None and stored.shape[1:] == (len(columns),):
        rows = stored
    elif any(column.known for column in columns):
        rows = np.column_stack([_numbers(column, ROWS, rng) for column in columns])
    else:
        rows = np.concatenate([*_near_zero(estimator, len(columns), rng), _several_magnitudes(len(columns), rng)])
        if np.abs(rows).max() > FAR:  # then those around 0 are not like its training data
            rows = rows[:-ROWS]
        like = "of several magnitudes, since it remembers none of its training data"
    if _counts(estimator):
        rows = np.floor(np.abs(rows))
    rows = _exact(rows)
    rows = np.concatenate([rows, _near_decisions(estimator, columns, rows, rng)])
    return MadeUp(_with_holes(estimator, columns, rows, rng), like)


def _columns(estimator: Any) -> list[Column]:
    try:
        return trained_columns(estimator, texts_like_the_training_data)
    except Unsupported:
        raise
    except Exception:  # attributes of somebody else's class, which only are called as scikit-learn's are
        return [Column()] * int(getattr(estimator, "n_features_in_", 0))


def _capitals(word: str) -> str:
    """With a Turkish word comes the capital of its i: ONNX makes neither that one small as Python does, nor the last
    sigma of a Greek word."""
    return ("İ" if set(word) & set("ığş") else "") + word.upper()


def texts_like_the_training_data(vectoriser: Any) -> list[str]:
    """ROWS texts of words that the vectoriser knows, in capitals too, and of some that it does not."""
    rng = np.random.default_rng(0)
    words = sorted(getattr(vectoriser, "vocabulary_", {})) or ["one", "two", "three", "four"]
    capitals = sorted(map(_capitals, words), key=lambda each: not each.endswith("Σ") and "İ" not in each)
    others = ("Zwölf", "naïve", "unheard-of", "2nd")[: max(len(words) // 4, 1)]
    words = [*words, *capitals[: len(words) // 3 + 1], *others]
    return [" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(ROWS)]


# Whole tables


def _single_column(estimator: Any, kind: str, rng: np.random.Generator) -> Array:
    """Of text, or of labels: what takes no table."""
    first = _first_step(estimator)
    if hasattr(first, "build_analyzer"):
        return np.array(texts_like_the_training_data(first), dtype=object)
    if (points := getattr(first, "X_thresholds_", None)) is not None:  # of IsotonicRegression
        return _exact(_numbers(Column(np.asarray(points, float)), ROWS, rng))[:, np.newaxis]
    classes = getattr(first, "classes_", None)
    if isinstance(classes, np.ndarray) and classes.ndim == 1 and len(classes) and not hasattr(first, "predict"):
        return np.asarray(classes[rng.integers(0, len(classes), ROWS)])
    raise nothing_like_it(kind, "it does not say how many columns it takes")


def nothing_like_it(kind: str, why: str) -> ModelError:
    return ModelError(
        f"no rows like the training data of {kind} could be made up to compare its export on: {why}; give some, as "
        "sample=X[:100] (--sample X[:100])"
    )


def _mixed(
    columns: Sequence[Column], names: list[str], unread: frozenset[str], kind: str, rng: np.random.Generator
) -> Any:
    """A DataFrame of columns of their own kinds, without those in `unread`; without names, an array of objects."""
    values: list[Array] = []
    read = [name for name in names if name not in unread]
    for place, column in enumerate(columns):
        if names and names[place] in unread:
            continue
        if column.unread:
            which = repr(names[place]) if names else place
            raise nothing_like_it(kind, f"no step reads the column {which}, so it may hold text or numbers")
        if column.text:
            chosen = rng.integers(0, len(column.choices), ROWS)
            texts = np.array([column.choices[each] for each in chosen], dtype=object)
            if column.hole is not None:
                texts[rng.random(ROWS) < HOLES / 2] = None if column.none else column.hole
            values.append(texts)
        else:
            numbers = _exact(_numbers(column, ROWS, rng))
            if column.hole is not None:
                numbers[rng.random(ROWS) < HOLES / 2] = column.hole
            values.append(numbers)
    if not names:
        if not all(column.text for column in columns):
            raise nothing_like_it(kind, "it takes text and numbers side by side, and knows no names for its columns")
        return np.column_stack(values)
    import pandas as pd

    kept = [pd.Series(each, dtype=object) if each.dtype == object else each for each in values]  # None stays None
    return pd.DataFrame(dict(zip(read, kept, strict=True)))


# Columns of numbers


def _numbers(column: Column, count: int, rng: np.random.Generator) -> Array:
    if len(column.choices):
        return np.asarray(column.choices, dtype=float)[rng.integers(0, len(column.choices), count)]
    if not len(points := np.sort(column.points)):
        return np.resize(_several_magnitudes(1, rng)[:, 0], count)
    low, high = points[0], points[-1]
    width = float(high - low) or abs(float(low)) or 1.0
    values = rng.uniform(low - 0.1 * width, high + 0.1 * width, count)
    near = rng.random(count) < 0.5
    values[near] = rng.choice(points, near.sum()) + 0.01 * width * rng.standard_normal(near.sum())
    whole = points[points == np.round(points)]
    if len(whole):  # what lies on a quantile, or on a bin's edge, is a case of its own
        on = rng.random(count) < 0.25
        values[on] = rng.choice(whole, on.sum())
    if np.array_equal(2 * points, np.round(2 * points)):  # whole numbers, or halfway between two
        rounded = rng.random(count) < 0.5
        values[rounded] = np.round(values[rounded])
    return np.asarray(values)


def _several_magnitudes(features: int, rng: np.random.Generator) -> Array:
    quarter = (ROWS // 4, features)
    made_up = [rng.standard_normal(quarter), rng.uniform(0, 1, quarter), rng.uniform(0, 20, quarter)]
    return np.concatenate([*made_up, 10 * rng.standard_normal(quarter)])


def _near_zero(estimator: Any, features: int, rng: np.random.Generator) -> Iterator[Array]:
    """Of a linear model: rows where its sum changes its sign. Far from 0, float32 has no digits left for such a sum."""
    weights, bias = getattr(estimator, "coef_", None), getattr(estimator, "intercept_", None)
    if not isinstance(weights, np.ndarray) or bias is None or weights.shape[-1] != features:
        return
    for weight, offset in list(zip(np.atleast_2d(weights), np.ravel(bias), strict=False))[:NEAR_ZERO]:
        if (length := float(np.linalg.norm(weight))) > 0:
            foot = -offset * weight / length**2
            yield foot + 3 / length * rng.standard_normal((NEAR_ZERO, features))


def _exact(rows: Array) -> Array:
    return np.asarray(rows.astype(np.float32).astype(np.float64))


# Rows as they were


def _remembered(step: Any, rng: np.random.Generator) -> Array | None:
    for name in _STORED:
        rows = getattr(step, name, getattr(getattr(step, "nbrs_", None), name, None))
        if isinstance(rows, np.ndarray) and rows.ndim == 2 and len(rows) and rows.dtype.kind in "iuf":
            return _like_stored(rows.astype(float), rng)
    if getattr(step, "covariance_type", None) is not None and hasattr(step, "sample"):  # a mixture
        rows, _ = step.sample(ROWS)
        return np.asarray(rows)
    centres = getattr(step, "cluster_centers_", None)
    if isinstance(centres, np.ndarray) and centres.ndim == 2 and len(centres):
        chosen = centres[rng.integers(0, len(centres), ROWS)]
        return np.asarray(chosen + 0.2 * rng.standard_normal(chosen.shape) * (centres.std(axis=0) + 1e-6))
    if getattr(step, "theta_", None) is not None and getattr(step, "var_", None) is not None:
        means, deviations = step.theta_, np.sqrt(step.var_)
        which = rng.integers(0, len(means), ROWS)
        return np.asarray(rng.normal(means[which], deviations[which]))
    mean, parts = getattr(step, "mean_", None), getattr(step, "components_", None)
    if mean is not None and parts is not None and (variance := getattr(step, "explained_variance_", None)) is not None:
        return np.asarray(mean + rng.standard_normal((ROWS, len(parts))) * np.sqrt(variance) @ parts)
    return None


def _like_stored(rows: Array, rng: np.random.Generator) -> Array:
    """Stored rows moved a little, and new ones that take each value from another row; whole numbers stay whole."""
    width = rows.shape[1]
    moved = rows[rng.integers(0, len(rows), ROWS // 2)]
    mixed = rows[rng.integers(0, len(rows), (ROWS - ROWS // 2, width)), np.arange(width)]
    present = rows[~np.isnan(rows)]
    if not np.array_equal(present, np.round(present)):
        with np.errstate(invalid="ignore"):
            moved = moved + 0.01 * rng.standard_normal(moved.shape) * (np.nanstd(rows, axis=0) + 1e-6)
    return np.concatenate([moved, mixed])


# Rows that decide


def _near_decisions(estimator: Any, columns: Sequence[Column], rows: Array, rng: np.random.Generator) -> Array:
    """Rows between two with different answers, nearer and nearer to where a classifier's answer changes.

    Nothing lies between two categories, so a column of them keeps those of the one row.
    """
    if not hasattr(estimator, "classes_") or not hasattr(estimator, "predict"):
        return rows[:0]
    answers = _labels(estimator, rows)
    if answers is None:
        return rows[:0]
    one, other = rng.integers(0, len(rows), (2, 8 * PAIRS))
    differ = np.flatnonzero((answers[one] != answers[other]).any(axis=1))[:PAIRS]
    a, b = rows[one[differ]], rows[other[differ]]
    side, categories = answers[one[differ]], [len(column.choices) > 0 for column in columns]
    found = []
    for _ in range(HALVINGS if len(differ) else 0):
        middle = np.where(categories, a, _exact((a + b) / 2))
        found.append(middle)
        if (labels := _labels(estimator, middle)) is None:
            return rows[:0]
        same = (labels == side).all(axis=1)[:, np.newaxis]
        a, b = np.where(same, middle, a), np.where(same, b, middle)
    return np.concatenate(found) if found else rows[:0]


def _labels(estimator: Any, rows: Array) -> Array | None:
    try:
        return np.asarray(estimator.predict(rows)).reshape(len(rows), -1)
    except Exception:  # what it refuses is found out, and said, where its own answers are asked for
        return None


def _with_holes(estimator: Any, columns: Sequence[Column], rows: Array, rng: np.random.Generator) -> Array:
    """`rows`, and some of them again with missing values in the columns that had some."""
    if all(column.hole is None for column in columns):
        return rows
    holed = rows[rng.integers(0, len(rows), WITH_HOLES)]
    for place, column in enumerate(columns):
        if column.hole is not None:
            holed[rng.random(WITH_HOLES) < HOLES, place] = column.hole
    if not _takes(estimator, holed):  # a later step takes none, so it was not trained with any either
        return rows
    return np.concatenate([rows, holed])


def _takes(estimator: Any, rows: Any) -> bool:
    method = estimator.predict if hasattr(estimator, "predict") else estimator.transform
    try:
        method(rows)
    except Exception:  # the estimator's own, of any class
        return False
    return True


# Which estimator


def _first_step(estimator: Any) -> Any:
    while getattr(estimator, "steps", None):
        estimator = estimator.steps[0][1]
    return estimator


def _first_steps(estimator: Any) -> Iterator[Any]:
    """The estimator that sees the raw rows: a pipeline's first step, or the one inside a search or a wrapper."""
    if getattr(estimator, "steps", None):
        yield from _first_steps(estimator.steps[0][1])
        return
    for inner in ("best_estimator_", "estimator_"):
        if hasattr(estimator, inner):
            yield from _first_steps(getattr(estimator, inner))
    yield estimator


def _counts(estimator: Any) -> bool:
    """True for models of counts, which refuse negative values."""
    steps = [step for _, step in getattr(estimator, "steps", [("", estimator)])]
    return any(type(step).__name__ in _OF_COUNTS for step in steps)

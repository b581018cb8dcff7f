"""What a fitted scikit-learn estimator remembers of the columns of its training data: ranges, categories, holes.

It is read from the attributes that fitting leaves behind (`data_min_`, `categories_`, split points and so on), those of
the inner estimators of pipelines, searches, ensembles and column transformers included.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.convert.scikit.tree_splits import split_points
from workbench.core.tensor import Array
from workbench.errors import Unsupported

_NOTHING = np.empty(0)

_WRAPPED = ("best_estimator_", "estimator_", "regressor_", "estimator")
"""Attributes that hold a fitted estimator which sees the same columns."""

_MOST_MEMBERS = 32
"""Members of an ensemble that are asked."""


@dataclass(frozen=True, slots=True)
class Column:
    """What is known of one column; nothing, where all is empty."""

    points: Array = field(default_factory=lambda: _NOTHING)
    """Numbers that lie where the column's values did: ends of its range, quantiles, split points."""
    choices: Sequence[Any] = ()
    """Its categories, or texts like its own."""
    hole: float | None = None
    """What stands for a missing value, where it had some; NaN among texts."""
    none: bool = False
    """Whether its missing texts are None, and not NaN."""
    unread: bool = False
    """Whether no step reads it, so that it may hold anything."""

    @property
    def known(self) -> bool:
        return bool(len(self.points) or len(self.choices))

    @property
    def text(self) -> bool:
        return any(isinstance(choice, str) for choice in self.choices)

    def __or__(self, other: Column) -> Column:
        """What the two know together."""
        return Column(
            np.concatenate([self.points, other.points]),
            self.choices if len(self.choices) else other.choices,
            self.hole if self.hole is not None else other.hole,
            self.none or other.none,
            self.unread and other.unread,
        )


Columns = list[Column]


def trained_columns(estimator: Any, texts: Callable[[Any], Sequence[str]]) -> Columns:
    """One Column for each input column of `estimator`, in order; empty where their number is not known.

    `texts` makes up texts for a vectoriser.
    """
    return _Reader(texts).columns(estimator, _width(estimator))


def _width(estimator: Any) -> int:
    try:
        return int(estimator.n_features_in_)
    except (AttributeError, TypeError):
        return 0


class _Reader:
    def __init__(self, texts: Callable[[Any], Sequence[str]]) -> None:
        self._texts = texts

    def columns(self, step: Any, width: int, after: Columns | None = None) -> Columns:
        """What `step` knows of its `width` columns. `after`: what is known of the columns that it gives."""
        if step is None or isinstance(step, str):
            return after if after is not None and len(after) == width else [Column()] * width
        if (steps := getattr(step, "steps", None)) is not None:
            return self._pipeline([each for _, each in steps], width, after)
        if hasattr(step, "transformers_"):
            return self._by_column(step, width, after)
        if hasattr(step, "transformer_list"):
            return self._together([each for _, each in step.transformer_list], width)
        if hasattr(step, "build_analyzer"):
            return [Column(choices=self._texts(step))] * max(width, 1)
        for name in _WRAPPED:
            inner = getattr(step, name, None)
            if hasattr(inner, "fit") and _width(inner) == width:
                return self.columns(inner, width)
        own = _own(step, width)
        if not any(column.known for column in own):
            members = [each for each in _members(step) if _width(each) == width]
            own = _joined(own, self._together(members[:_MOST_MEMBERS], width))
        if after is not None and len(after) == width and _keeps_columns(step):
            own = [
                column
                if column.known and not _guessed(step)
                else dataclasses.replace(next_, hole=column.hole, none=column.none)
                for column, next_ in zip(own, after, strict=True)
                for next_ in [next_ if next_.known else column]
            ]
        return own

    def _pipeline(self, steps: Sequence[Any], width: int, after: Columns | None) -> Columns:
        for step in reversed(steps[1:]):
            inside = _width(step)
            after = self.columns(step, inside, after) if inside else after
        return self.columns(steps[0], width, after) if steps else [Column()] * width

    def _by_column(self, step: Any, width: int, after: Columns | None) -> Columns:
        found = [Column(unread=True)] * width
        names = list(getattr(step, "feature_names_in_", ()))
        slices = getattr(step, "output_indices_", {})
        for name, transformer, chosen in step.transformers_:
            if isinstance(transformer, str) and (transformer == "drop" or after is None):
                continue  # a column that no step reads may be text, too
            places = places_of(chosen, names, width)
            given = after[slices[name]] if after is not None and name in slices else None
            for place, column in zip(places, self.columns(transformer, len(places), given), strict=False):
                found[place] = found[place] | column
        return found

    def _together(self, members: Iterable[Any], width: int) -> Columns:
        found = [Column()] * width
        for member in members:
            found = _joined(found, self.columns(member, width))
        return found


def _joined(one: Columns, other: Columns) -> Columns:
    return [a | b for a, b in zip(one, other, strict=True)] if len(one) == len(other) else one


def _members(step: Any) -> list[Any]:
    """The fitted members of an ensemble."""
    members = [each for each in np.ravel(np.asarray(getattr(step, "estimators_", ()), dtype=object)) if each != "drop"]
    return members or [each.estimator for each in getattr(step, "calibrated_classifiers_", ())]


def places_of(chosen: Any, names: list[str], width: int) -> list[int]:
    """The indices of a ColumnTransformer's columns: names, numbers, a mask or a slice."""
    if isinstance(chosen, slice):
        if isinstance(chosen.start, str) or isinstance(chosen.stop, str):
            start = names.index(chosen.start) if chosen.start is not None else 0
            return list(range(start, names.index(chosen.stop) + 1 if chosen.stop is not None else width))
        return list(range(width))[chosen]
    listed = [chosen] if isinstance(chosen, str | int) else list(chosen)
    if listed and all(isinstance(each, bool | np.bool_) for each in listed):
        return [place for place, taken in enumerate(listed) if taken]
    return [names.index(each) if isinstance(each, str) else int(each) for each in listed]


def _keeps_columns(step: Any) -> bool:
    """Whether a transformer gives each column as it was, but for what was missing."""
    kept = type(step).__name__ in ("SimpleImputer", "KNNImputer", "FunctionTransformer")
    return kept and not getattr(step, "add_indicator", False)


def _guessed(step: Any) -> bool:
    """Whether what a step knows of its columns is one value of each, from which a range was guessed."""
    return hasattr(step, "statistics_")


# What one estimator has of its own


def _own(step: Any, width: int) -> Columns:
    if (found := split_points(step, width)) is not None:
        points, missing = found
        columns = [Column(each, hole=np.nan if some else None) for each, some in zip(points, missing, strict=True)]
        return _with_categories_of_boosting(step, columns)
    for read in (_categories, _fills, _powers, _edges):
        columns = read(step)
        if len(columns) == width:
            return columns
    return [Column()] * width


def _with_categories_of_boosting(step: Any, columns: Columns) -> Columns:
    """Categorical features of HistGradientBoosting have no split points, and are encoded before."""
    encoder = getattr(step, "_preprocessor", None)
    if encoder is None:
        return columns
    known: dict[str, Any] = {name: (each, chosen) for name, each, chosen in encoder.transformers_}
    each, chosen = known.get("encoder", (None, ()))
    places = np.flatnonzero(chosen) if np.asarray(chosen).dtype == bool else chosen
    for place, values in zip(places, getattr(each, "categories_", ()), strict=False):
        columns[place] = _category(values)
    return columns


def _categories(step: Any) -> Columns:
    """Of encoders; and of CategoricalNB, whose categories are counted from 0."""
    if (counts := getattr(step, "n_categories_", None)) is not None:
        return [Column(choices=range(count)) for count in counts]
    return [_category(values) for values in getattr(step, "categories_", ())]


def _category(values: Any) -> Column:
    if getattr(getattr(values, "dtype", None), "kind", "") in ("M", "m"):
        raise Unsupported(
            "an encoder has categories that are dates, which no tensor can hold (as_python=True neither); make them "
            "numbers before you train, as with df[column].astype('int64')"
        )
    missing = [value is None or value != value for value in values]
    present = [value for value, hole in zip(values, missing, strict=True) if not hole]
    return Column(choices=present, hole=np.nan if any(missing) else None, none=any(value is None for value in values))


def _fills(step: Any) -> Columns:
    """Of SimpleImputer: what it fills in lies in the column's range."""
    marker = getattr(step, "missing_values", np.nan)
    hole = float(marker) if isinstance(marker, int | float) else None
    columns = []
    for value in getattr(step, "statistics_", ()):
        if isinstance(value, str):
            columns.append(Column(choices=[value], hole=np.nan if marker is None else hole, none=marker is None))
        elif value is None or value != value:
            columns.append(Column(hole=hole))
        else:
            reach = max(abs(float(value)), 1.0)
            columns.append(Column(np.array([value - reach, value + reach]), hole=hole))
    return columns


def _powers(step: Any) -> Columns:
    """Of PowerTransformer, which scales what it has transformed."""
    if not hasattr(step, "lambdas_") or not hasattr(scaler := getattr(step, "_scaler", None), "mean_"):
        return []
    with np.errstate(all="ignore"):
        ends = step.inverse_transform(np.array([[-2.0], [0.0], [2.0]]) * np.ones(len(step.lambdas_)))
    columns = zip(ends.T, _edges(scaler), strict=True)
    return [Column(each[np.isfinite(each)], hole=scaled.hole) for each, scaled in columns]


def _edges(step: Any) -> Columns:
    """Of scalers, discretisers and quantile transformers."""

    def of(name: str) -> Any:
        found = getattr(step, name, None)
        return found if found is not None and np.ndim(found) else None

    if (low := of("data_min_")) is not None:
        return [Column(np.array(ends)) for ends in zip(low, step.data_max_, strict=True)]
    if (edges := of("bin_edges_")) is not None:
        return [Column(np.asarray(each, float)) for each in edges]
    if (quantiles := of("quantiles_")) is not None:
        return [Column(np.asarray(each, float)) for each in np.transpose(quantiles)]
    if (largest := of("max_abs_")) is not None:
        return [Column(np.array([-each, each])) for each in largest]
    for middle, spread in (("mean_", "scale_"), ("center_", "scale_"), ("_x_mean", "_x_std")):
        if (centre := of(middle)) is not None:
            reach = of(spread)
            reach = np.maximum(np.abs(centre), 1.0) if reach is None else reach
            holes = np.nan if np.ndim(getattr(step, "n_samples_seen_", 0)) else None
            return [Column(np.array([c - 2 * r, c + 2 * r]), hole=holes) for c, r in zip(centre, reach, strict=False)]
    return []

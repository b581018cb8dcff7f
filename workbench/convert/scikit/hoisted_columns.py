"""Estimators around pipelines that begin by choosing columns, turned inside out: the columns first, once for all.

`VotingClassifier([("a", make_pipeline(columns, model)), ...])` takes a table of text and numbers, which ONNX cannot
hold in one tensor. What its pipelines make of the columns are numbers, so the same estimator around what comes after
that takes one table of these.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.convert.scikit.sklearn_own.graph_values import Taken

_KINDS = (
    "TransformedTargetRegressor",
    "FixedThresholdClassifier",
    "TunedThresholdClassifierCV",
    "CalibratedClassifierCV",
    "OneVsOneClassifier",
    "OneVsRestClassifier",
    "OutputCodeClassifier",
    "StackingClassifier",
    "StackingRegressor",
    "VotingClassifier",
    "VotingRegressor",
)
"""Estimators that have a converter of ours, which asks pipelines inside."""


def column_choosers(estimator: Any) -> list[Any] | None:
    """The ColumnTransformer with which each estimator inside `estimator` begins; None where it is none of these."""
    estimator = inside(estimator)
    if type(estimator).__name__ not in _KINDS or getattr(estimator, "passthrough", False):
        return None
    found = [inside(each) for each in members(estimator)]
    firsts = [inside(each.steps[0][1]) if len(getattr(each, "steps", ())) > 1 else None for each in found]
    return firsts if firsts and all(hasattr(each, "transformers_") for each in firsts) else None


def hoisted(estimator: Any) -> Any:
    """A pipeline that answers as `estimator` and begins with its columns; None where it is no such estimator."""
    from sklearn.pipeline import FeatureUnion, Pipeline

    if (choosers := column_choosers(estimator)) is None:
        return None
    estimator = inside(estimator)
    widths = [max((each.stop for each in chooser.output_indices_.values()), default=0) for chooser in choosers]
    starts = np.cumsum([0, *widths])
    after = []
    for place, member in enumerate(map(inside, members(estimator))):
        taken = Taken(np.arange(starts[place], starts[place + 1]), int(starts[-1]))
        after.append(Pipeline([("taken", taken), *member.steps[1:]]))
    union = FeatureUnion([(str(place), chooser) for place, chooser in enumerate(choosers)])
    return Pipeline([("columns", union), ("estimator", _with_members(estimator, after))])


def inside(estimator: Any) -> Any:
    """The estimator that a search has chosen or that is held frozen; another is itself."""
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif type(estimator).__name__ == "FrozenEstimator":
            estimator = estimator.estimator
        else:
            return estimator


def members(estimator: Any) -> list[Any]:
    """The fitted estimators that `estimator` asks, one by one."""
    if (parts := getattr(estimator, "calibrated_classifiers_", None)) is not None:
        return [each.estimator for each in parts]
    for name in ("regressor_", "estimator_"):
        if hasattr(estimator, name):
            return [getattr(estimator, name)]
    return list(getattr(estimator, "estimators_", ()))


def _with_members(estimator: Any, members: Sequence[Any]) -> Any:
    made = copy.copy(estimator)
    if (parts := getattr(estimator, "calibrated_classifiers_", None)) is not None:
        made.calibrated_classifiers_ = [copy.copy(part) for part in parts]
        for part, member in zip(made.calibrated_classifiers_, members, strict=True):
            part.estimator = member
        return made
    for name in ("regressor_", "estimator_"):
        if hasattr(estimator, name):
            setattr(made, name, members[0])
            return made
    made.estimators_ = list(members)
    return made

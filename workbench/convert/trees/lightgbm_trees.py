"""Reads a LightGBM booster, from the text that it is saved as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from workbench.convert.trees.tree_graph import Boosted, Tree
from workbench.core.tensor import Array
from workbench.errors import Unsupported

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_NO_MISSING, _ZERO_IS_MISSING = 0, 1
"""What the third and fourth bit of a node's decision type say."""

NO_LARGER_IS_ZERO = float(np.float32(1e-35))
"""LightGBM takes numbers up to here, and down to the negative of it, as 0."""

_LINKS: Mapping[str, str] = {
    "binary": "sigmoid",
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "log1p(exp)",
    "multiclass": "softmax",
    "multiclassova": "sigmoid",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}
"""Objective -> what becomes of the raw scores; of the others, nothing."""


def read_lightgbm(booster: Any) -> Boosted:
    """The trees up to the best iteration, as `predict` uses them."""
    head, *texts = booster.model_to_string().split("\n\nTree=")
    header = _fields(head)
    objective, *options = header.get("objective", "custom").split()
    per_iteration = int(header["num_tree_per_iteration"])
    trees = [_fields(text.split("\n\n")[0]) for text in texts]
    if any(tree.get("is_linear", "0") != "0" for tree in trees):
        raise Unsupported(
            "a LightGBM model with linear_tree=True has a linear model in each leaf, which ONNX has no operator for; "
            "train it without linear_tree"
        )
    share = per_iteration / len(trees) if "average_output" in head.split("\n") else 1.0
    link = "signed square" if "sqrt" in options else _LINKS.get(objective, "identity")
    # The slope of the logistic function, a setting of training, is taken into the leaves.
    slopes = [float(option.partition(":")[2]) for option in options if option.startswith("sigmoid:")]
    scale = share * (slopes[0] if slopes and link == "sigmoid" else 1.0)
    zeros = np.zeros(int(header["max_feature_idx"]) + 1, bool)
    found = [_tree(tree, number % per_iteration, scale, zeros) for number, tree in enumerate(trees)]
    names = booster.feature_name()
    return Boosted(names, np.zeros(per_iteration), link, found, zero_is_missing=zeros)


def categorical_features(booster: Any) -> list[int]:
    """The features that were trained as categorical; one that is constant cannot be told."""
    infos = _fields(booster.model_to_string(num_iteration=1).split("\n\nTree=")[0])["feature_infos"].split(" ")
    return [index for index, info in enumerate(infos) if info != "none" and not info.startswith("[")]


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.split("\n") if "=" in line)


def _tree(fields: Mapping[str, str], target: int, scale: float, zeros: Array) -> Tree:
    leaves = _numbers(fields["leaf_value"]) * scale
    if int(fields["num_leaves"]) <= 1:
        nothing = np.empty(0)
        return Tree(nothing.astype(int), nothing, nothing, nothing, nothing, leaves[:1], target)
    feature = _numbers(fields["split_feature"]).astype(int)
    threshold = _numbers(fields["threshold"])
    threshold[threshold == -NO_LARGER_IS_ZERO] = np.nextafter(-NO_LARGER_IS_ZERO, -1)  # which is 0 itself, and so above
    decision = _numbers(fields["decision_type"]).astype(int)
    kind = (decision >> 2) & 3
    categorical = (decision & _CATEGORICAL) > 0
    zeros[feature[~categorical & (kind == _ZERO_IS_MISSING)]] = True
    default = (decision & _DEFAULT_LEFT) > 0
    missing = np.where(kind == _NO_MISSING, threshold >= 0, default) & ~categorical  # where none is known, NaN is 0
    members = {}
    if categorical.any():
        ends = _numbers(fields["cat_boundaries"]).astype(int)
        words = _numbers(fields["cat_threshold"]).astype(np.int64)
        for node in np.flatnonzero(categorical):
            which = int(threshold[node])
            members[int(node)] = list(_set_bits(words[ends[which] : ends[which + 1]]))
    left, right = (_numbers(fields[name]).astype(int) for name in ("left_child", "right_child"))
    return Tree(feature, threshold, left, right, missing, leaves, target, members)


def _numbers(text: str) -> Array:
    return np.array(text.split(" "), np.float64)


def _set_bits(words: Array) -> Iterator[int]:
    for place, word in enumerate(words):
        yield from (32 * place + bit for bit in range(32) if int(word) >> bit & 1)

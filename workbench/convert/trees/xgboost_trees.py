"""Reads an XGBoost booster, from the JSON that it is saved as."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from workbench.convert.trees.tree_graph import Boosted, Tree
from workbench.core.tensor import Array
from workbench.errors import Unsupported

_LINKS: Mapping[str, str] = {
    "binary:logistic": "sigmoid",
    "reg:logistic": "sigmoid",
    "multi:softprob": "softmax",
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
    "survival:cox": "exp",
    "survival:aft": "exp",
    "binary:logitraw": "identity",
    "reg:squarederror": "identity",
    "reg:squaredlogerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:absoluteerror": "identity",
    "reg:quantileerror": "identity",
    "rank:pairwise": "identity",
    "rank:ndcg": "identity",
    "rank:map": "identity",
    "multi:softmax": "best class",
    "binary:hinge": "positive",
}
"""Objective -> what becomes of the raw scores."""


def read_xgboost(booster: Any, missing: float = float("nan")) -> Boosted:
    """All trees of the booster; the caller slices off what comes after the best iteration."""
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    parameters, objective = learner["learner_model_param"], learner["objective"]["name"]
    if objective not in _LINKS:
        raise Unsupported(
            f"an XGBoost model with the objective {objective!r} has no ONNX form here; known are {', '.join(_LINKS)}"
        )
    features = int(parameters["num_feature"])
    names = learner.get("feature_names") or [f"f{index}" for index in range(features)]
    targets = max(int(parameters["num_class"]), int(parameters.get("num_target", "1")), 1)
    base = _margin(np.broadcast_to(_numbers(parameters["base_score"]), targets).astype(np.float64), objective)
    booster_json = learner["gradient_booster"]
    kind = booster_json["name"]
    if kind == "gblinear":
        weights = np.array(booster_json["model"]["weights"], np.float32).reshape(features + 1, targets)
        return Boosted(names, base[0] + weights[-1], _LINKS[objective], weights=weights[:-1], missing=missing)
    model = booster_json["gbtree"]["model"] if kind == "dart" else booster_json["model"]
    drops = booster_json.get("weight_drop", [1.0] * len(model["trees"]))
    groups = zip(model["trees"], model["tree_info"], drops, strict=True)
    trees = [_tree(tree, target, drop) for tree, target, drop in groups]
    categories = _categories(model.get("cats", {}))
    return Boosted(names, base, _LINKS[objective], trees, below=True, missing=missing, categories=categories)


def categorical_features(booster: Any) -> list[int]:
    return [index for index, kind in enumerate(booster.feature_types or ()) if kind == "c"]


def _numbers(text: str) -> Array:
    return np.array(text.strip("[]").split(","), np.float64)


def _margin(base: Array, objective: str) -> Array:
    """The base score as a raw score; it is kept as what the link makes of it."""
    if objective in ("binary:logistic", "reg:logistic"):
        return np.asarray(-np.log(1 / base - 1))
    return np.log(base) if _LINKS[objective] == "exp" else base


def _tree(fields: Mapping[str, Any], target: int, drop: float) -> Tree:
    left, right = np.array(fields["left_children"], int), np.array(fields["right_children"], int)
    leaf = left < 0
    values = np.array(fields["split_conditions"], np.float32)
    width = int(fields["tree_param"]["size_leaf_vector"])
    leaves = _vectors(fields, leaf, width) if width > 1 else values[leaf]
    # Inner nodes and leaves are numbered each on their own.
    place = np.where(leaf, ~(np.cumsum(leaf) - 1), np.cumsum(~leaf) - 1)
    inner = ~leaf
    members: dict[int, list[int]] = {}
    sets = (fields.get(f"categories{each}", ()) for each in ("_nodes", "_segments", "_sizes"))
    for node, start, count in zip(*sets, strict=True):
        members[int(place[node])] = fields["categories"][start : start + count]
    on_true, on_false = place[left[inner]], place[right[inner]]
    missing = np.array(fields["default_left"], bool)[inner]
    for node in members:  # those of the set go to the right
        on_true[node], on_false[node] = on_false[node], on_true[node]
        missing[node] = not missing[node]
    feature = np.array(fields["split_indices"], int)[inner]
    thresholds = values[inner].astype(np.float64)
    return Tree(feature, thresholds, on_true, on_false, missing, leaves * np.float32(drop), target, members)


def _vectors(fields: Mapping[str, Any], leaf: Array, width: int) -> Array:
    """[leaves, targets]: of a node of its own for each leaf in newer versions, in place of the nodes' weights."""
    if "leaf_weights" in fields and len(fields["leaf_weights"]) == leaf.sum() * width:
        return np.array(fields["leaf_weights"], np.float32).reshape(-1, width)
    return np.array(fields["base_weights"], np.float32).reshape(-1, width)[leaf]


def _categories(cats: Mapping[str, Any]) -> dict[int, list[Any]]:
    """Feature -> its categories in the order of their codes, where it was trained on a DataFrame; an empty list, where
    it was, and they cannot be told: XGBoost 3.2 measures text in letters and cuts it as bytes."""
    found: dict[int, list[Any]] = {}
    for index, each in enumerate(cats.get("enc", ())):
        values, ends = each.get("values", []), each.get("offsets")
        if ends:
            text = bytes(value & 255 for value in values)
            found[index] = [text[a:b].decode() for a, b in pairwise(ends)] if text.isascii() else []
        elif ends is None and values:
            found[index] = list(values)
    return found

"""Reads a CatBoost model, from the JSON that it is saved as."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from workbench.convert.trees.tree_graph import Boosted, Tree
from workbench.core.tensor import Array
from workbench.errors import Unsupported

_CLASSIFIES: Mapping[str, str] = {"MultiClass": "softmax"}
"""Loss -> what a classifier makes of its raw scores; with any other, each is a logit."""

_COUNTS = ("Poisson", "Tweedie")
"""The losses whose regressors answer with the exponential of the raw score."""


def read_catboost(model: Any) -> Boosted:
    """The trees as `predict` uses them. Raises Unsupported for features that are not numbers."""
    kind = type(model).__name__
    for what, found in (
        ("categorical", model.get_cat_feature_indices()),
        ("text", model.get_text_feature_indices()),
        ("embedding", model.get_embedding_feature_indices()),
    ):
        if len(found):
            names = ", ".join(repr(model.feature_names_[index]) for index in found[:5])
            raise Unsupported(
                f"{kind} has {what} features ({names}), whose statistics ONNX cannot hold; give it numbers instead, as "
                "from OrdinalEncoder or OneHotEncoder, or train with LightGBM or XGBoost, whose categories are served"
            )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.json")
        model.save_model(str(path), format="json")
        saved = json.loads(path.read_text())
    scale, bias = saved["scale_and_bias"]
    base = np.atleast_1d(np.asarray(bias, np.float64))
    treatments = {each["feature_index"]: each for each in saved["features_info"]["float_features"]}
    flat = {index: each["flat_feature_index"] for index, each in treatments.items()}
    nan_is_less = {index: each["nan_value_treatment"] != "AsTrue" for index, each in treatments.items()}
    trees = [_symmetric(tree, len(base), scale, flat, nan_is_less) for tree in saved.get("oblivious_trees", ())]
    trees += [_nested(tree, len(base), scale, flat, nan_is_less) for tree in saved.get("trees", ())]
    return Boosted(model.feature_names_, base, _link(kind, _loss(saved)), trees)


def _loss(saved: Mapping[str, Any]) -> str:
    parameters = saved["model_info"]["params"]
    parameters = json.loads(parameters) if isinstance(parameters, str) else parameters
    return str(parameters["loss_function"]["type"])


def _link(kind: str, loss: str) -> str:
    if loss == "RMSEWithUncertainty":
        raise Unsupported(f"{kind} with the loss {loss} has no ONNX form here; train it with RMSE")
    if kind == "CatBoostClassifier":
        return _CLASSIFIES.get(loss, "sigmoid")
    return "exp" if kind == "CatBoostRegressor" and loss in _COUNTS else "identity"


def _symmetric(
    tree: Mapping[str, Any], width: int, scale: float, flat: Mapping[int, int], nan_is_less: Mapping[int, bool]
) -> Tree:
    """All nodes of one level ask the same; the answers are the bits of the leaf's number, the first split's lowest."""
    leaves = np.array(tree["leaf_values"], np.float64).reshape(-1, width) * scale
    splits = list(reversed(tree.get("splits") or ()))
    feature, threshold, missing, yes, no = [], [], [], [], []
    for level, split in enumerate(splits):
        index = split["float_feature_index"]
        for place in range(2**level):
            node = 2**level - 1 + place
            last = level == len(splits) - 1
            feature.append(flat[index])
            threshold.append(split["border"])
            missing.append(nan_is_less[index])
            yes.append(~(2 * place) if last else 2 * node + 1)
            no.append(~(2 * place + 1) if last else 2 * node + 2)
    return _tree(feature, threshold, yes, no, missing, leaves)


def _nested(
    tree: Mapping[str, Any], width: int, scale: float, flat: Mapping[int, int], nan_is_less: Mapping[int, bool]
) -> Tree:
    feature: list[int] = []
    threshold: list[float] = []
    missing: list[bool] = []
    children: list[list[int]] = []
    leaves: list[Any] = []

    def add(node: Mapping[str, Any]) -> int:
        if "split" not in node:
            leaves.append(np.atleast_1d(node["value"]))
            return ~(len(leaves) - 1)
        place, index = len(feature), node["split"]["float_feature_index"]
        feature.append(flat[index])
        threshold.append(node["split"]["border"])
        missing.append(nan_is_less[index])
        children.append([])
        children[place] = [add(node["left"]), add(node["right"])]
        return place

    add(tree)
    yes, no = [each[0] for each in children], [each[1] for each in children]
    return _tree(feature, threshold, yes, no, missing, np.array(leaves, np.float64).reshape(-1, width) * scale)


def _tree(feature: Any, threshold: Any, yes: Any, no: Any, missing: Any, leaves: Array) -> Tree:
    border = np.array(threshold, np.float32).astype(np.float64)
    of_one = leaves[:, 0] if leaves.shape[1] == 1 else leaves
    return Tree(np.array(feature, int), border, np.array(yes, int), np.array(no, int), np.array(missing, bool), of_one)

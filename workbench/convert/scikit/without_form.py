"""Says in plain words why an estimator has no ONNX form, where skl2onnx's own say little to the user who trained it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodDescriptorType, MethodType
from typing import Any

from workbench.errors import Unsupported

_EACH_ROW = "solves a problem of its own for each row, in a loop that ends when it is solved"

_WHY: Mapping[str, str] = MappingProxyType(
    {
        "DictVectorizer": "takes dicts; put OneHotEncoder on the columns of a DataFrame in its place",
        "DictionaryLearning": _EACH_ROW,
        "FeatureHasher": "hashes names, which ONNX has no operator for; OneHotEncoder has a form",
        "HashingVectorizer": (
            "hashes words, which ONNX has no operator for; TfidfVectorizer and CountVectorizer have a form"
        ),
        "LatentDirichletAllocation": _EACH_ROW,
        "LocallyLinearEmbedding": _EACH_ROW,
        "MiniBatchDictionaryLearning": _EACH_ROW,
        "MiniBatchNMF": _EACH_ROW,
        "MultiLabelBinarizer": "takes a list of labels for each row, which no tensor can hold",
        "NMF": _EACH_ROW,
        "PolynomialCountSketch": (
            "multiplies by Fourier transforms, which skl2onnx lacks; Nystroem and RBFSampler have a form"
        ),
        "SparseCoder": _EACH_ROW,
    }
)
"""Class of scikit-learn -> what it does that has none."""

_SETTINGS = ("kernel", "metric", "weights", "tokenizer", "preprocessor", "strip_accents")
"""Those that may hold a function of the user's own, or a choice that ONNX has no operators for."""

_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, MethodDescriptorType, functools.partial)


def why_none(kind: str, parts: Iterable[Any], failure: str = "") -> str:
    """Why one of the parts of an estimator called `kind` has no form, as a clause; empty where nothing is known.

    `failure` is what skl2onnx said.
    """
    for part in parts:
        name = type(part).__name__
        whose = "its" if name == kind else f"the {name}'s"
        if type(part).__module__.startswith("sklearn.") and (does := _WHY.get(name)):
            return f"{'it' if name == kind else name} {does}"
        for setting in _SETTINGS:
            value = getattr(part, setting, None)
            if isinstance(value, _FUNCTIONS):
                return f"{whose} {setting} is {shown(value)}, which ONNX cannot hold"
            if isinstance(value, str) and value == "precomputed":
                return (
                    f"{whose} {setting} is 'precomputed', so a row is its relation to all training rows; fit it with "
                    f"a {setting} that ONNX can compute, on the rows themselves"
                )
            if setting == "strip_accents" and value is not None:
                return f"{whose} strip_accents has no operator; strip the texts before you fit it, and leave that out"
            if setting == "metric" and f"metric={value!r} is not implemented" in failure:
                return (
                    f"{whose} metric is {value!r}; euclidean, manhattan, chebyshev, minkowski and cosine have operators"
                )
    return ""


def check_askable(estimator: Any, kind: str) -> None:
    """Unsupported for one that answers nothing about rows that it was not fitted on."""
    if any(hasattr(estimator, each) for each in ("predict", "transform", "score_samples")):
        return
    last = estimator
    while steps := getattr(last, "steps", None):
        last = steps[-1][1]
    name = type(last).__name__
    if name == "LocalOutlierFactor":
        advice = "fit it with novelty=True, which gives it predict"
    elif name == "NearestNeighbors":
        advice = "load KNeighborsClassifier, KNeighborsRegressor or KNeighborsTransformer, which have one"
    elif hasattr(last, "labels_"):
        advice = f"train a classifier on what it found, as KNeighborsClassifier().fit(X, {name.lower()}.labels_)"
    elif hasattr(last, "embedding_"):
        advice = f"train a regressor on what it found, as KNeighborsRegressor().fit(X, {name.lower()}.embedding_)"
    else:
        advice = f"serve what you do with your {name} as a function, by a cell that begins with %%infer function NAME"
    raise Unsupported(
        f"{kind} has no predict, transform or score_samples for new rows, so there is nothing to serve; {advice}"
    )


def shown(value: object) -> str:
    """A setting as a message shows it: a function by its name."""
    name = getattr(value, "__name__", "")
    return f"the Python function {name}" if callable(value) and name else repr(value)

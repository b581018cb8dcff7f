"""Why an estimator has no ONNX form is said in the terms of whoever trained it, with what has one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import NMF, KernelPCA
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import MDS, Isomap
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline

from workbench.convert.scikit.sklearn import convert
from workbench.errors import Unsupported

X = np.random.default_rng(0).normal(size=(30, 4))
Y = (X[:, 0] > 0).astype(int)
TEXTS = ["red fox", "blue sky"] * 3


def apart(one: Any, other: Any) -> float:
    return float(np.exp(-np.abs(one - other).sum()))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: NMF(2).fit(np.abs(X)), "it solves a problem of its own for each row, in a loop"),
        (lambda: make_pipeline(NMF(2), LogisticRegression()).fit(np.abs(X), Y), "NMF solves a problem of its own"),
        (lambda: HashingVectorizer().fit(TEXTS), "it hashes words, .* TfidfVectorizer and CountVectorizer have a form"),
        (lambda: DictVectorizer().fit([{"a": 1.0}]), "it takes dicts; put OneHotEncoder on the columns of a DataFrame"),
        (lambda: KNeighborsClassifier(metric=apart).fit(X, Y), "its metric is the Python function apart, which ONNX"),
        (lambda: KNeighborsClassifier(metric="canberra").fit(X, Y), "its metric is 'canberra'; euclidean, manhattan"),
        (lambda: KNeighborsClassifier(metric="precomputed").fit(abs(X @ X.T), Y), "its metric is 'precomputed', so a"),
        (lambda: KernelPCA(2, kernel="precomputed").fit(X @ X.T), "a kernel that ONNX can compute, on the rows"),
        (lambda: KernelRidge(kernel=apart).fit(X, Y), "its kernel is the Python function apart; linear, poly"),
        (lambda: Isomap(metric="cosine").fit(X), "its metric is 'cosine'; euclidean, .* have a form"),
        (
            lambda: CountVectorizer(tokenizer=str.split, token_pattern=None).fit(TEXTS),
            "its tokenizer is the Python fun",
        ),
        (lambda: CountVectorizer(strip_accents="unicode").fit(TEXTS), "its strip_accents has no operator"),
        (lambda: CountVectorizer(token_pattern=r"(?<=r)\w+").fit(TEXTS), r"has '\(\?<=', and ONNX Runtime's patterns"),
    ],
)
def test_the_reason_is_the_users_own_choice(made: Any, why: str) -> None:
    with pytest.raises(Unsupported, match=f"has no ONNX form: .*{why}") as caught:
        convert(made(), None)
    assert "skl2onnx" not in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("made", "advice"),
    [
        (lambda: DBSCAN().fit(X), r"train a classifier .*KNeighborsClassifier\(\)\.fit\(X, dbscan\.labels_\)"),
        (lambda: MDS(n_init=1, init="random").fit(X), r"train a regressor .*\.fit\(X, mds\.embedding_\)"),
        (lambda: LocalOutlierFactor().fit(X), "fit it with novelty=True"),
        (lambda: NearestNeighbors().fit(X), "load KNeighborsClassifier"),
        (lambda: LedoitWolf().fit(X), "serve what you do with your LedoitWolf as a function"),
    ],
)
def test_one_that_answers_nothing_about_new_rows_is_told_so(made: Any, advice: str) -> None:
    with pytest.raises(Unsupported, match=f"for new rows, so there is nothing to serve; .*{advice}"):
        convert(made(), None)

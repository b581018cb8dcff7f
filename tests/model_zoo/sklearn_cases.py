"""scikit-learn's estimators that can be fitted on small data, one by one, each on the first kind of data it takes."""

from __future__ import annotations

from sklearn.base import is_regressor
from sklearn.utils import all_estimators

from tests.helpers.fitted_estimators import Fitted, fitted_estimators, wrapped
from tests.model_zoo.case import Case

LEFT_OUT = {
    *("ColumnTransformer", "DictVectorizer", "FeatureHasher", "FrozenEstimator", "PatchExtractor", "Pipeline"),
    *("EmpiricalCovariance", "GraphicalLasso", "GraphicalLassoCV", "LedoitWolf", "MinCovDet", "OAS"),
    *("KernelCenterer", "NearestNeighbors", "ShrunkCovariance", "SparseCoder"),
    *("AgglomerativeClustering", "ClassicalMDS", "DBSCAN", "HDBSCAN", "MDS", "OPTICS", "TSNE"),
    *("SpectralBiclustering", "SpectralClustering", "SpectralCoclustering", "SpectralEmbedding"),
}
"""Those that predict or transform no new rows, or that none of the kinds of data suits."""


def names() -> list[str]:
    known = dict.fromkeys([*(name for name, _ in all_estimators()), *(name for name, _ in wrapped())])
    return [name for name in known if name not in LEFT_OUT]


WORDS = {"OneHotEncoder", "OrdinalEncoder", "one-hot, logistic"}
"""Those that are fitted on words, though they take numbers too."""


def fitted(name: str) -> Fitted:
    """The estimator on the first kind of data that it takes; a regressor around another one has a regressor in it."""
    for found in fitted_estimators(lambda each, data: each == name and (name not in WORDS or data == "words")):
        inner = getattr(found.estimator, "estimator", None)
        if inner is None or is_regressor(inner) or not is_regressor(found.estimator):
            return found
    raise LookupError(f"{name} can be fitted to none of the kinds of data")


def _make(name: str) -> tuple[object, object]:
    found = fitted(name)
    return found.estimator, found.unseen


def _case(name: str) -> Case:
    return Case(f"scikit-learn {name}", lambda: _make(name))


CASES: list[Case] = [_case(name) for name in names()]

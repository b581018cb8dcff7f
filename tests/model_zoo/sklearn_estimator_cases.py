"""Every estimator of scikit-learn that answers for new rows, each on data that it is made for."""

from __future__ import annotations

from functools import partial

from tests.helpers.fitted_estimators import estimators, fitted_estimators
from tests.model_zoo.case import Case

DATA = {
    "AdditiveChi2Sampler": "counts",
    "CCA": "several targets",
    "CategoricalNB": "whole numbers",
    "ClassifierChain": "several labels",
    "ComplementNB": "counts",
    "CountVectorizer": "texts",
    "HashingVectorizer": "texts",
    "IsotonicRegression": "one column",
    "LabelBinarizer": "labels alone",
    "LabelEncoder": "labels alone",
    "LatentDirichletAllocation": "counts",
    "MiniBatchNMF": "counts",
    "MissingIndicator": "missing values",
    "MultiLabelBinarizer": "labels alone",
    "MultiOutputClassifier": "several labels",
    "MultiOutputRegressor": "several targets",
    "MultiTaskElasticNet": "several targets",
    "MultiTaskElasticNetCV": "several targets",
    "MultiTaskLasso": "several targets",
    "MultiTaskLassoCV": "several targets",
    "MultinomialNB": "counts",
    "NMF": "counts",
    "OneHotEncoder": "words",
    "OrdinalEncoder": "words",
    "PLSCanonical": "several targets",
    "PLSSVD": "several targets",
    "RegressorChain": "several targets",
    "SkewedChi2Sampler": "counts",
    "TargetEncoder": "words",
    "TfidfVectorizer": "texts",
}
"""What else than numbers an estimator is tried on."""

WITHOUT_ONNX_FORM = {
    "DictionaryLearning",
    "HashingVectorizer",
    "LatentDirichletAllocation",
    "LocallyLinearEmbedding",
    "MiniBatchDictionaryLearning",
    "MiniBatchNMF",
    "MultiLabelBinarizer",
    "NMF",
    "PolynomialCountSketch",
}
"""They solve a problem of their own for each row, hash text, or take no table."""

ANSWER_FOR_NO_NEW_ROWS = {
    "AgglomerativeClustering",
    "ClassicalMDS",
    "DBSCAN",
    "DictVectorizer",
    "EmpiricalCovariance",
    "FeatureHasher",
    "FrozenEstimator",
    "GraphicalLasso",
    "GraphicalLassoCV",
    "HDBSCAN",
    "KernelCenterer",
    "LedoitWolf",
    "MDS",
    "MinCovDet",
    "NearestNeighbors",
    "OAS",
    "OPTICS",
    "PatchExtractor",
    "ShrunkCovariance",
    "SpectralBiclustering",
    "SpectralClustering",
    "SpectralCoclustering",
    "SpectralEmbedding",
    "TSNE",
}
"""They have no `predict`, `transform` or `score_samples`, or take no table but dicts, images or kernels."""


def made(name: str, data: str) -> tuple[object, object]:
    fitted = next(fitted_estimators(lambda each, kind: (each, kind) == (name, data)))
    return fitted.estimator, fitted.unseen


def cases() -> list[Case]:
    names = sorted({name for name, _ in estimators() if name[0].isupper()} - ANSWER_FOR_NO_NEW_ROWS)
    return [
        Case(
            name,
            partial(made, name, DATA.get(name, "numbers")),
            f"no conversion of {name}" if name in WITHOUT_ONNX_FORM else "",
        )
        for name in names
    ]


CASES = cases()

"""Rules of ai.onnx.ml, whose models take [batch, features], and of ONNX's operators on texts and of losses."""

from __future__ import annotations

from workbench.graph.batch_axis.batch_values import (
    Mixed,
    NotUnderstood,
    Result,
    Rows,
    RowsMix,
    Value,
    check_no_other_rows,
    rank_of,
    same_rows,
    shape_of,
)
from workbench.graph.batch_axis.operator_rules import (
    MICROSOFT,
    ML,
    Inputs,
    Node,
    free_of_rows,
    needed,
    present,
    rows_first,
    rule,
)
from workbench.graph.batch_axis.symbolic_sizes import Number, add, fresh, product


@rule("Binarizer CategoryMapper LabelEncoder", domain=ML)
def element_wise_ml(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    return Value(shape_of(x), x.rows)


@rule("Imputer Normalizer Scaler", domain=ML)
def feature_wise(node: Node, inputs: Inputs) -> Value:
    x = _features(inputs)
    return Value(shape_of(x), x.rows)


def _features(inputs: Inputs) -> Value:
    """[batch, features]. One axis alone would be the features of a single row."""
    x = needed(inputs, 0)
    if x.rows is not None and x.rows.axis == rank_of(x) - 1:
        raise RowsMix("takes the rows of the batch for the features of one")
    if rank_of(x) != 2 or (x.rows is not None and x.rows.axis != 0):
        raise NotUnderstood("takes features that do not lie in one axis")
    return x


@rule("LinearRegressor SVMRegressor TreeEnsemble TreeEnsembleRegressor", domain=ML)
def regressor(node: Node, inputs: Inputs) -> Value:
    x = _features(inputs)
    targets = node.whole("targets" if node.operator == "LinearRegressor" else "n_targets", 1)
    return Value((shape_of(x)[0], targets), x.rows)


@rule("LinearClassifier SVMClassifier TreeEnsembleClassifier", domain=ML)
def classifier(node: Node, inputs: Inputs) -> list[Result]:
    x = _features(inputs)
    names = ("classlabels_ints", "classlabels_int64s", "classlabels_strings")
    classes = max(len(node.attributes.get(name, ())) for name in names)
    # The scores of two classes may be one.
    width: Number = classes if classes > 2 else fresh()
    return [Value(shape_of(x)[:1], x.rows), Value((shape_of(x)[0], width), x.rows)]


@rule("OneHotEncoder", domain=ML)
def one_hot_encoder(node: Node, inputs: Inputs) -> Value:
    x = needed(inputs, 0)
    categories = max(len(node.attributes.get(name, ())) for name in ("cats_int64s", "cats_strings"))
    return Value((*shape_of(x), categories), x.rows)


@rule("FeatureVectorizer", domain=ML)
def feature_vectorizer(node: Node, inputs: Inputs) -> Value:
    values = present(inputs)
    width: Number = 0
    for value in values:
        if value.rows is not None and (rank_of(value) != 2 or value.rows.axis != 0):
            raise RowsMix("takes the rows of the batch for the features of one")
        width = add(width, shape_of(value)[-1])
    rows = same_rows(values)
    return Value((rows.size if rows else shape_of(values[0])[0], width), rows)


@rule("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(node: Node, inputs: Inputs) -> Value:
    x, indices = needed(inputs, 0), needed(inputs, 1)
    count = product(shape_of(indices))
    if x.rows is not None:
        if x.rows.axis == rank_of(x) - 1:
            raise RowsMix("takes rows of the batch by their place")
        if indices.rows is not None:
            raise RowsMix("pairs every row with every other row")
        return Value((*shape_of(x)[:-1], count), x.rows)
    shape = (*(shape_of(x)[:-1] or (1,)), count)
    if indices.rows is None:
        return Value(shape)
    # Indices of all rows one after the other, such as the classes that were found.
    if indices.rows.axis != 0:
        raise NotUnderstood("takes indices whose rows do not come one after the other")
    inner = product([indices.rows.inner, *shape_of(indices)[1:]])
    return Value(shape, Rows(len(shape) - 1, indices.rows.outer, inner))


@rule("ZipMap", domain=ML)
def zip_map(node: Node, inputs: Inputs) -> Value:
    """A sequence with a map for each row."""
    x = _features(inputs)
    return Value(shape_of(x)[:1], x.rows)


@rule("TfIdfVectorizer")
def tf_idf(node: Node, inputs: Inputs) -> Value:
    x = _features(inputs)
    return Value((*shape_of(x)[:-1], fresh()), x.rows)


@rule("StringNormalizer")
def string_normalizer(node: Node, inputs: Inputs) -> Value:
    if needed(inputs, 0).rows is not None:
        raise RowsMix("drops words from the whole batch")
    raise NotUnderstood("drops words")


@rule("Tokenizer", domain=MICROSOFT)
def tokenizer(node: Node, inputs: Inputs) -> Value:
    if needed(inputs, 0).rows is not None:
        raise RowsMix("is as wide as the text with the most parts in the batch")
    raise NotUnderstood("splits texts")


@rule("StringSplit")
def string_split(node: Node, inputs: Inputs) -> list[Result]:
    x = needed(inputs, 0)
    if x.rows is None:
        return [Value((*shape_of(x), fresh())), Value(shape_of(x))]
    width = Mixed(f"{node.label} is as wide as the text with the most parts in the batch")
    return [width, Value(shape_of(x), x.rows)]


@rule("NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss")
def loss(node: Node, inputs: Inputs) -> list[Result]:
    x, target = needed(inputs, 0), needed(inputs, 1)
    free_of_rows(inputs[2:])
    rows = rows_first([x, target])
    likelihoods = Value(shape_of(x), x.rows)
    if node.text("reduction", "mean") == "none":
        for value in (x, target):
            if rows is not None and value.rows is None:
                check_no_other_rows(shape_of(value)[:1])
        return [
            Value(shape_of(target), rows) if target.rows == rows else Mixed(f"{node.label} takes one row only"),
            likelihoods,
        ]
    if rows is not None:
        return [Mixed(f"{node.label} reduces over the rows of the batch"), likelihoods]
    return [Value(()), likelihoods]

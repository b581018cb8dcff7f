"""A fitted scikit-learn estimator as an ONNX model, by skl2onnx, whose faults that matter are mended on the way."""

from __future__ import annotations

import contextlib
import copy
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.convert.exporter_age import too_old
from workbench.convert.scikit.column_steps import ENCODERS, FILLERS, NeedsDouble
from workbench.convert.scikit.frame_columns import INPUT, input_columns, is_text
from workbench.convert.scikit.graph_parts import OPSETS
from workbench.convert.scikit.hoisted_columns import hoisted, inside, members
from workbench.convert.scikit.sklearn_own.registration import own_converters
from workbench.convert.scikit.step_graph import StepGraph
from workbench.convert.scikit.without_form import why_none
from workbench.errors import Unsupported

OWN = (*ENCODERS, *FILLERS)
"""Steps that are not left to skl2onnx."""

_WORDS = r"[\p{L}\p{N}_]{2,}"
"""What a vectoriser's default pattern means in ONNX Runtime, whose \\w has ASCII only."""

_FORMS: tuple[tuple[str, str, object, object], ...] = (
    ("KBinsDiscretizer", "encode", "onehot", "onehot-dense"),
    ("RandomTreesEmbedding", "sparse_output", True, False),
)
"""(class, setting, what skl2onnx refuses, what gives the same values to it)"""

_STORED_ROWS = ("_fit_X", "X_", "X_fit_", "components_")
"""Where estimators keep training rows, or some of them, sparse as a vectoriser gave them."""

_DENSE_BYTES = 256 * 2**20
"""The most that such rows may take as float32, with all their zeros, as ONNX stores them."""

_LOOKS = re.compile(r"\(\?<?[=!]|\(\?P=|\\[1-9]")
"""What Python's patterns have and ONNX Runtime's do not."""

_UNKNOWN = re.compile(r"Unable to find a(?: shape calculator|n? ?converter)[^<]*<class '(?:[^']*\.)?(\w+)'>")
"""The beginning of skl2onnx's error for a class that it cannot convert."""


def export(estimator: Any, kind: str, rows: Any, *, double: bool = False) -> Any:
    """The ModelProto. Raises Unsupported with the reason.

    `rows` are as the estimator takes them, and say which columns are text. `double`: numbers are FP64, also inside.
    """
    proto = _exported(estimator, kind, rows, double)
    if getattr(getattr(estimator, "classes_", None), "dtype", None) == np.bool_:
        _make_labels_truth_values(proto.graph)
    return proto


def _exported(estimator: Any, kind: str, rows: Any, double: bool) -> Any:
    def step(each: Any, rows: Any, double: bool, behind: bool) -> Any:
        if is_net(each):
            return _net(each, rows, double)
        return _by_skl2onnx(each, type(each).__name__, rows, double, behind, targets=(OPSETS,))

    parts = list(_parts(inside(estimator)))
    by_column = any(hasattr(part, "transformers_") or type(part).__name__ in OWN or is_net(part) for part in parts)
    if not by_column and (not double or len(parts) == 1):
        encodes = getattr(inside(estimator), "_preprocessor", None) is not None  # as HistGradientBoosting does
        texts = [name for name in getattr(rows, "columns", ()) if not _is_number(rows[name])]
        if encodes or not texts:
            return _by_skl2onnx(estimator, kind, rows, double)
        if (in_steps := hoisted(estimator)) is None:
            raise Unsupported(
                f"{kind} takes columns of text ({', '.join(map(repr, texts[:3]))}) as a whole, which has no ONNX form; "
                "encode them in a step before it, as make_pipeline(ColumnTransformer(...), "
                f"{type(inside(estimator)).__name__}(...))"
            )
    else:
        in_steps = estimator
    columns = input_columns(estimator, rows)
    try:
        return StepGraph(step, double=double).made(in_steps, columns, type(estimator).__name__)
    except NeedsDouble:
        return StepGraph(step, double=True).made(in_steps, columns, type(estimator).__name__)


def is_net(part: Any) -> bool:
    """Whether a step, or what a search has found, is a net of skorch."""
    return any(cls.__module__.split(".")[0] == "skorch" for cls in type(inside(part)).__mro__)


def ends_in_net(estimator: Any) -> bool:
    """Whether the last step of a pipeline, or what a search has found, is a net of skorch."""
    last = inside(estimator)
    while steps := getattr(last, "steps", None):
        last = inside(steps[-1][1])
    return is_net(last)


def _net(net: Any, rows: Any, double: bool) -> Any:
    if double:
        raise Unsupported(f"{type(net).__name__} computes in float32")
    from workbench.convert.pytorch.skorch_net import step_model

    return step_model(net, np.shape(rows)[1])


def _is_number(column: Any) -> bool:
    try:
        return not is_text(column)
    except Unsupported:
        return False


def _by_skl2onnx(
    estimator: Any,
    kind: str,
    rows: Any,
    double: bool = False,
    behind: bool = False,
    targets: tuple[dict[str, int] | None, ...] = (None, OPSETS),  # some converters know the older operators only
) -> Any:
    estimator = inside(estimator)
    _check_analyzers(estimator, kind)
    types = _initial_types(rows, double)
    estimator = _convertible(estimator)
    failure: Exception | None = None
    for target in targets:
        try:
            with _truth_values_as_integers(), own_converters(estimator, behind):
                proto = _convert(estimator, types, target)
                return _with_plain_names(proto, hasattr(estimator, "predict_proba"))
        except Unsupported as error:  # of our own converters
            raise Unsupported(f"{kind} has no ONNX form: {error.message}") from error
        except Exception as error:  # skl2onnx raises whatever its converters do
            failure = failure or error
    reason = textwrap.shorten(str(failure), 300, placeholder=" …")
    if why := why_none(kind, parts_and_members(estimator), str(failure)):
        raise Unsupported(f"{kind} has no ONNX form: {why}") from failure
    if unknown := _UNKNOWN.match(reason):
        raise Unsupported(f"{kind} has no ONNX form: skl2onnx knows no conversion of {unknown[1]}") from failure
    if failure is not None and (told := too_old(failure)):
        raise Unsupported(f"{kind} was not exported: {told}") from failure
    raise Unsupported(f"{kind} has no ONNX form: skl2onnx failed on it ({reason})") from failure


def _convert(estimator: Any, types: list[tuple[str, Any]], target: dict[str, int] | None) -> Any:
    from skl2onnx import convert_sklearn

    name = type(estimator).__name__
    exact: dict[Any, Any] = {
        id(part): {"tokenexp": _WORDS} for part in parts_and_members(estimator) if _splits_by_words(part)
    }
    try:
        options = {**exact, id(estimator): {"zipmap": False} | exact.get(id(estimator), {})}
        proto = convert_sklearn(estimator, name=name, initial_types=types, options=options, target_opset=target)
    except NameError:  # it has no option zipmap, and so no dictionaries to give; a pipeline would pass it on to its end
        options = {**{id(part): {} for part in _parts(estimator)}, **exact}
        proto = convert_sklearn(estimator, name=name, initial_types=types, options=options, target_opset=target)
    if sys.platform == "linux":
        _name_a_locale(proto.graph)
    return proto


def _parts(estimator: Any) -> Iterator[Any]:
    """The fitted steps inside an estimator, in order, those of column transformers and unions included."""
    if steps := getattr(estimator, "steps", None):
        for _, step in steps:
            yield from _parts(step)
        return
    yield estimator
    inner = [each for _, each, _ in getattr(estimator, "transformers_", ())]
    inner += [each for _, each in getattr(estimator, "transformer_list", ())]
    for each in inner:
        if not isinstance(each, str):
            yield from _parts(each)


def parts_and_members(estimator: Any) -> Iterator[Any]:
    """The steps, and those inside each estimator that a step is made of, as a vote is of its voters."""
    for part in _parts(inside(estimator)):
        yield part
        for member in members(inside(part)):
            yield from parts_and_members(member)


def _convertible(estimator: Any) -> Any:
    """`estimator`, or what gives the same values in a form that skl2onnx takes."""
    if steps := getattr(estimator, "steps", None):
        found = [*((name, _plain(step)) for name, step in steps[:-1]), (steps[-1][0], _convertible(steps[-1][1]))]
        if all(new is step for (_, new), (_, step) in zip(found, steps, strict=True)):
            return estimator
        estimator = copy.copy(estimator)
        estimator.steps = found
        return estimator
    if hasattr(estimator, "get_support") and hasattr(estimator, "predict"):  # skl2onnx would export the selection alone
        from sklearn.pipeline import Pipeline

        return Pipeline([("select", estimator), ("estimator", estimator.estimator_)])
    return _plain(estimator)


def _plain(estimator: Any) -> Any:
    """`estimator`, or a copy that differs in the form of what it gives or keeps alone, which skl2onnx takes."""
    if inner := getattr(estimator, "transformers_", None):
        found = [(name, each if isinstance(each, str) else _convertible(each), chosen) for name, each, chosen in inner]
        if any(new is not old for (_, new, _), (_, old, _) in zip(found, inner, strict=True)):
            estimator = copy.copy(estimator)
            estimator.transformers_ = found
        return estimator
    name = type(estimator).__name__
    for of, setting, refused, taken in _FORMS:
        if name == of and getattr(estimator, setting, None) == refused:
            estimator = copy.copy(estimator)
            setattr(estimator, setting, taken)
    return _with_dense_rows(estimator)


def _with_dense_rows(estimator: Any) -> Any:
    """`estimator`, or a copy that keeps the rows which it compares others with in one array."""
    kept: dict[str, Any] = {name: getattr(estimator, name, None) for name in _STORED_ROWS}
    sparse = {name: rows for name, rows in kept.items() if hasattr(rows, "toarray")}
    for rows in sparse.values():
        if (size := 4 * rows.shape[0] * rows.shape[1]) > _DENSE_BYTES:
            raise Unsupported(
                f"{type(estimator).__name__} keeps {rows.shape[0]:,} rows of {rows.shape[1]:,} columns, mostly zeros, "
                f"which ONNX would store in {size / 1e9:.1f} GB; make fewer columns in the step before it "
                "(max_features=2000), or put TruncatedSVD(100) between"
            )
    if sparse:
        estimator = copy.copy(estimator)
        for name, rows in sparse.items():
            setattr(estimator, name, rows.toarray())
    return estimator


def _check_analyzers(estimator: Any, kind: str) -> None:
    """Unsupported for a vectoriser that counts letters inside of words, which ONNX cannot tell from those across, or
    whose pattern ONNX Runtime's library does not read."""
    for part in parts_and_members(estimator):
        pattern = getattr(part, "token_pattern", None)
        if isinstance(pattern, str) and (found := _LOOKS.search(pattern)):
            raise Unsupported(
                f"{kind} has no ONNX form: the token_pattern of its {type(part).__name__} has {found[0]!r}, and ONNX "
                "Runtime's patterns neither look around nor back; fit it with one that needs no such thing"
            )
        analyzer = getattr(part, "analyzer", "word")
        if analyzer == "char_wb" or callable(analyzer):
            own = "a function of yours" if callable(analyzer) else repr(analyzer)
            raise Unsupported(
                f"{kind} has no ONNX form: the analyzer of its {type(part).__name__} is {own}, and ONNX has the one "
                "that splits text into words; fit it with analyzer='word'"
            )


def _splits_by_words(part: Any) -> bool:
    """Whether a vectoriser splits text as it does by default, into words of any language."""
    if not hasattr(part, "build_analyzer") or getattr(part, "tokenizer", None) is not None:
        return False
    return (part.analyzer, part.token_pattern) == ("word", r"(?u)\b\w\w+\b")


def _name_a_locale(graph: Any) -> None:
    """ONNX Runtime's own choice for lower-casing text is en_US.UTF-8, which slim containers do not have."""
    from onnx import helper

    for node in graph.node:
        if node.op_type == "StringNormalizer" and not any(each.name == "locale" for each in node.attribute):
            node.attribute.append(helper.make_attribute("locale", "C.UTF-8"))


def _make_labels_truth_values(graph: Any) -> None:
    """A mask of 0 and 1 chooses other rows than one of truth values does."""
    from onnx import TensorProto, helper

    label = next((value for value in graph.output if value.name == "label"), None)
    if label is None or label.type.tensor_type.elem_type != TensorProto.INT64:
        return
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = ["label_number" if name == "label" else name for name in names]
    graph.node.append(helper.make_node("Cast", ["label_number"], ["label"], name="label_truth", to=TensorProto.BOOL))
    label.type.tensor_type.elem_type = TensorProto.BOOL


def _initial_types(rows: Any, double: bool) -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    number = DoubleTensorType if double else FloatTensorType
    if hasattr(rows, "columns") and any(is_text(rows[name]) for name in rows.columns):
        of = {True: StringTensorType, False: number}
        return [(str(name), of[is_text(rows[name])]([None, 1])) for name in rows.columns]
    if hasattr(rows, "columns"):
        return [(INPUT, number([None, len(rows.columns)]))]
    array = np.asarray(rows)
    return [(INPUT, (StringTensorType if is_text(array) else number)([None, *array.shape[1:]]))]


@contextlib.contextmanager
def _truth_values_as_integers() -> Iterator[None]:
    """skl2onnx 1.20 mixes truth values into lists of integers, which onnx with a newer protobuf refuses."""
    from onnx import helper

    original = helper.make_attribute

    def make_attribute(key: str, value: Any, *rest: Any, **named: Any) -> Any:
        if isinstance(value, list | tuple | np.ndarray):
            value = [int(item) if isinstance(item, bool | np.bool_) else item for item in value]
        return original(key, value, *rest, **named)

    helper.make_attribute = make_attribute
    try:
        yield
    finally:
        helper.make_attribute = original


def _with_plain_names(proto: Any, probabilities: bool) -> Any:
    """`proto` with inner names that tell the operator and its place, in place of skl2onnx's.

    Those hold counters that run on from one conversion to the next, so the same estimator would get another digest.
    Where the classifier has no probabilities, the output that skl2onnx calls so anyway is named for what it is.
    """
    names = {value.name: value.name for value in (*proto.graph.input, *proto.graph.output)}
    if not probabilities and "probabilities" in names:
        names["probabilities"] = "scores"
    for value in proto.graph.output:
        value.name = names[value.name]
    _rename(proto.graph, names, "")
    return proto


def _rename(graph: Any, names: dict[str, str], prefix: str) -> None:
    """Subtleness ahead: an inner graph sees the outer names, so it goes on with a copy of what they became."""
    for index, initializer in enumerate(graph.initializer):
        initializer.name = names.setdefault(initializer.name, f"{prefix}constant_{index}")
    if prefix:
        for kind, values in (("in", graph.input), ("out", graph.output)):
            for index, value in enumerate(values):
                names[value.name] = f"{prefix}{kind}_{index}"
                value.name = names[value.name]
        graph.name = prefix.rstrip("/")
    for index, node in enumerate(graph.node):
        node.name = f"{prefix}{node.op_type}_{index}"
        node.input[:] = [names[name] if name else "" for name in node.input]
        for place, name in enumerate(node.output):
            if name:
                names.setdefault(name, f"{node.name}:{place}")
        node.output[:] = [names[name] if name else "" for name in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                _rename(inner, dict(names), f"{node.name}/")
    del graph.value_info[:]

"""The node tests of the onnx package, each also with the first axis of its inputs made free."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx.backend.test.case.node as node_modules
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from tests.helpers.row_truth import BareModel

IR_VERSION, OPSET = 13, 26
"""The newest that ONNX Runtime 1.31 reads."""


@dataclass(frozen=True)
class NodeTest:
    name: str
    model: ModelProto
    inputs: dict[str, NDArray]


@dataclass(frozen=True)
class FreedTest:
    """A node test as a model of rows: some inputs are rows of any number, the others are constants of the model."""

    name: str
    model: ModelProto
    rows: dict[str, NDArray]


def modules() -> list[str]:
    """The files of onnx that hold node tests."""
    return sorted(each.name for each in pkgutil.iter_modules(node_modules.__path__))


def node_tests(names: Iterable[str]) -> list[NodeTest]:
    """The tests of these files whose inputs are tensors; IR version and opset are lowered where nothing needs more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their references divide by zero
        for name in names:
            importlib.import_module(f"{node_modules.__name__}.{name}")
    found = {}
    for case in node_modules._NodeTestCases:
        model, (arrays, _) = case.model, case.data_sets[0]
        inputs = [each.name for each in model.graph.input]
        tensors = [_array(each) for each in arrays]
        if len(inputs) == len(tensors) and all(tensor is not None for tensor in tensors):
            found[case.name] = NodeTest(case.name, lowered(model), dict(zip(inputs, tensors, strict=True)))
    return list(found.values())


def newer_node_tests() -> list[tuple[NodeTest, dict[str, NDArray]]]:
    """As they are, those that say a newer IR version or opset than ONNX Runtime reads, with the answers that onnx gives
    for them; those whose inputs and outputs are tensors."""
    node_tests(modules())
    found = {}
    for case in node_modules._NodeTestCases:
        model, (inputs, outputs) = case.model, case.data_sets[0]
        opset = max((each.version for each in model.opset_import if not each.domain), default=0)
        sent, expected = [_array(each) for each in inputs], [_array(each) for each in outputs]
        tensors = len(sent) == len(model.graph.input) and all(each is not None for each in (*sent, *expected))
        if tensors and (model.ir_version > IR_VERSION or opset > OPSET):
            feeds = {each.name: array for each, array in zip(model.graph.input, sent, strict=True)}
            answers = {each.name: array for each, array in zip(model.graph.output, expected, strict=True)}
            found[case.name] = NodeTest(case.name, model, feeds), answers
    return list(found.values())


def lowered(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = min(copy.ir_version, IR_VERSION)
    for opset in copy.opset_import:
        if opset.domain == "" and opset.version > OPSET and not _needs(copy, opset.version):
            opset.version = OPSET
    return copy


def _needs(model: ModelProto, opset: int) -> bool:
    """True where an operator of the graph has a newer form than ONNX Runtime reads."""
    for node in model.graph.node:
        known = node.domain == "" and onnx.defs.has(node.op_type, "")
        if known and onnx.defs.get_schema(node.op_type, opset, "").since_version > OPSET:
            return True
    return False


def _array(value: object) -> NDArray | None:
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None


def free_axis(test: NodeTest, axis: int = 0) -> FreedTest | None:
    """The test with an axis of its inputs made free, of those as long there as the first one or else of one of them;
    None where ONNX Runtime then runs neither a single row nor twice as many.

    If it is not the first axis, the model turns its inputs and outputs, which have the rows in front.
    """
    tensors = [name for name, array in test.inputs.items() if array.ndim > axis]
    if not tensors:
        return None
    alike = [name for name in tensors if test.inputs[name].shape[axis] == test.inputs[tensors[0]].shape[axis]]
    for names in _distinct([alike, *([name] for name in tensors)]):
        freed = _freed(test, names, axis)
        if freed is not None:
            return freed
    return None


def _distinct(choices: Sequence[list[str]]) -> Iterator[list[str]]:
    seen: list[list[str]] = [[]]
    for names in choices:
        if names not in seen:
            seen.append(names)
            yield names


def _freed(test: NodeTest, names: list[str], axis: int) -> FreedTest | None:
    rows = {name: np.moveaxis(test.inputs[name], axis, 0) for name in names}
    count = len(rows[names[0]])
    if not count:
        return None
    model = ModelProto()
    model.CopyFrom(test.model)
    graph = model.graph
    del graph.value_info[:]
    for info in graph.input:
        if info.name not in rows:
            try:
                graph.initializer.append(numpy_helper.from_array(test.inputs[info.name], info.name))
            except (TypeError, ValueError, NotImplementedError):
                return None
    free = [
        helper.make_tensor_value_info(info.name, info.type.tensor_type.elem_type, ["N", *rows[info.name].shape[1:]])
        for info in graph.input
        if info.name in rows
    ]
    del graph.input[:]
    graph.input.extend(free)
    for info in graph.output:
        if not info.type.HasField("tensor_type"):
            return None
        info.type.tensor_type.ClearField("shape")
    if axis:
        rows = _turn_inputs(graph, rows, axis)
    calls = [rows, {name: np.concatenate([each, each]) for name, each in rows.items()}]
    calls.append({name: each[:1] for name, each in rows.items()})
    try:
        shapes = _shapes(model, calls)
        if shapes is not None and axis and _turn_outputs(graph, shapes):
            shapes = _shapes(model, calls)
    except Exception:
        return None
    if shapes is None:
        return None
    for info in graph.output:
        _declare(info, shapes[info.name], (count, 2 * count, 1))
    return FreedTest(f"{test.name}, axis {axis}" if axis else test.name, model, rows)


def _shapes(model: ModelProto, calls: Sequence[dict[str, NDArray]]) -> dict[str, list[tuple[int, ...]]] | None:
    """The shapes of each output in several runs; None where an output has no rank of its own."""
    run = BareModel(model)
    answers = [run(call) for call in calls]
    shapes = {name: [np.shape(answer[name]) for answer in answers] for name in run.outputs}
    return shapes if all(len({len(shape) for shape in each}) == 1 for each in shapes.values()) else None


def _turn_inputs(graph: GraphProto, rows: dict[str, NDArray], axis: int) -> dict[str, NDArray]:
    turns = []
    for info in graph.input:
        order = [*range(1, axis + 1), 0, *range(axis + 1, rows[info.name].ndim)]
        turns.append(helper.make_node("Transpose", [f"rows_{info.name}"], [info.name], perm=order))
        info.name = f"rows_{info.name}"
    nodes = [*turns, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return {f"rows_{name}": array for name, array in rows.items()}


def _turn_outputs(graph: GraphProto, shapes: dict[str, list[tuple[int, ...]]]) -> bool:
    """Puts the one axis of an output that changed with the rows in front."""
    turned = False
    for info in graph.output:
        free = [axis for axis, sizes in enumerate(zip(*shapes[info.name], strict=True)) if len(set(sizes)) > 1]
        if len(free) == 1 and free[0]:
            order = [free[0], *(axis for axis in range(len(shapes[info.name][0])) if axis != free[0])]
            graph.node.append(helper.make_node("Transpose", [info.name], [f"rows_{info.name}"], perm=order))
            info.name = f"rows_{info.name}"
            turned = True
    return turned


def _declare(info: ValueInfoProto, shapes: Sequence[tuple[int, ...]], rows: tuple[int, int, int]) -> None:
    """The shape of an output as runs of so many rows showed it: sizes that differ are free."""
    dims: list[int | str | None] = []
    for sizes in zip(*shapes, strict=True):
        dims.append("N" if sizes == rows and len(set(rows)) > 1 else sizes[0] if len(set(sizes)) == 1 else None)
    info.CopyFrom(helper.make_tensor_value_info(info.name, info.type.tensor_type.elem_type, dims))

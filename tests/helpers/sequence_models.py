"""Models that keep state between requests, as Triton's example clients expect them, with their config.pbtxt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto, helper

from tests import models

INTS = "int32_false_true: [ 0, 1 ]"

DYNA = "oldest { max_candidate_sequences: 1024 max_queue_delay_microseconds: 2000 }"
"""The strategy of Triton's simple_dyna_sequence."""


def control(name: str, kind: str = "", values: str = INTS) -> str:
    """A control_input of the configuration."""
    return f'control_input {{ name: "{name}" control {{ kind: CONTROL_SEQUENCE_{kind or name} {values} }} }}\n'


def state(initial: str = "", dims: str = "[ 1 ]") -> str:
    """The state of the models here that have one."""
    return f'state {{ input_name: "STATE" output_name: "NEW" data_type: TYPE_INT32 dims: {dims} {initial} }}\n'


def config(sequences: str, *, max_batch_size: int = 8, more: str = "") -> str:
    """The config.pbtxt of any model here, with this sequence_batching. A busy machine needs more than the usual 1 s
    between steps."""
    if "max_sequence_idle" not in sequences:
        sequences += " max_sequence_idle_microseconds: 60000000"
    return f"""
        platform: "onnxruntime_onnx"
        max_batch_size: {max_batch_size}
        sequence_batching {{ {sequences} }}
        input {{ name: "INPUT" data_type: TYPE_INT32 dims: [ 1 ] }}
        output {{ name: "OUTPUT" data_type: TYPE_INT32 dims: [ 1 ] }}
        {more}
    """


def save(repository: Path, name: str, model: ModelProto, text: str) -> Path:
    """The model's folder in a repository."""
    models.save(model, repository / name / "1" / "model.onnx")
    (repository / name / "config.pbtxt").write_text(text)
    return repository / name


def _model(
    nodes: Sequence[NodeProto], controls: Sequence[str], rows: models.Dim, corrid: str = "", *, state: bool = False
) -> ModelProto:
    shape = [rows, 1]
    inputs = [models.value(name, "INT32", shape) for name in ("INPUT", *controls, *(["STATE"] if state else []))]
    if corrid:
        inputs.append(models.value("CORRID", corrid, shape))
    outputs = [models.value(name, "INT32", shape) for name in ("OUTPUT", *(["NEW"] if state else []))]
    return models.model(list(nodes), inputs, outputs)


def _sum() -> list[NodeProto]:
    """sum = INPUT where START, else STATE + INPUT."""
    return [
        helper.make_node("Cast", ["START"], ["starts"], to=TensorProto.BOOL),
        helper.make_node("Add", ["STATE", "INPUT"], ["next"]),
        helper.make_node("Where", ["starts", "INPUT", "next"], ["sum"]),
    ]


def accumulator(rows: models.Dim = "rows") -> ModelProto:
    """OUTPUT is the sum of the inputs since START, and so is the state."""
    return _model(
        [*_sum(), helper.make_node("Identity", ["sum"], ["OUTPUT"]), helper.make_node("Identity", ["sum"], ["NEW"])],
        ["START"],
        rows,
        state=True,
    )


def adder(rows: models.Dim = "rows") -> ModelProto:
    """As `accumulator`, but without START: it begins with the state that it is given."""
    nodes = [helper.make_node("Add", ["STATE", "INPUT"], ["OUTPUT"]), helper.make_node("Identity", ["OUTPUT"], ["NEW"])]
    return _model(nodes, [], rows, state=True)


def grower(more: models.Dim = "more") -> ModelProto:
    """A state that grows by the elements of INPUT with each step; OUTPUT is their sum."""
    nodes = [
        helper.make_node("Constant", [], ["axes"], value_ints=[1]),
        helper.make_node("Concat", ["STATE", "INPUT"], ["NEW"], axis=1),
        helper.make_node("ReduceSum", ["NEW", "axes"], ["OUTPUT"], keepdims=1),
    ]
    inputs = [models.value("INPUT", "INT32", ["rows", more]), models.value("STATE", "INT32", ["rows", "before"])]
    outputs = [models.value("OUTPUT", "INT32", ["rows", 1]), models.value("NEW", "INT32", ["rows", "after"])]
    return models.model(nodes, inputs, outputs)


def tracker() -> ModelProto:
    """The model of docs/sequences.md: OUTPUT is INPUT plus the first of STATE, NEW_STATE is 1 more; 1 where START."""
    nodes = [
        helper.make_node("Cast", ["START"], ["starts"], to=TensorProto.BOOL),
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Constant", [], ["begin"], value_ints=[0]),
        helper.make_node("Constant", [], ["end"], value_ints=[1]),
        helper.make_node("Constant", [], ["axis"], value_ints=[1]),
        helper.make_node("Add", ["STATE", "one"], ["next"]),
        helper.make_node("Where", ["starts", "one", "next"], ["NEW_STATE"]),
        helper.make_node("Slice", ["NEW_STATE", "begin", "end", "axis"], ["first"]),
        helper.make_node("Add", ["INPUT", "first"], ["OUTPUT"]),
    ]
    inputs = [("INPUT", "FP32", 4), ("START", "INT32", 1), ("STATE", "FP32", 16)]
    outputs = [("OUTPUT", "FP32", 4), ("NEW_STATE", "FP32", 16)]
    given, made = (
        [models.value(name, kind, ["rows", size]) for name, kind, size in each] for each in (inputs, outputs)
    )
    return models.model(nodes, given, made)


def growing() -> str:
    """Its configuration."""
    initial = 'initial_state { name: "none" data_type: TYPE_INT32 dims: [ 0 ] zero_data: true }'
    return config("oldest { max_candidate_sequences: 8 }" + state(initial, "[ -1 ]"))


def simple_sequence() -> ModelProto:
    """READY * (INPUT + START): as Triton's example, it keeps no state."""
    nodes = [
        helper.make_node("Add", ["INPUT", "START"], ["sum"]),
        helper.make_node("Mul", ["READY", "sum"], ["OUTPUT"]),
    ]
    return _model(nodes, ["START", "READY"], "rows")


def simple_dyna_sequence() -> ModelProto:
    """READY * (INPUT + START + END * CORRID), as Triton's example."""
    nodes = [
        helper.make_node("Cast", ["CORRID"], ["id"], to=TensorProto.INT32),
        helper.make_node("Add", ["INPUT", "START"], ["begun"]),
        helper.make_node("Mul", ["END", "id"], ["last"]),
        helper.make_node("Add", ["begun", "last"], ["sum"]),
        helper.make_node("Mul", ["READY", "sum"], ["OUTPUT"]),
    ]
    return _model(nodes, ["START", "END", "READY"], "rows", "UINT64")


def simple_string_dyna_sequence() -> ModelProto:
    """The sum of the inputs since START; with END also the id, a text of digits."""
    nodes = [
        *_sum(),
        helper.make_node("Cast", ["CORRID"], ["id"], to=TensorProto.INT32),
        helper.make_node("Mul", ["END", "id"], ["last"]),
        helper.make_node("Add", ["sum", "last"], ["OUTPUT"]),
        helper.make_node("Identity", ["sum"], ["NEW"]),
    ]
    return _model(nodes, ["START", "END"], "rows", "BYTES", state=True)


def save_examples(repository: Path) -> None:
    """The models of Triton's sequence clients, under their names."""
    start, end, ready = control("START"), control("END"), control("READY")
    save(repository, "simple_sequence", simple_sequence(), config(start + ready))
    corrid = control("CORRID", values="data_type: TYPE_UINT64")
    idle = "max_sequence_idle_microseconds: 10000000"
    save(
        repository,
        "simple_dyna_sequence",
        simple_dyna_sequence(),
        config(f"{idle} {DYNA}" + start + end + ready + corrid),
    )
    text = control("CORRID", values="data_type: TYPE_STRING")
    named = config(f"{idle} {DYNA}" + start + end + text + state())
    save(repository, "simple_string_dyna_sequence", simple_string_dyna_sequence(), named)

"""ONNX models for the tests: small, exact, and built in the process that asks for them.

Each function gives a `ModelProto`; `save` writes one. IR version and opset are pinned low enough for every
ONNX Runtime that the project allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

Dim = int | str | None
"""A fixed size, a named free axis, or a nameless free axis."""

OPSET = 18
IR_VERSION = 9

ONNX_TYPES: dict[str, int] = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
"""The protocol's datatype name -> the ONNX element type."""


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    initializers: Sequence[TensorProto] = (),
    *,
    domains: Sequence[str] = (),
) -> ModelProto:
    """A model of one graph; `domains` are operator sets wanted beside ONNX's own."""
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), list(initializers))
    opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="tests")


def value(name: str, datatype: str, shape: Sequence[Dim]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, ONNX_TYPES[datatype], list(shape))


def save(proto: ModelProto, path: Path) -> Path:
    """`path`, with the model written into it and its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(proto.SerializeToString())
    return path


# Models that run.


def identity(datatype: str = "FP32", shape: Sequence[Dim] = ("batch", 4)) -> ModelProto:
    """y = x, of any datatype of the protocol."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [value("x", datatype, shape)], [value("y", datatype, shape)])


def add_constant(amount: float = 1.0, shape: Sequence[Dim] = ("batch", 4)) -> ModelProto:
    """y = x + amount in FP32: versions told apart by what they answer."""
    constant = numpy_helper.from_array(np.float32(amount).reshape(()), "amount")
    node = helper.make_node("Add", ["x", "amount"], ["y"])
    return model([node], [value("x", "FP32", shape)], [value("y", "FP32", shape)], [constant])


def mlp(sizes: Sequence[int] = (16, 32, 16), *, seed: int = 0, batch: Dim = "batch") -> ModelProto:
    """x (batch, sizes[0]) -> y (batch, sizes[-1]) in FP32, Relu between the layers; rows are independent."""
    generator = np.random.default_rng(seed)
    nodes, weights, tensor = [], [], "x"
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes), 1):
        last = layer == len(sizes) - 1
        scale = np.float32(np.sqrt(2 / fan_in))
        w = generator.standard_normal((fan_in, fan_out), dtype=np.float32) * scale
        weights.append(numpy_helper.from_array(w, f"w{layer}"))
        weights.append(numpy_helper.from_array(np.zeros(fan_out, np.float32), f"b{layer}"))
        out = "y" if last else f"h{layer}"
        nodes.append(helper.make_node("Gemm", [tensor, f"w{layer}", f"b{layer}"], [out]))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"a{layer}"]))
            tensor = f"a{layer}"
    return model(nodes, [value("x", "FP32", [batch, sizes[0]])], [value("y", "FP32", [batch, sizes[-1]])], weights)


def batch_mixing(features: int = 4) -> ModelProto:
    """y = x - mean(x, axis=0): a free first axis whose rows are NOT independent."""
    nodes = [
        helper.make_node("Constant", [], ["axis"], value=numpy_helper.from_array(np.array([0], np.int64))),
        helper.make_node("ReduceMean", ["x", "axis"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return model(nodes, [value("x", "FP32", ["batch", features])], [value("y", "FP32", ["batch", features])])


def refusing_no_rows() -> ModelProto:
    """A `batch_mixing` whose last node, a Reshape to (0, -1), does not take 0 rows."""
    proto = batch_mixing()
    proto.graph.node[-1].output[0] = "difference"
    proto.graph.node.append(helper.make_node("Reshape", ["difference", "shape"], ["y"]))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([0, -1]), "shape"))
    return proto


def strings() -> ModelProto:
    """text (batch, n) BYTES -> joined (batch, n) BYTES, each element with "!" put after it."""
    mark = helper.make_tensor("mark", TensorProto.STRING, [], [b"!"])
    node = helper.make_node("StringConcat", ["text", "mark"], ["joined"])
    proto = model([node], [value("text", "BYTES", ["batch", "n"])], [value("joined", "BYTES", ["batch", "n"])], [mark])
    proto.opset_import[0].version = 20
    return proto


def one_letter() -> ModelProto:
    """x (n) BYTES -> y (n) BOOL, whether it is one letter: the model reads its strings."""
    node = helper.make_node("RegexFullMatch", ["x"], ["y"], pattern=".")
    proto = model([node], [value("x", "BYTES", ["n"])], [value("y", "BOOL", ["n"])])
    proto.opset_import[0].version = 20
    return proto


def bfloat16_cast() -> ModelProto:
    """wide (batch, n) FP32 -> narrow BF16; and short (batch, n) BF16 -> long FP32. Two casts in one model."""
    nodes = [
        helper.make_node("Cast", ["wide"], ["narrow"], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", ["short"], ["long"], to=TensorProto.FLOAT),
    ]
    inputs = [value("wide", "FP32", ["batch", "n"]), value("short", "BF16", ["batch", "m"])]
    outputs = [value("narrow", "BF16", ["batch", "n"]), value("long", "FP32", ["batch", "m"])]
    return model(nodes, inputs, outputs)


def two_in_two_out() -> ModelProto:
    """a, b (batch, 3) FP32 -> total = a + b, and count (batch, 1) INT64: the sum of the whole parts of a row of `a`."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["total"]),
        helper.make_node("Cast", ["a"], ["whole"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["whole", "axis"], ["count"], keepdims=1),
    ]
    axis = numpy_helper.from_array(np.array([1], np.int64), "axis")
    inputs = [value("a", "FP32", ["batch", 3]), value("b", "FP32", ["batch", 3])]
    outputs = [value("total", "FP32", ["batch", 3]), value("count", "INT64", ["batch", 1])]
    return model(nodes, inputs, outputs, [axis])


def columns(count: int) -> ModelProto:
    """y (batch, count) FP32: the inputs column_0 to column_`count - 1`, (batch, 1) each, side by side."""
    names = [f"column_{n}" for n in range(count)]
    node = helper.make_node("Concat", names, ["y"], axis=1)
    inputs = [value(name, "FP32", ["batch", 1]) for name in names]
    return model([node], inputs, [value("y", "FP32", ["batch", count])])


def zipmap(labels: Sequence[str] | Sequence[int] = ("cat", "dog")) -> ModelProto:
    """x (batch, classes) FP32 -> best (batch) INT64 and chances: x as a sequence of dicts, one a row, which is what
    skl2onnx makes of a classifier by default."""
    texts = isinstance(labels[0], str)
    names = {"classlabels_strings" if texts else "classlabels_int64s": list(labels)}
    nodes = [
        helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0),
        helper.make_node("ZipMap", ["x"], ["chances"], domain="ai.onnx.ml", **names),
    ]
    probability = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    key = TensorProto.STRING if texts else TensorProto.INT64
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(key, probability))
    outputs = [value("best", "INT64", ["batch"]), helper.make_value_info("chances", kind)]
    return model(nodes, [value("x", "FP32", ["batch", len(labels)])], outputs, domains=["ai.onnx.ml"])


def stamped(proto: ModelProto, opset: int = 28, ir_version: int = 14) -> ModelProto:
    """`proto`, saying these versions: by default those that onnx.helper of onnx 1.23 writes."""
    proto.ir_version = ir_version
    for scope in (proto, *proto.functions):
        for entry in scope.opset_import:
            if not entry.domain:
                entry.version = opset
    return proto


def ort_format(proto: ModelProto, path: Path) -> Path:
    """`path`, with the model in it in ONNX Runtime's own format."""
    from workbench.runtimes.ort import QUIET, ort

    options = ort.SessionOptions()
    options.log_severity_level = QUIET
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return path


def lstm(width: int = 3, hidden: int = 2, steps: Dim = 4) -> ModelProto:
    """y (batch, hidden) FP32: the last state of an LSTM over x (batch, steps, width)."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["in_time"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["in_time", "w", "r"], ["", "last"], hidden_size=hidden),
        helper.make_node("Squeeze", ["last", "first"], ["y"]),
    ]
    weights = {
        "w": np.full((1, 4 * hidden, width), 0.5, np.float32),
        "r": np.full((1, 4 * hidden, hidden), 0.25, np.float32),
        "first": np.array([0]),
    }
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    outputs = [value("y", "FP32", ["batch", hidden])]
    return model(nodes, [value("x", "FP32", ["batch", steps, width])], outputs, constants)


def unranked(datatype: str = "FP32") -> ModelProto:
    """y = x of any shape: the file does not say how many axes they have."""
    node = helper.make_node("Identity", ["x"], ["y"])
    inputs, outputs = ([helper.make_tensor_value_info(name, ONNX_TYPES[datatype], None)] for name in "xy")
    return model([node], inputs, outputs)


def scalar() -> ModelProto:
    """y = 2 x, both of shape ()."""
    two = numpy_helper.from_array(np.float32(2).reshape(()), "two")
    node = helper.make_node("Mul", ["x", "two"], ["y"])
    return model([node], [value("x", "FP32", [])], [value("y", "FP32", [])], [two])


def fixed_batch(rows: int = 2, features: int = 4) -> ModelProto:
    """y = x with no free axis at all."""
    return identity("FP32", (rows, features))


def free_axes(rank: int = 3) -> ModelProto:
    """y = x in FP32 with every axis free, the last one nameless."""
    return identity("FP32", [*(f"axis{n}" for n in range(rank - 1)), None])


def gather(features: int = 4) -> ModelProto:
    """y = x[:, i], columns picked by `i` (INT64): an index out of range fails inside the runtime, not in its checks."""
    node = helper.make_node("Gather", ["x", "i"], ["y"], axis=1)
    inputs = [value("x", "FP32", ["batch", features]), value("i", "INT64", ["n"])]
    return model([node], inputs, [value("y", "FP32", ["batch", "n"])])


def lookup(entries: int = 4) -> ModelProto:
    """y = float(x), looked up in a table of 0 to `entries` - 1: any other number is refused by its Gather, "table"."""
    table = numpy_helper.from_array(np.arange(entries, dtype=np.float32), "values")
    node = helper.make_node("Gather", ["values", "x"], ["y"], name="table")
    return model([node], [value("x", "INT64", ["batch", 1])], [value("y", "FP32", ["batch", 1])], [table])


def branch() -> ModelProto:
    """y = x + 1 where sum(x) > 0, else x - 1: an If with a constant inside each subgraph."""
    then = _shifted("then", 1.0)
    other = _shifted("other", -1.0)
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=then, else_branch=other),
    ]
    zero = numpy_helper.from_array(np.float32(0).reshape(()), "zero")
    return model(nodes, [value("x", "FP32", ["n"])], [value("y", "FP32", ["n"])], [zero])


def loop() -> ModelProto:
    """y = x + n, adding one n (INT64, shape ()) times in a Loop: `n` sets how long a run takes."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "one"], ["next"]),
            helper.make_node("Identity", ["going"], ["still"]),
        ],
        "body",
        [value("step", "INT64", []), value("going", "BOOL", []), value("state", "FP32", ["m"])],
        [value("still", "BOOL", []), value("next", "FP32", ["m"])],
        [numpy_helper.from_array(np.float32(1).reshape(()), "one")],
    )
    node = helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)
    return model([node], [value("x", "FP32", ["m"]), value("n", "INT64", [])], [value("y", "FP32", ["m"])])


def slow(turns: int = 10_000) -> ModelProto:
    """x + turns, rows of 4, added one by one: some milliseconds a run, whatever its rows."""
    proto = loop()
    proto.graph.node[0].input[0] = "turns"
    del proto.graph.input[1]
    proto.graph.initializer.append(numpy_helper.from_array(np.int64(turns).reshape(()), "turns"))
    body = proto.graph.node[0].attribute[0].g
    for spec in (proto.graph.input[0], proto.graph.output[0], body.input[2], body.output[1]):
        spec.CopyFrom(value(spec.name, "FP32", ["batch", 4]))
    return proto


def endless() -> ModelProto:
    """A `loop` whose `n` is so large that no run of it ends."""
    proto = loop()
    del proto.graph.input[1]
    proto.graph.initializer.append(numpy_helper.from_array(np.int64(10**15).reshape(()), "n"))
    return proto


def _shifted(name: str, amount: float) -> GraphProto:
    constant = numpy_helper.from_array(np.float32(amount).reshape(()))
    nodes = [
        helper.make_node("Constant", [], [f"{name}_by"], value=constant),
        helper.make_node("Add", ["x", f"{name}_by"], [f"{name}_y"]),
    ]
    return helper.make_graph(nodes, name, [], [value(f"{name}_y", "FP32", ["n"])])


def function_call() -> ModelProto:
    """y = x + 1, the addition made in a model-local function."""
    constant = helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(np.float32(1).reshape(())))
    body = [constant, helper.make_node("Add", ["a", "one"], ["b"])]
    opsets = [helper.make_opsetid("", OPSET)]
    function = helper.make_function("local", "Increment", ["a"], ["b"], body, opsets)
    node = helper.make_node("Increment", ["x"], ["y"], domain="local")
    proto = model([node], [value("x", "FP32", ["n"])], [value("y", "FP32", ["n"])], domains=["local"])
    proto.functions.append(function)
    return proto


# Models that do not load, each for one reason.


def unsupported_operator() -> ModelProto:
    """A valid file whose one operator no runtime knows."""
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="example.unknown")
    shape = ["batch", 4]
    return model([node], [value("x", "FP32", shape)], [value("y", "FP32", shape)], domains=["example.unknown"])


def sequence_output() -> ModelProto:
    """An output that is a sequence of tensors, which the protocol cannot carry."""
    node = helper.make_node("SequenceConstruct", ["x"], ["y"])
    out = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, ["batch", 4])
    return model([node], [value("x", "FP32", ["batch", 4])], [out])


def complex_output() -> ModelProto:
    """x (batch, n) FP32 -> a complex64 tensor, a datatype the protocol does not have."""
    info = helper.make_tensor_value_info("y", TensorProto.COMPLEX64, ["n"])
    source = helper.make_tensor_value_info("x", TensorProto.COMPLEX64, ["n"])
    return model([helper.make_node("Identity", ["x"], ["y"])], [source], [info])


def nested(depth: int) -> bytes:
    """A serialised model whose If branches lie `depth` deep; made as bytes, since protobuf refuses to build it."""
    # GraphProto.node=1 { NodeProto.attribute=5 { AttributeProto.g=6 { graph } } }, from the innermost outwards.
    heads, size = list[bytes](), 0
    for number in (*(6, 5, 1) * depth, 7):
        heads.append(bytes([number << 3 | 2]) + _varint(size))
        size += len(heads[-1])
    return b"\x08\x09" + b"".join(reversed(heads))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


# External data.

EXTERNAL_WEIGHTS: NDArray[np.float32] = np.arange(4, dtype=np.float32)


def external_tensor(location: str, *, offset: int | None = None, length: int | None = None) -> TensorProto:
    """A tensor of 4 FP32 that says its content lies in the file `location`, whatever that is."""
    tensor = numpy_helper.from_array(EXTERNAL_WEIGHTS, "w")
    set_external_data(tensor, location, offset=offset, length=length)
    tensor.ClearField("raw_data")
    return tensor


def external(location: str = "weights.bin", *, offset: int | None = None, length: int | None = None) -> ModelProto:
    """y = x + w, with w (4 FP32: EXTERNAL_WEIGHTS) in the file `location` beside the model."""
    tensor = external_tensor(location, offset=offset, length=length)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    return model([node], [value("x", "FP32", ["batch", 4])], [value("y", "FP32", ["batch", 4])], [tensor])


def save_external(path: Path, location: str = "weights.bin") -> Path:
    """An `external` model at `path`, with its weights beside it."""
    save(external(location), path)
    weights = path.parent / location
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(EXTERNAL_WEIGHTS.tobytes())
    return path


def external_everywhere(location: str) -> dict[str, ModelProto]:
    """Place in a model -> a model that hides an external tensor exactly there."""
    tensor = external_tensor(location)
    sparse = onnx.SparseTensorProto(values=tensor, indices=external_tensor("weights.bin"), dims=[4])
    indices = onnx.SparseTensorProto(values=numpy_helper.from_array(EXTERNAL_WEIGHTS, "w"), indices=tensor, dims=[4])
    inner = helper.make_graph([], "inner", [], [], [tensor])
    places: dict[str, ModelProto] = {"initializer": external(location)}

    def with_attribute(place: str, attribute: AttributeProto) -> None:
        proto = identity()
        proto.graph.node[0].attribute.append(attribute)
        places[place] = proto

    for place, content in (("sparse values", sparse), ("sparse indices", indices)):
        proto = identity()
        proto.graph.sparse_initializer.append(content)
        places[place] = proto
    with_attribute("tensor attribute", helper.make_attribute("value", tensor))
    with_attribute("tensor list attribute", helper.make_attribute("values", [tensor]))
    with_attribute("sparse attribute", helper.make_attribute("sparse_value", sparse))
    with_attribute("sparse list attribute", helper.make_attribute("sparse_values", [indices]))
    with_attribute("subgraph", helper.make_attribute("body", inner))
    with_attribute("subgraph list", helper.make_attribute("bodies", [inner]))
    with_attribute(
        "subgraph of a subgraph",
        helper.make_attribute(
            "body",
            helper.make_graph([helper.make_node("If", [], [], then_branch=inner)], "outer", [], []),
        ),
    )

    function = identity()
    function.functions.append(
        helper.make_function(
            "local", "F", ["a"], ["b"], [helper.make_node("Constant", [], ["b"], value=tensor)],
            [helper.make_opsetid("", OPSET)],
        )
    )  # fmt: skip
    places["function"] = function

    defaults = identity()
    defaults.functions.append(
        helper.make_function(
            "local", "G", ["a"], ["b"], [], [helper.make_opsetid("", OPSET)],
            attribute_protos=[helper.make_attribute("default", tensor)],
        )
    )  # fmt: skip
    places["default of a function's attribute"] = defaults

    for place in ("initialization", "algorithm"):
        proto = identity()
        getattr(proto.training_info.add(), place).CopyFrom(inner)
        places[f"training {place}"] = proto
    return places

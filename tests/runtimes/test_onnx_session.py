from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import models
from workbench.config import ModelConfig
from workbench.core.model import FREE, TensorSpec
from workbench.core.tensor import DTYPES, Array
from workbench.errors import ExecutionError, InvalidInput, ModelError
from workbench.runtimes.onnx import OnnxSession, open_onnx

Open = Callable[..., OnnxSession]

CPU = ModelConfig(device="cpu")


@pytest.fixture
def open_model(tmp_path: Path) -> Iterator[Open]:
    opened: list[OnnxSession] = []

    def open_(proto: onnx.ModelProto, config: ModelConfig = CPU, instances: int = 1) -> OnnxSession:
        session = open_onnx(models.save(proto, tmp_path / "model.onnx"), config, instances=instances)
        opened.append(session)
        return session

    yield open_
    for session in opened:
        session.close()


def sample(datatype: str) -> Array:
    if datatype == "BYTES":
        return np.array([[b"", b"plain", "Grüße".encode(), b"zero\0inside"]], np.object_)
    if datatype == "BOOL":
        return np.array([[True, False, False, True]])
    dtype = DTYPES[datatype]
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.array([[limits.min, 0, 1, limits.max]], dtype)
    return np.array([[0, -1.5, np.inf, 256]], dtype)


@pytest.mark.parametrize("datatype", DTYPES)
@pytest.mark.parametrize("fit", ["as is", "strided", "empty"])
def test_every_datatype_of_the_protocol_goes_through_unchanged(open_model: Open, datatype: str, fit: str) -> None:
    x = sample(datatype)
    if fit == "strided":
        x = np.repeat(x, 2, axis=1)[:, ::2]
    if fit == "empty":
        x = x[:0]
    session = open_model(models.identity(datatype))
    assert session.signature.inputs == (TensorSpec("x", datatype, (FREE, 4)),)
    (y,) = session.run({"x": x}, ["y"])
    assert y.dtype == DTYPES[datatype]
    assert y.shape == x.shape
    # By their bytes, because a float type without infinity has NaN there.
    assert y.tolist() == x.tolist() if datatype == "BYTES" else y.tobytes() == x.tobytes()
    assert not np.shares_memory(x, y)


def test_bfloat16_is_computed_with_and_mixes_with_other_datatypes(open_model: Open) -> None:
    session = open_model(models.bfloat16_cast())
    wide = np.array([[1.0, 3.14159, -2.5]], np.float32)
    short = np.array([[0.5], [7.0]], ml_dtypes.bfloat16)
    long, narrow = session.run({"wide": wide, "short": short}, ["long", "narrow"])
    assert narrow.dtype == ml_dtypes.bfloat16
    assert narrow.tolist() == wide.astype(ml_dtypes.bfloat16).tolist()
    assert long.dtype == np.float32
    assert long.tolist() == [[0.5], [7.0]]
    (only,) = session.run({"wide": wide, "short": short}, ["long"])
    assert only.tolist() == [[0.5], [7.0]]


def test_bfloat16_answers_stay_valid_after_later_runs(open_model: Open) -> None:
    session = open_model(models.identity("BF16"))
    answers = [session.run({"x": np.full((1, 4), n, ml_dtypes.bfloat16)}, ["y"])[0] for n in range(50)]
    assert [float(answer[0, 0]) for answer in answers] == [float(n) for n in range(50)]


def test_strings_are_worked_on(open_model: Open) -> None:
    session = open_model(models.strings())
    text = np.array([[b"a", "ü".encode()], [b"", b"d"]], np.object_)
    (joined,) = session.run({"text": text}, ["joined"])
    assert joined.tolist() == [[b"a!", "ü!".encode()], [b"!", b"d!"]]


@pytest.mark.parametrize("other", [b"fine", b"\xff"])
@pytest.mark.parametrize("element", [3, None, "text"])
def test_a_string_that_is_none_is_refused_by_the_inputs_name(open_model: Open, other: bytes, element: object) -> None:
    session = open_model(models.strings())
    with pytest.raises(InvalidInput, match=r"'text'.*must be bytes"):
        session.run({"text": np.array([[other, element]], np.object_)}, ["joined"])


def test_bytes_that_are_not_utf8_are_moved_as_they_are(open_model: Open) -> None:
    session = open_model(models.strings())
    private = [chr(point).encode() for point in (0x10FE80, 0x10FEFF, 0x10FE7F, 0x10FF00)]  # stand-ins, and beside them

    @settings(deadline=None, max_examples=200)
    @given(elements=st.lists(st.binary(max_size=6) | st.sampled_from(private), min_size=1, max_size=4))
    def moved(elements: list[bytes]) -> None:
        (joined,) = session.run({"text": np.array([elements], np.object_)}, ["joined"])
        assert joined.tolist() == [[element + b"!" for element in elements]]

    moved()


def test_texts_that_repeat_in_a_large_batch_are_the_same_as_alone(open_model: Open) -> None:
    session = open_model(models.strings())
    few = [b"a", b"", "Köln".encode(), b"\xff"]
    for kinds in (few[:3], few):
        column = np.array([kinds * 500], np.object_)
        (joined,) = session.run({"text": column}, ["joined"])
        assert joined.tolist() == [[element + b"!" for element in column[0]]]
    with pytest.raises(InvalidInput, match="each of its elements must be bytes"):
        session.run({"text": np.array([[*few[:3] * 500, 3]], np.object_)}, ["joined"])


def test_a_model_that_reads_text_needs_utf8(open_model: Open) -> None:
    session = open_model(models.one_letter())
    (y,) = session.run({"x": np.array(["ü".encode()], np.object_)}, ["y"])
    assert y.tolist() == [True]
    with pytest.raises(InvalidInput, match="not UTF-8, as strings of RegexFullMatch must be"):
        session.run({"x": np.array([b"\xff"], np.object_)}, ["y"])


def test_free_axes_are_minus_one_and_scalars_have_no_axis(open_model: Open) -> None:
    assert open_model(models.free_axes(3)).signature.inputs[0].shape == (FREE, FREE, FREE)
    assert open_model(models.fixed_batch(2, 4)).signature.inputs[0].shape == (2, 4)
    session = open_model(models.scalar())
    assert session.signature.inputs[0].shape == ()
    (y,) = session.run({"x": np.array(21, np.float32)}, ["y"])
    assert y.shape == ()
    assert y == 42


def test_outputs_come_in_the_order_asked_for_and_only_those(open_model: Open) -> None:
    session = open_model(models.two_in_two_out())
    inputs = {"a": np.ones((2, 3), np.float32), "b": np.zeros((2, 3), np.float32)}
    count, total = session.run(inputs, ("count", "total"))
    assert count.tolist() == [[3], [3]]
    assert total.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert len(session.run(inputs, ["count"])) == 1


@pytest.mark.parametrize(
    "proto", [models.branch(), models.loop(), models.function_call()], ids=["If", "Loop", "function"]
)
def test_models_with_subgraphs_and_functions_run(open_model: Open, proto: onnx.ModelProto) -> None:
    inputs: dict[str, Array] = {"x": np.array([1.0, 2.0], np.float32)}
    if any(spec.name == "n" for spec in proto.graph.input):
        inputs["n"] = np.array(1)
    (y,) = open_model(proto).run(inputs, ["y"])
    assert y.tolist() == [2, 3]


def test_a_run_is_ended_by_another_thread_and_the_next_is_not(open_model: Open) -> None:
    session = open_model(models.loop())
    ended: list[str] = []

    def run_for_ever() -> None:
        with pytest.raises(ExecutionError, match="terminate"):
            session.run({"x": np.zeros(1, np.float32), "n": np.array(10**15, np.int64)}, ["y"])
        ended.append("by the other")
        assert session.run({"x": np.zeros(1, np.float32), "n": np.array(3, np.int64)}, ["y"])[0].tolist() == [3]

    thread = threading.Thread(target=run_for_ever)
    thread.start()
    while thread.is_alive():  # it may not be inside yet
        assert thread.ident is not None
        session.interrupt(thread.ident)
        thread.join(0.05)
        if ended:
            break
    thread.join()
    assert ended == ["by the other"]


def test_a_model_with_external_data_runs(tmp_path: Path) -> None:
    session = open_onnx(models.save_external(tmp_path / "model.onnx"), CPU)
    (y,) = session.run({"x": np.zeros((1, 4), np.float32)}, ["y"])
    assert y.tolist() == [models.EXTERNAL_WEIGHTS.tolist()]


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ({"x": np.zeros((1, 5), np.float32)}, ["y"], "index: 1 Got: 5 Expected: 16"),
        ({"x": np.zeros(16, np.float32)}, ["y"], "Invalid rank"),
        ({"x": np.zeros((1, 16))}, ["y"], "data type"),
        ({}, ["y"], "missing"),
        ({"x": np.zeros((1, 16), np.float32), "z": np.zeros(1, np.float32)}, ["y"], "Invalid input name: z"),
        ({"x": np.zeros((1, 16), np.float32)}, ["q"], "q"),
    ],
    ids=["shape", "rank", "datatype", "missing", "unknown input", "unknown output"],
)
def test_what_the_model_refuses_is_the_callers_and_said_in_short(
    open_model: Open, inputs: dict[str, Array], outputs: list[str], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    session = open_model(models.mlp())
    with pytest.raises(InvalidInput, match=reason) as caught:
        session.run(inputs, outputs)
    for noise in ("ONNXRuntimeError", "/", ".cc", "\n", "Please fix"):
        assert noise not in caught.value.message
    (y,) = session.run({"x": np.zeros((1, 16), np.float32)}, ["y"])
    assert y.shape == (1, 16)
    assert capfd.readouterr() == ("", "")


def test_an_index_out_of_range_is_the_callers_too(open_model: Open, capfd: pytest.CaptureFixture[str]) -> None:
    session = open_model(models.gather())
    with pytest.raises(InvalidInput, match="idx=9 must be within"):
        session.run({"x": np.zeros((1, 4), np.float32), "i": np.array([9])}, ["y"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (
            models.unsupported_operator(),
            r"Frobnicate of domain example\.unknown is not implemented by ONNX Runtime 1\.",
        ),
        (models.sequence_output(), "'y' is a seq"),
        (models.complex_output(), r"no tensor\(complex64\); cast it"),
        (models.external(), "does not exist"),
    ],
    ids=["operator", "sequence", "complex", "missing data"],
)
def test_a_model_that_cannot_be_served_says_why(
    open_model: Open, tmp_path: Path, proto: onnx.ModelProto, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        open_model(proto)
    assert "ONNXRuntimeError" not in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert capfd.readouterr() == ("", "")


def changed(**changes: object) -> onnx.ModelProto:
    proto = models.identity()
    for name, content in changes.items():
        match name:
            case "operator":
                proto.graph.node[0].op_type = content
            case "opset":
                proto.opset_import[0].version = content
            case "ir":
                proto.ir_version = content
            case "input":
                proto.graph.node[0].input[0] = content
    return proto


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (changed(operator="Nope"), f"no operator Nope in ONNX opset {models.OPSET}"),
        (changed(opset=99), "says opset 99.*export it with opset_version="),
        (changed(ir=99), "says IR version 99, and ONNX Runtime .* reads"),
        (changed(input="nowhere"), "'nowhere' is not a graph input"),
    ],
    ids=["operator", "opset", "ir", "dangling"],
)
def test_a_model_from_another_time_says_what_to_do(open_model: Open, proto: onnx.ModelProto, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        open_model(proto)
    assert "onnxruntime_src" not in caught.value.message


def test_an_operator_without_a_kernel_for_the_datatype_advises_a_cast(open_model: Open) -> None:
    proto = models.identity("BF16")
    proto.graph.node[0].op_type = "Abs"
    with pytest.raises(ModelError, match=r"does not implement operator Abs.*cast"):
        open_model(proto)


def test_strings_out_beside_bfloat16_out_are_bytes(open_model: Open) -> None:
    proto = models.bfloat16_cast()
    words = onnx.helper.make_tensor("words", onnx.TensorProto.STRING, [1], [b"word"])
    proto.graph.node.append(onnx.helper.make_node("Constant", [], ["text"], value=words))
    proto.graph.output.append(models.value("text", "BYTES", [1]))
    inputs = {"wide": np.ones((1, 1), np.float32), "short": np.ones((1, 1), ml_dtypes.bfloat16)}
    narrow, text = open_model(proto).run(inputs, ["narrow", "text"])
    assert narrow.tolist() == [[1.0]]
    assert text.tolist() == [b"word"]


def test_strings_in_and_bfloat16_out_are_refused_at_the_load(open_model: Open) -> None:
    proto = models.bfloat16_cast()
    proto.graph.node.append(onnx.helper.make_node("Identity", ["text"], ["same"]))
    proto.graph.input.append(models.value("text", "BYTES", ["n"]))
    proto.graph.output.append(models.value("same", "BYTES", ["n"]))
    with pytest.raises(ModelError, match="BF16"):
        open_model(proto)


def test_one_session_serves_many_threads_at_once(open_model: Open) -> None:
    session = open_model(models.mlp(), instances=4)
    assert session.runner_threads == 0
    rows = np.random.default_rng(0).standard_normal((8, 16), dtype=np.float32)
    expected = [session.run({"x": rows[n : n + 1]}, ["y"])[0] for n in range(8)]
    wrong: list[int] = []

    def call(n: int) -> None:
        for _ in range(50):
            if not np.array_equal(session.run({"x": rows[n : n + 1]}, ["y"])[0], expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_threads_come_from_the_cores_this_process_may_use(open_model: Open) -> None:
    cores = len(os.sched_getaffinity(0))

    def threads(config: ModelConfig, instances: int) -> int:
        session = open_model(models.mlp(), config, instances)
        found: int = session._session.get_session_options().intra_op_num_threads
        return found

    assert threads(CPU, 1) == cores
    assert threads(CPU, cores) == 1
    assert threads(CPU, 1000) == 1
    assert threads(ModelConfig(device="cpu", intra_op_threads=3), 2) == 3


def test_a_closed_session_refuses_to_run(open_model: Open) -> None:
    session = open_model(models.identity("BF16"))
    session.close()
    with pytest.raises(ExecutionError, match="unloaded"):
        session.run({"x": sample("BF16")}, ["y"])


def test_telemetry_is_off_before_the_library_is_loaded(tmp_path: Path) -> None:
    code = (
        "import os, sys\nimport workbench.runtimes.registry\nassert 'onnxruntime' not in sys.modules\n"
        "import workbench.runtimes.onnx\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'], 'ORT_LOAD_CONFIG_FROM_MODEL' in os.environ)"
    )
    environment = {key: text for key, text in os.environ.items() if not key.startswith(("ORT_", "XDG_"))}
    environment |= {"HOME": str(tmp_path), "ORT_LOAD_CONFIG_FROM_MODEL": "1"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["1", "False"]
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]


@pytest.mark.parametrize("datatype", DTYPES)
def test_memory_is_given_back_by_a_run_that_ends_before_its_first_node(open_model: Open, datatype: str) -> None:
    session = open_model(models.identity(datatype, ("batch", "n")))
    said: list[str] = []
    real = session._session

    class Seen:
        def run(self, outputs: object, feeds: object, options: object) -> object:
            try:
                return real.run(outputs, feeds, options)  # type: ignore[union-attr]
            except Exception as error:
                said.append(str(error))
                raise

    session._session = Seen()  # type: ignore[assignment]
    session.trim()
    session._session = real
    assert [text.partition(": ")[2] for text in said] == ["1 : FAIL : Exiting due to terminate flag being set to true."]
    x = sample(datatype)
    assert session.run({"x": x}, ["y"])[0].shape == x.shape
    session.close()
    session.trim()


@pytest.mark.serial
def test_a_run_s_memory_is_given_back(open_model: Open) -> None:
    session = open_model(models.identity("FP32", ("batch", "n")))
    session.run({"x": np.zeros((1, 4), np.float32)}, ["y"])
    session.run({"x": np.ones((1, 25_000_000), np.float32)}, ["y"])
    held = psutil.Process().memory_info().rss
    session.trim()
    assert psutil.Process().memory_info().rss < held - 80_000_000

"""What only a GPU can show; deselected by default: `pytest -m gpu tests/runtimes/test_cuda.py`."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests import models
from workbench.config import ModelConfig
from workbench.core.tensor import DTYPES
from workbench.errors import InvalidInput, ModelError, WorkbenchError
from workbench.runtimes import devices
from workbench.runtimes.onnx import OnnxSession, open_onnx

pytestmark = pytest.mark.gpu

CUDA = ModelConfig(device="cuda", gpu_memory_limit_mib=2048)


def opened(proto: onnx.ModelProto, folder: Path, config: ModelConfig = CUDA) -> OnnxSession:
    return open_onnx(models.save(proto, folder / "model.onnx"), config)


def test_a_model_was_seen_to_run_here() -> None:
    assert devices.cuda_problem(0) is None
    gpu = devices.describe()[1]
    assert gpu.id == "cuda:0"
    assert 0 < gpu.memory_free <= gpu.memory_total


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_the_gpu_is_used_and_agrees_with_the_cpu(tmp_path: Path, device: str) -> None:
    session = opened(models.mlp((64, 128, 32)), tmp_path, ModelConfig(device=device, gpu_memory_limit_mib=2048))
    assert (session.device, session.notes, session.runner_threads) == ("cuda:0", (), 1)
    on_cpu = opened(models.mlp((64, 128, 32)), tmp_path, ModelConfig(device="cpu"))
    generator = np.random.default_rng(0)
    for rows in (1, 8, 3, 8, 1, 64):
        x = generator.standard_normal((rows, 64), dtype=np.float32)
        (expected,) = on_cpu.run({"x": x}, ["y"])
        # TF32 is allowed on the GPU: ten bits of mantissa.
        np.testing.assert_allclose(session.run({"x": x}, ["y"])[0], expected, rtol=0.02, atol=0.02)
    session.close()


def test_answers_stay_valid_while_buffers_are_used_again(tmp_path: Path) -> None:
    session = opened(models.add_constant(1.0), tmp_path)
    answers = [session.run({"x": np.full((2, 4), n, np.float32)}, ["y"])[0] for n in range(100)]
    assert [float(answer[1, 3]) for answer in answers] == [n + 1.0 for n in range(100)]


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_datatype_is_answered_or_refused_never_wrong(tmp_path: Path, datatype: str) -> None:
    x = np.array([[0, 1, 1, 0]]).astype(DTYPES[datatype])
    if datatype == "BYTES":
        x = np.array([[b"a", b"b", b"", b"d"]], np.object_)
    # An Identity alone may be given to either device; "auto" serves whatever becomes of it.
    session = opened(models.identity(datatype), tmp_path, ModelConfig(device="auto", gpu_memory_limit_mib=256))
    (y,) = session.run({"x": x}, ["y"])
    assert y.dtype == x.dtype
    assert y.tolist() == x.tolist()


def test_a_model_that_no_gpu_kernel_exists_for_is_refused_or_served_from_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="device 'cpu'"):
        opened(models.strings(), tmp_path)
    session = opened(models.strings(), tmp_path, ModelConfig(device="auto"))
    assert session.device == "cpu"
    assert "runs on" in session.notes[0]


def test_nodes_that_stay_on_the_cpu_are_told_of(tmp_path: Path) -> None:
    proto = models.mlp()
    proto.graph.node.append(onnx.helper.make_node("StringConcat", ["text", "text"], ["twice"]))
    proto.graph.input.append(models.value("text", "BYTES", ["n"]))
    proto.graph.output.append(models.value("twice", "BYTES", ["n"]))
    proto.opset_import[0].version = 20
    session = opened(proto, tmp_path)
    assert session.device == "cuda:0"
    assert "StringConcat" in session.notes[0]
    y, twice = session.run({"x": np.zeros((1, 16), np.float32), "text": np.array([b"a"], np.object_)}, ["y", "twice"])
    assert y.shape == (1, 16)
    assert twice.tolist() == [b"aa"]


def test_bad_input_is_refused_and_the_session_goes_on(tmp_path: Path) -> None:
    session = opened(models.mlp(), tmp_path)
    for x in (np.zeros((1, 5), np.float32), np.zeros((1, 16)), np.zeros(16, np.float32)):
        with pytest.raises(InvalidInput):
            session.run({"x": x}, ["y"])
    assert session.run({"x": np.zeros((1, 16), np.float32)}, ["y"])[0].shape == (1, 16)


def test_the_memory_limit_holds_and_its_error_is_ours(tmp_path: Path) -> None:
    session = opened(models.mlp((1024, 1024)), tmp_path, ModelConfig(device="cuda", gpu_memory_limit_mib=64))
    with pytest.raises(WorkbenchError):
        session.run({"x": np.zeros((100_000, 1024), np.float32)}, ["y"])
    assert session.run({"x": np.zeros((1, 1024), np.float32)}, ["y"])[0].shape == (1, 1024)


def test_closing_gives_the_memory_back(tmp_path: Path) -> None:
    opened(models.mlp(), tmp_path).close()  # the CUDA context itself stays
    before = devices.free_gpu_memory(0)
    session = opened(models.mlp((4096, 4096, 4096)), tmp_path)
    session.run({"x": np.zeros((64, 4096), np.float32)}, ["y"])
    assert devices.free_gpu_memory(0) < before - 100 * 2**20
    session.close()
    gc.collect()
    assert devices.free_gpu_memory(0) > before - 32 * 2**20


def test_many_loads_at_once_are_put_in_line(tmp_path: Path) -> None:
    found: list[str] = []

    def load(n: int) -> None:
        session = opened(models.mlp(seed=n), tmp_path / str(n))
        session.run({"x": np.zeros((1, 16), np.float32)}, ["y"])
        found.append(session.device)
        session.close()

    threads = [threading.Thread(target=load, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["cuda:0"] * 8

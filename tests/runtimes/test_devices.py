from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import models
from workbench.config import ModelConfig
from workbench.core.runtime import ONNX
from workbench.errors import ModelError
from workbench.runtimes import devices
from workbench.runtimes.onnx import _placed, open_onnx
from workbench.runtimes.registry import open_session, runtime_for


@pytest.fixture
def nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_answers", {})


@pytest.fixture
def both_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_asked: None) -> None:
    """An environment in which pip has put both ONNX Runtime wheels."""
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / "site" / f"{name}-1.31.1.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.31.1\n")
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch, nothing_asked: None) -> None:
    """A machine without NVIDIA's driver, wherever the tests run."""
    monkeypatch.setattr(devices, "_DRIVER", "libno-such.so")


def test_one_wheel_is_no_conflict() -> None:
    assert devices.wheel_conflict() is None


@pytest.mark.usefixtures("both_wheels")
def test_two_wheels_are_mended_by_one_sentence() -> None:
    problem = devices.wheel_conflict()
    assert problem is not None
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in problem
    assert devices.cuda_problem(0) == problem


@pytest.mark.usefixtures("both_wheels")
def test_with_two_wheels_auto_serves_from_the_cpu_and_says_so(tmp_path: Path) -> None:
    path = models.save(models.mlp(), tmp_path / "model.onnx")
    session = open_onnx(path, ModelConfig(device="auto"))
    assert session.device == "cpu"
    assert "pip uninstall" in session.notes[0]
    with pytest.raises(ModelError, match="pip uninstall"):
        open_onnx(path, ModelConfig(device="cuda"))
    assert open_onnx(path, ModelConfig(device="cpu")).notes == ()


@pytest.mark.usefixtures("no_driver")
def test_without_a_gpu_auto_is_the_cpu_with_nothing_to_remark(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    session = open_onnx(models.save(models.mlp(), tmp_path / "model.onnx"), ModelConfig(device="auto"))
    assert (session.device, session.notes, session.runner_threads) == ("cpu", (), 0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("no_driver")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_without_a_gpu_an_explicit_cuda_is_refused_with_what_to_try(
    tmp_path: Path, device: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = models.save(models.mlp(), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=f"'{device}' was asked for, but .*device 'cpu' or 'auto'"):
        open_onnx(path, ModelConfig(device=device))
    assert capfd.readouterr() == ("", "")


class PretendDriver:
    """A libcuda that starts and counts one GPU, on a machine where nothing can then run on it."""

    def cuInit(self, flags: int) -> int:
        return 0

    def cuDeviceGetCount(self, count: object) -> int:
        count._obj.value = 1  # type: ignore[attr-defined]
        return 0

    def cuDeviceGet(self, handle: object, index: int) -> int:
        return 101


@pytest.mark.usefixtures("nothing_asked")
def test_a_gpu_that_cannot_run_a_model_is_found_out_by_trying_and_without_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(devices, "_driver", PretendDriver)
    # The probe sees no GPU either way: it runs in a process of its own.
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "-1")
    problem = devices.cuda_problem(0)
    assert problem is not None
    assert problem.startswith("a first small run on the GPU")
    session = open_onnx(models.save(models.mlp(), tmp_path / "model.onnx"), ModelConfig(device="auto"))
    assert session.device == "cpu"
    assert session.notes == (f"It runs on the CPU: {problem}.",)
    assert capfd.readouterr() == ("", "")
    refused = devices.cuda_problem(7)
    assert refused is not None
    assert "there is no GPU 7" in refused


def test_the_cpu_is_described_with_its_memory() -> None:
    cpu = devices.describe()[0]
    assert cpu.id == "cpu"
    assert f"{devices.usable_cores()} core" in cpu.name
    assert 0 < cpu.memory_free <= cpu.memory_total


def test_a_device_setting_names_its_gpu() -> None:
    assert [devices.cuda_index(device) for device in ("auto", "cuda", "cuda:0", "cuda:12")] == [0, 0, 0, 12]


def test_a_model_files_ending_says_what_serves_it(tmp_path: Path) -> None:
    assert runtime_for(Path("model.onnx")) is ONNX
    with pytest.raises(ModelError, match=r"\*\.pkl cannot be served; the kinds are \.onnx"):
        runtime_for(Path("model.pkl"))
    path = models.save(models.mlp(), tmp_path / "model.onnx")
    session = open_session(path, ModelConfig(device="cpu"), instances=1)
    assert session.platform == "onnxruntime_onnx"
    session.close()


class Placed:
    """A session of which only the placement is asked: operators by provider."""

    def __init__(self, **operators: list[str]) -> None:
        self._parts = operators

    def get_providers(self) -> list[str]:
        return [*self._parts, "CPUExecutionProvider"]

    def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(
                ep_name=provider, get_nodes=lambda ops=ops: [SimpleNamespace(op_type=op, domain="") for op in ops]
            )
            for provider, ops in self._parts.items()
        ]


def test_a_model_wholly_on_the_gpu_needs_no_remark() -> None:
    assert _placed(Placed(CUDAExecutionProvider=["Gemm", "Relu"]), 0) == ()


def test_operators_that_stayed_on_the_cpu_are_counted_and_named() -> None:
    session = Placed(CUDAExecutionProvider=["Gemm"] * 7, CPUExecutionProvider=["Shape", "Gather", "Shape"])
    (note,) = _placed(session, 0)
    assert note.startswith("3 of 10 nodes run on the CPU")
    assert note.endswith("Shape, Gather.")


@pytest.mark.parametrize("session", [Placed(CPUExecutionProvider=["Gemm"]), Placed(), Placed(CUDAExecutionProvider=[])])
def test_a_session_with_nothing_on_the_gpu_does_not_count_as_cuda(session: Placed) -> None:
    with pytest.raises(ModelError, match="none of its operators runs on cuda:1"):
        _placed(session, 1)

"""A model tried out in a process of its own. The processes are real; what they open may be a runtime of the tests."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from tests import models
from tests.helpers.waiting import until
from tests.hostile import hostile_model, hostile_runtime
from workbench.config import ModelConfig
from workbench.engine import sandbox_load
from workbench.engine.sandbox_load import ProcessTrial, _TrialProcess
from workbench.engine.sources import ModelSource
from workbench.errors import ModelError, StorageError, Unavailable
from workbench.runtimes.sandbox_process import MAX_MODELS


class Proved:
    """Proofs in memory."""

    def __init__(self) -> None:
        self.digests: set[str] = set()
        self.full = False

    def is_proved(self, digest: str) -> bool:
        return digest in self.digests

    def prove(self, digest: str) -> None:
        if self.full:
            raise StorageError("the disk is full")
        self.digests.add(digest)

    def disprove(self, digest: str) -> None:
        self.digests.discard(digest)


@pytest.fixture
def proved() -> Proved:
    return Proved()


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[_TrialProcess]]:
    """Those that were started."""
    found: list[_TrialProcess] = []

    class Noted(_TrialProcess):
        def __init__(self) -> None:
            super().__init__()
            found.append(self)

    monkeypatch.setattr(sandbox_load, "_TrialProcess", Noted)
    yield found
    for each in found:
        each.end()


def source(path: Path, digest: str = "d") -> ModelSource:
    return ModelSource(path, digest, path.stat().st_size)


def trial(proved: Proved, **more: object) -> ProcessTrial:
    return ProcessTrial(proved, **{"timeout_s": 60.0, **more})  # type: ignore[arg-type]


def test_a_good_model_is_tried_once(proved: Proved, tmp_path: Path) -> None:
    told: list[str] = []
    tried = trial(proved, tried=lambda digest, seconds: told.append(digest))
    good = source(models.save(models.mlp(), tmp_path / "m.onnx"))
    tried(good, ModelConfig())
    tried(good, ModelConfig())
    assert told == ["d"]
    tried(good, ModelConfig(), again=True)
    assert told == ["d", "d"]


def test_a_disk_that_is_full_only_costs_another_trial(proved: Proved, tmp_path: Path) -> None:
    proved.full = True
    trial(proved)(source(models.save(models.mlp(), tmp_path / "m.onnx")), ModelConfig())


@pytest.mark.parametrize("where", ["load", "run 1"])
def test_a_model_that_aborts_the_process_is_refused_in_words(
    proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    bad = source(models.save(hostile_model(f"abort in {where}"), tmp_path / "m.onnx"))
    proved.prove("d")
    with pytest.raises(ModelError, match=r"crashed it \(SIGABRT\); nothing else was harmed"):
        trial(proved)(bad, ModelConfig(), again=True)
    assert proved.digests == set()


def test_a_model_that_never_ends_is_refused(proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    bad = source(models.save(hostile_model("hang in load"), tmp_path / "m.onnx"))
    with pytest.raises(ModelError, match=r"did not come to an end within 0\.2 s"):
        trial(proved, timeout_s=0.2)(bad, ModelConfig())


def test_a_model_that_takes_all_memory_is_refused(proved: Proved, tmp_path: Path) -> None:
    greedy = models.model(
        [
            helper.make_node("Expand", ["x", "shape"], ["wide"]),
            helper.make_node("ReduceSum", ["wide"], ["y"], keepdims=0),
        ],
        [models.value("x", "FP32", [1])],
        [models.value("y", "FP32", [])],
        [helper.make_tensor("shape", TensorProto.INT64, [1], [1 << 34])],
    )
    with pytest.raises(ModelError, match="100 MiB of memory were not enough"):
        trial(proved, memory_mib=100)(source(models.save(greedy, tmp_path / "m.onnx")), ModelConfig())


def test_a_model_that_merely_fails_is_left_to_the_load_proper(proved: Proved, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"this is no model")
    trial(proved)(source(tmp_path / "m.onnx"), ModelConfig(device="cuda:99"))


def test_a_trial_under_way_ends_with_its_owner(proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    bad = source(models.save(hostile_model("hang in load"), tmp_path / "m.onnx"))
    tried = trial(proved)
    ended: list[BaseException] = []

    def attempt() -> None:
        try:
            tried(bad, ModelConfig())
        except Unavailable as error:
            ended.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    while not tried._running:
        pass
    tried.close()
    thread.join(30)
    assert len(ended) == 1
    with pytest.raises(Unavailable, match="shutting down"):
        tried(bad, ModelConfig())
    assert tried._running == set()


def test_models_that_do_no_harm_are_tried_in_one_process(
    proved: Proved, tmp_path: Path, processes: list[_TrialProcess]
) -> None:
    tried = trial(proved)
    for number in range(5):
        tried(
            source(models.save(models.add_constant(number), tmp_path / f"{number}.onnx"), f"d{number}"), ModelConfig()
        )
    (tmp_path / "bad.onnx").write_bytes(b"this is no model")
    tried(source(tmp_path / "bad.onnx", "bad"), ModelConfig())
    assert len(processes) == 1
    assert proved.digests == {"bad", *(f"d{number}" for number in range(5))}
    tried.close()
    assert processes[0].status < 0  # it was ended


def test_a_model_answers_only_for_what_it_did_in_a_process_of_its_own(
    proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: list[_TrialProcess]
) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    tried = trial(proved, timeout_s=20.0)
    good = source(models.save(models.add_constant(1.0), tmp_path / "good.onnx"), "good")
    bad = source(models.save(hostile_model("abort in run 1"), tmp_path / "bad.onnx"), "bad")
    tried(good, ModelConfig())
    processes[0].kill()  # as a model may that leaves a thread behind
    tried(good, ModelConfig(), again=True)
    assert len(processes) == 2
    with pytest.raises(ModelError, match=r"crashed it \(SIGABRT\)"):
        tried(bad, ModelConfig())
    assert len(processes) == 3  # tried again before it was found guilty
    tried(good, ModelConfig(), again=True)
    assert len(processes) == 4
    assert proved.digests == {"good"}


def test_a_process_that_nobody_needs_any_more_ends(
    proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: list[_TrialProcess]
) -> None:
    monkeypatch.setattr(sandbox_load, "IDLE_S", 0.05)
    tried = trial(proved)
    good = source(models.save(models.add_constant(1.0), tmp_path / "good.onnx"))
    tried(good, ModelConfig())
    assert until(lambda: processes[0].status) < 0
    tried(good, ModelConfig(), again=True)
    assert len(processes) == 2


def test_a_process_takes_a_number_of_models_and_says_which_is_the_last(
    tmp_path: Path, processes: list[_TrialProcess]
) -> None:
    path = models.save(models.add_constant(1.0), tmp_path / "m.onnx")
    told = {"path": str(path), "config": dataclasses.asdict(ModelConfig()), "memory_mib": 100_000}
    process = sandbox_load._TrialProcess()
    for number in range(1, MAX_MODELS + 1):
        process.ask(told)
        assert process.answer(60) == {"outcome": "tried", "last": number == MAX_MODELS}
    assert process.answer(60) is None
    assert process.status == 0

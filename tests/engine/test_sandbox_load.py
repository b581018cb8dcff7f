"""A model tried out in a process of its own. The processes are real; what they open may be a runtime of the tests."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from onnx import TensorProto, helper

from tests import models
from tests.helpers.waiting import until
from tests.hostile import hostile_model, hostile_runtime
from workbench.config import ModelConfig
from workbench.engine import sandbox_load
from workbench.engine.sandbox_load import ProcessTrial, _TrialProcess
from workbench.engine.sources import ModelSource
from workbench.errors import ModelError, StorageError, Unavailable, UntrustedModel
from workbench.repository.validate import ModelFile, inspect_model
from workbench.sandbox.confinement import LANDLOCK, LIMITS, PARTS, SECCOMP, supported
from workbench.sandbox.trial_main import Answer, Asked


class Proved:
    """Proofs in memory."""

    def __init__(self) -> None:
        self.digests: set[str] = set()
        self.found: dict[str, bytes] = {}
        self.under_way: list[str] = []
        self.full = False

    def is_proved(self, digest: str) -> bool:
        return digest in self.digests

    def inspected(self, key: str) -> bytes | None:
        return self.found.get(key)

    def trying(self, digest: str) -> None:
        self.under_way.append(digest)

    def tried(self, digest: str, *, well: bool | None = None, key: str = "", found: bytes = b"") -> None:
        self.under_way.remove(digest)
        if self.full:
            raise StorageError("the disk is full")
        if well:
            self.digests.add(digest)
        elif well is not None:
            self.digests.discard(digest)
        if key:
            self.found[key] = found


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
    proved.digests.add("d")
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


def test_a_model_answers_only_for_itself_and_leaves_the_process_to_the_next(
    proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: list[_TrialProcess]
) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    tried = trial(proved, timeout_s=20.0)
    good = source(models.save(models.add_constant(1.0), tmp_path / "good.onnx"), "good")
    bad = source(models.save(hostile_model("abort in run 1"), tmp_path / "bad.onnx"), "bad")
    with pytest.raises(ModelError, match=r"crashed it \(SIGABRT\)"):
        tried(bad, ModelConfig())
    tried(good, ModelConfig())
    assert len(processes) == 1
    processes[0].kill()  # as an administrator may
    tried(good, ModelConfig(), again=True)
    assert len(processes) == 2
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


# Reading files


def look(trial: ProcessTrial, path: Path) -> ModelFile:
    return inspect_model(path, trial.look)


def test_a_file_is_read_in_the_process_once_and_its_content_is_remembered(
    proved: Proved, tmp_path: Path, processes: list[_TrialProcess]
) -> None:
    path = models.save(models.mlp(), tmp_path / "m.onnx")
    found = look(trial(proved), path)
    assert found == inspect_model(path)
    assert found.operators == {"Gemm", "Relu"}
    copy = models.save(models.mlp(), tmp_path / "copy" / "model.onnx")
    assert look(trial(proved), copy).graph == found.graph
    assert len(processes) == 1
    assert proved.under_way == []
    assert proved.digests == set()  # whoever owns the folder could have replaced it between reading and trying
    models.save(models.branch(), path)
    assert "If" in look(trial(proved), path).operators
    assert len(processes) == 2


def test_a_file_of_our_own_is_read_and_tried_in_one_go(
    proved: Proved, tmp_path: Path, processes: list[_TrialProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    tried = trial(proved, private=tmp_path, tried=lambda digest, seconds: told.append(digest))
    file = look(tried, models.save(models.mlp(), tmp_path / "m.onnx"))
    assert (proved.digests, told) == ({file.digest}, [file.digest])
    monkeypatch.setattr(_TrialProcess, "ask", None)
    tried(ModelSource(file.path, file.digest, 1), ModelConfig())


def test_harm_of_a_file_of_our_own_is_told_when_it_is_to_be_tried(
    proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    tried = trial(proved, private=tmp_path)
    for number, (act, says) in enumerate({"abort in load": "SIGABRT", "abort in run 1": "SIGABRT"}.items()):
        file = look(tried, models.save(hostile_model(act), tmp_path / f"{number}.onnx"))
        assert file.operators == {"Add"}
        for _ in range(2):  # from what is kept, and from another trial
            with pytest.raises(ModelError, match=says):
                tried(ModelSource(file.path, file.digest, 1), ModelConfig())
    assert (proved.digests, proved.under_way) == (set(), [])


def test_a_file_of_our_own_that_never_ends_is_read_all_the_same(
    proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    tried = trial(proved, private=tmp_path)
    look(tried, models.save(models.mlp(), tmp_path / "first.onnx"))  # the start of the process would count too
    tried._timeout_s = 1.0
    file = look(tried, models.save(hostile_model("hang in load"), tmp_path / "m.onnx"))
    assert file.operators == {"Add"}
    with pytest.raises(ModelError, match=r"tried out .* did not come to an end within 1 s"):
        tried(ModelSource(file.path, file.digest, 1), ModelConfig())


@pytest.mark.parametrize("place", ["initializer", "subgraph"])
def test_what_is_wrong_with_a_file_is_told_as_if_it_were_read_here(proved: Proved, tmp_path: Path, place: str) -> None:
    tried = trial(proved, private=tmp_path)
    path = models.save(models.external_everywhere("../secret.bin")[place], tmp_path / "m.onnx")
    with pytest.raises(UntrustedModel, match="lies outside the model's folder"):
        look(tried, path)
    path.write_bytes(b"this is no model")
    with pytest.raises(ModelError, match="the file is no ONNX model"):
        look(tried, path)
    assert (proved.found, proved.under_way) == ({}, [])


def test_a_file_that_changes_meanwhile_is_refused_and_nothing_remembered(
    proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = models.save(models.mlp(), tmp_path / "m.onnx")
    ask = _TrialProcess.ask

    def replaced(self: _TrialProcess, asked: Asked) -> None:
        models.save(models.branch(), path)
        ask(self, asked)

    monkeypatch.setattr(_TrialProcess, "ask", replaced)
    with pytest.raises(ModelError, match="changed while it was read"):
        look(trial(proved), path)
    assert proved.found == {}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"null\n",
        b'{"outcome": "inspected", "in_force": []}\n',
        b'{"outcome": "tried", "in_force": []}\n',
        b'{"outcome": "inspected", "in_force": [], "inspection": {"content": "a"}}\n',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_an_answer_that_makes_no_sense_is_harm(
    proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(_TrialProcess, "answer", lambda self, timeout_s: (0, answer))
    with pytest.raises(ModelError, match="makes no sense; the file is taken for hostile"):
        look(trial(proved, private=tmp_path), models.save(models.mlp(), tmp_path / "m.onnx"))
    assert (proved.found, proved.digests) == ({}, set())


def test_a_message_of_a_process_that_was_taken_over_is_one_short_line(
    proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = msgspec.json.encode(Answer("refused", (), "a\nb\u202e\x1b[31m" + "c" * 100_000))
    monkeypatch.setattr(_TrialProcess, "answer", lambda self, timeout_s: (0, said))
    with pytest.raises(ModelError) as caught:
        look(trial(proved), models.save(models.mlp(), tmp_path / "m.onnx"))
    assert caught.value.message.startswith("a b  [31mccc")
    assert len(caught.value.message) <= 1000


def test_a_real_trial_reaches_nothing(proved: Proved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An opener that tries, from inside, and aborts its process for each thing that it can do."""
    site = tmp_path / "site"
    site.mkdir()
    token = tmp_path / "token"
    token.write_text("secret")
    monkeypatch.setenv("INFER_WORKBENCH_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", f"{site}:{os.environ.get('PYTHONPATH', '')}")
    attempts = {
        LANDLOCK: f"open({str(token)!r})",
        SECCOMP: "__import__('socket').socket()",
        LIMITS: "bytearray(6 << 30)",
        "environment": "os.environ['INFER_WORKBENCH_TOKEN']",
        "descriptors": "os.fstat(4)",
        "input": "os.read(0, 1)[0]",
    }
    kept = {name: attempt for name, attempt in attempts.items() if name in supported() or name not in PARTS}
    (site / "sitecustomize.py").write_text(
        "import dataclasses, os\n"
        "from workbench.core.runtime import ONNX, imported, register\n"
        f"ATTEMPTS = {list(kept.values())!r}\n"
        "def open_trying(path, config, *, instances):\n"
        "    for attempt in ATTEMPTS if config.max_batch_size == 7 else ():\n"
        "        try: eval(attempt)\n"
        "        except (OSError, MemoryError, LookupError): continue\n"
        "        os._exit(10 + ATTEMPTS.index(attempt))\n"
        "    return imported(ONNX.opener)(path, config, instances=instances)\n"
        "register(dataclasses.replace(ONNX, opener='sitecustomize:open_trying'))\n"
    )
    good = source(models.save(models.add_constant(1.0), tmp_path / "model" / "m.onnx"))
    trial(proved, memory_mib=1024)(good, ModelConfig(max_batch_size=7))
    assert proved.digests == {"d"}


def test_what_confines_the_process_is_logged_once(
    proved: Proved, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "workbench.engine")
    tried = trial(proved)
    for number in range(2):
        look(tried, models.save(models.add_constant(number), tmp_path / f"{number}.onnx"))
    (line,) = [record.getMessage() for record in caplog.records if "tried out with" in record.getMessage()]
    missing = set(PARTS) - set(supported())
    assert all((part in line) for part in (missing or PARTS))

"""A served folder that others write to, under load: the service in processes of its own, and real models."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import models
from tests.helpers.service_process import Serve, worker_of
from tests.helpers.waiting import until
from tests.stories.actors import full_disk
from workbench import connect

ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0] * 4}]}


class Load:
    """Calls the model all the time from a few threads, and keeps what each answer says."""

    def __init__(self, serve: Serve) -> None:
        self.answers: list[tuple[str, float]] = []
        self.failed: list[object] = []
        self._serve = serve
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(2)]

    def ask(self) -> tuple[str, float]:
        status, body = self._serve.call("POST", "/v2/models/m/infer", ROW)
        assert status == 200, body
        answer = json.loads(body)
        return answer["model_version"], answer["outputs"][0]["data"][0]

    def _call(self) -> None:
        while not self._ended.wait(0.005):
            try:
                self.answers.append(self.ask())
            except (AssertionError, OSError) as error:
                self.failed.append(error)

    def __enter__(self) -> Load:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for each in self._threads:
            each.join()

    def serves(self, version: str) -> None:
        until(lambda: self.answers and self.answers[-1][0] == version)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    models.save(models.add_constant(1), tmp_path / "repository" / "m" / "1" / "model.onnx")
    return tmp_path / "repository"


@pytest.fixture
def serve(tmp_path: Path, repository: Path) -> Iterator[Serve]:
    flags = ["--model-repository", str(repository), "--repository-mode", "poll", "--repository-poll-secs", "1"]
    with Serve(tmp_path, *flags, "--grpc-port", "0") as serve:
        yield serve.ready()


def test_no_call_fails_or_is_wrong_whatever_is_done_to_the_folder(serve: Serve, repository: Path) -> None:
    model = repository / "m"
    with Load(serve) as load:
        load.serves("1")
        # Two writers at one file, each in pieces of its own; the last one leaves it whole.
        (model / "2").mkdir()
        data = [models.add_constant(amount).SerializeToString() for amount in (20, 2)]
        file = model / "2" / "model.onnx"
        for at in range(0, len(data[0]), 100):
            for each in data:
                with file.open("r+b" if file.exists() else "wb") as writer:
                    writer.seek(at)
                    writer.write(each[at : at + 100])
        file.write_bytes(data[1])
        load.serves("2")
        # Written to while it serves, and left half.
        file.write_bytes(data[1][: len(data[1]) // 2])
        serve.until("version 2 goes on serving as it was, its new files were not loaded")
        # A finished folder that is renamed, beside one that stays half a copy.
        models.save(models.add_constant(3), repository / ".new" / "model.onnx")
        (model / "4").mkdir()
        (model / "4" / "model.onnx").write_bytes(data[0][:50])
        (repository / ".new").rename(model / "3")
        serve.until("version 4 in the repository was not loaded")
        load.serves("3")
        assert set(load.answers) == {("1", 1.0), ("2", 2.0), ("3", 3.0)}
        shutil.rmtree(model / "1")
        shutil.rmtree(model / "2")
        with full_disk(worker_of(serve).pid):
            models.save(models.add_constant(5), repository / ".new" / "model.onnx")
            (repository / ".new").rename(model / "5")
            serve.until("which is tried again: the model store's disk is full")
            load.answers.clear()
            load.serves("3")
        load.serves("5")
    assert not load.failed
    assert set(load.answers) == {("3", 3.0), ("5", 5.0)}
    with connect(serve.published["url"], token_file=serve.published["token_file"]) as wb:
        history = [(each.who, each.action, each.detail) for each in wb.versions("m").history]
    assert ("service", "load", "version 2 of the repository, in place of 1") in history
    assert history[-1] == ("service", "load", "version 5 of the repository, in place of 3")


def test_a_worker_that_follows_serves_what_is_whole_and_a_model_that_is_deleted_goes(
    serve: Serve, repository: Path
) -> None:
    load = Load(serve)
    (repository / "m" / "2").mkdir()
    (repository / "m" / "2" / "model.onnx").write_bytes(b"half")
    serve.until("version 2 in the repository was not loaded, and version 1 goes on serving")
    worker_of(serve).kill()
    serve.until("killed by signal 9")
    serve.ready()
    assert load.ask() == ("1", 1.0)
    with load:
        load.serves("1")
        shutil.rmtree(repository / "m")
        serve.until("model m: its folder in the repository is gone, and so it was unloaded")
        until(lambda: load.failed)
    assert all("is not found" in str(each) for each in load.failed)
    assert set(load.answers) == {("1", 1.0)}
    assert serve.stop() == 0


def test_with_explicit_those_that_were_asked_for_come_back_until_they_are_unloaded(
    tmp_path: Path, repository: Path
) -> None:
    models.save(models.add_constant(2), repository / "other" / "1" / "model.onnx")
    flags = ["--model-repository", str(repository), "--repository-mode", "explicit", "--grpc-port", "0"]

    def states(serve: Serve) -> dict[str, str]:
        status, body = serve.call("POST", "/v2/repository/index", {})
        assert status == 200, body
        return {each["name"]: each["state"] for each in json.loads(body)}

    with Serve(tmp_path, *flags) as serve:
        serve.ready()
        assert states(serve) == {"m": "UNAVAILABLE", "other": "UNAVAILABLE"}
        assert serve.call("POST", "/v2/repository/models/m/load", {})[0] == 200
        worker = worker_of(serve)
        worker.kill()
        until(lambda: worker_of(serve).pid != worker.pid)
        serve.ready()
        assert states(serve) == {"m": "READY", "other": "UNAVAILABLE"}
        assert serve.call("POST", "/v2/repository/models/m/unload", {})[0] == 200
        worker = worker_of(serve)
        worker.kill()
        until(lambda: worker_of(serve).pid != worker.pid)
        serve.ready()
        assert states(serve) == {"m": "UNAVAILABLE", "other": "UNAVAILABLE"}

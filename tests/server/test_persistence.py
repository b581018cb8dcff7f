"""What a service serves outlives it: real processes, really killed, and models that kill them."""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import models
from tests.helpers.service_process import Serve
from tests.helpers.waiting import until
from tests.hostile import hostile_model, hostile_runtime
from tests.server.real_service import started

DIED = "the service ended while it was loading this model, of it or of something else; load it again to try once more"


def load(serve: Serve, name: str, path: Path, **more: Any) -> dict[str, Any]:
    status, answer = serve.call("POST", f"/control/models/{name}/load", {"path": str(path), **more})
    found: dict[str, Any] = json.loads(answer)
    assert status == 200, found
    return found


def load_dying(serve: Serve, name: str, path: Path) -> None:
    """A load that ends the process which makes it; returns once the next one is ready."""
    with pytest.raises((http.client.HTTPException, OSError)):
        serve.call("POST", f"/control/models/{name}/load", {"path": str(path)})
    serve.ready()


def answer(serve: Serve, name: str, version: str | None = None) -> float:
    """What the model makes of zeros."""
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}
    at = f"/versions/{version}" if version else ""
    status, answer = serve.call("POST", f"/v2/models/{name}{at}/infer", body)
    found = json.loads(answer)
    assert status == 200, found
    return float(found["outputs"][0]["data"][0])


def statuses(serve: Serve) -> dict[tuple[str, str], dict[str, Any]]:
    _, answer = serve.call("GET", "/control/models")
    return {(each["name"], each["version"]): each for each in json.loads(answer)}


def states(serve: Serve) -> dict[tuple[str, str], tuple[str, str]]:
    return {key: (each["state"], each["reason"]) for key, each in statuses(serve).items()}


def processes(serve: Serve) -> list[psutil.Process]:
    """The one that was started, and those that it started."""
    first = psutil.Process(serve.process.pid)
    return [first, *first.children(recursive=True)]


def kill(serve: Serve) -> None:
    """All of it, at once."""
    found = processes(serve)
    for process in found:
        with suppress(psutil.NoSuchProcess):  # one that a trial used ends with the worker
            process.kill()
    psutil.wait_procs(found, timeout=30)


def save(folder: Path, name: str, amount: float = 1.0) -> Path:
    return models.save(models.add_constant(amount), folder / f"{name}.onnx")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return hostile_runtime(tmp_path, monkeypatch.setenv)


def test_after_a_kill_everything_is_served_as_before(tmp_path: Path) -> None:
    with started(tmp_path) as serve:
        load(serve, "a", save(tmp_path, "one", 1))
        load(serve, "a", save(tmp_path, "two", 2), config={"max_batch_size": 9})
        assert serve.call("POST", "/control/models/a/set", {"batching": "never"})[0] == 200
        headers = {"Content_Type": "application/octet-stream"}
        body = models.add_constant(3).SerializeToString()
        assert serve.call("POST", "/control/models/b/stage", body, **headers)[0] == 200
        assert serve.call("POST", "/control/models/b/versions/1/commit", {})[0] == 200
        load(serve, "gone", save(tmp_path, "gone", 4))
        assert serve.call("POST", "/control/models/gone/unload", {})[0] == 200
        before = statuses(serve)
        kill(serve)
    for path in tmp_path.glob("*.onnx"):
        path.unlink()
    with started(tmp_path) as serve:
        after = statuses(serve)
        assert list(after) == list(before) == [("a", "2"), ("b", "1")]
        for key, status in after.items():
            for what in ("state", "routed", "config", "digest", "max_batch_size", "inputs", "outputs"):
                assert status[what] == before[key][what]
        assert (answer(serve, "a"), answer(serve, "a", "2"), answer(serve, "b")) == (2, 2, 3)
        assert load(serve, "a", save(tmp_path, "three", 5))["model"]["version"] == "3"
        assert serve.stop() == 0
    with started(tmp_path) as serve:
        assert list(statuses(serve)) == [("a", "3"), ("b", "1")]


def test_what_the_flags_name_is_theirs_until_the_control_plane_changes_it(tmp_path: Path) -> None:
    models.save(models.add_constant(7), tmp_path / "repository" / "r" / "4" / "model.onnx")
    flags = ["--load", f"f={save(tmp_path, 'flag', 6)}", "--model-repository", str(tmp_path / "repository")]
    with started(tmp_path, *flags) as serve:
        assert (answer(serve, "f"), answer(serve, "r")) == (6, 7)
        kill(serve)
    with started(tmp_path) as serve:
        assert statuses(serve) == {}
        serve.stop()
    with started(tmp_path, *flags) as serve:
        load(serve, "f", save(tmp_path, "other", 8))
        load(serve, "r", save(tmp_path, "other", 9))
        kill(serve)
    with Serve(tmp_path, *flags) as serve:
        serve.until("--load f is passed over")
        serve.ready()
        assert (answer(serve, "f"), answer(serve, "r")) == (8, 9)
        assert list(statuses(serve)) == [("f", "2"), ("r", "5")]


@pytest.mark.parametrize("where", ["load", "run 1"])
def test_a_model_that_kills_its_trial_is_refused_and_nobody_else_notices(
    tmp_path: Path, told: Path, where: str
) -> None:
    bad = models.save(hostile_model(f"abort in {where}"), tmp_path / "bad.onnx")
    with started(tmp_path) as serve:
        load(serve, "good", save(tmp_path, "good"))
        before = [process.pid for process in processes(serve)[:2]]  # behind them the one that tried the good model
        status, said = serve.call("POST", "/control/models/bad/load", {"path": str(bad)})
        assert status == 400
        assert "crashed it (SIGABRT)" in json.loads(said)["error"]
        assert [process.pid for process in processes(serve)[:2]] == before
        assert list(statuses(serve)) == [("good", "1")]
        assert answer(serve, "good") == 1
        assert len(list((serve.data_dir / "models").glob("[0-9a-f]*"))) == 1


@pytest.mark.parametrize("where", ["load", "run 1"])
def test_a_model_that_kills_the_service_is_quarantined_and_the_others_served(
    tmp_path: Path, told: Path, where: str
) -> None:
    bad = models.save(hostile_model(f"abort in {where}, not in a trial"), tmp_path / "bad.onnx")
    with started(tmp_path) as serve:
        load(serve, "good", save(tmp_path, "good"))
        load(serve, "bad", save(tmp_path, "before", 2))
        load_dying(serve, "lone", bad)
        load_dying(serve, "bad", bad)
        expected = {
            ("good", "1"): ("Ready", ""),
            ("bad", "1"): ("Ready", ""),
            ("bad", "2"): ("Failed", DIED),
            ("lone", "1"): ("Failed", DIED),
        }
        assert states(serve) == expected
        assert (answer(serve, "good"), answer(serve, "bad")) == (1, 2)
        load_dying(serve, "lone", bad)  # asked for again, tried again
        kill(serve)
    with started(tmp_path) as serve:  # and not in a loop
        assert states(serve) == expected
        load(serve, "lone", save(tmp_path, "mended", 3))
        assert serve.call("POST", "/control/models/bad/unload", {})[0] == 200
        kill(serve)
    with started(tmp_path) as serve:
        assert states(serve) == {("good", "1"): ("Ready", ""), ("lone", "1"): ("Ready", "")}
        assert answer(serve, "lone") == 3


def test_a_model_whose_load_somebody_else_killed_is_tried_out_again_and_served(tmp_path: Path, told: Path) -> None:
    innocent = models.save(hostile_model("hang in load, not in a trial, once told", 2), tmp_path / "m.onnx")
    told.touch()
    with started(tmp_path) as serve:
        load(serve, "good", save(tmp_path, "good"))
        loading = threading.Thread(target=load_dying, args=(serve, "m", innocent))
        loading.start()
        until(told.with_name("hanging").exists)
        processes(serve)[1].kill()
        loading.join()
        assert states(serve) == {("good", "1"): ("Ready", ""), ("m", "1"): ("Failed", DIED)}
        told.unlink()
        serve.seen.clear()
        load(serve, "m", innocent)
        serve.until("a new model was tried out first")
        assert (answer(serve, "good"), answer(serve, "m")) == (1, 2)


def test_a_model_that_kills_the_service_in_its_tenth_run_is_restored(tmp_path: Path, told: Path) -> None:
    with started(tmp_path) as serve:
        load(serve, "good", save(tmp_path, "good"))
        load(serve, "bad", models.save(hostile_model("abort in run 10", 2), tmp_path / "bad.onnx"))
        with pytest.raises((http.client.HTTPException, OSError)):
            for _ in range(10):  # the first of its runs were the warm-up's
                assert answer(serve, "bad") == 2
        serve.ready()
        assert states(serve) == {("good", "1"): ("Ready", ""), ("bad", "1"): ("Ready", "")}
        assert (answer(serve, "good"), answer(serve, "bad")) == (1, 2)


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("once told", "crashed it (SIGABRT)"),
        ("not in a trial, once told", "the service died twice while restoring this model"),
    ],
)
def test_a_model_that_kills_the_service_while_restored_is_found_out(
    tmp_path: Path, told: Path, when: str, reason: str
) -> None:
    bad = models.save(hostile_model(f"abort in load, {when}", 2), tmp_path / "bad.onnx")
    with started(tmp_path) as serve:
        for number in range(4):
            load(serve, f"good{number}", save(tmp_path, "good", number))
        load(serve, "bad", bad)
        kill(serve)
    told.touch()
    with started(tmp_path, "--strict-readiness=false") as serve:
        found = statuses(serve)
        assert found["bad", "1"]["state"] == "Failed"
        assert reason in found["bad", "1"]["reason"]
        assert [answer(serve, f"good{number}") for number in range(4)] == [0, 1, 2, 3]
        told.unlink()
        load(serve, "bad", bad)
        assert answer(serve, "bad") == 2


def test_a_damaged_state_is_set_aside_and_said(tmp_path: Path) -> None:
    with started(tmp_path) as serve:
        load(serve, "a", save(tmp_path, "one"))
        serve.stop()
    state = serve.data_dir / "state.sqlite"
    state.write_bytes(b"no database " * 1000)
    with started(tmp_path) as serve:
        _, said = serve.call("GET", "/control/status")
        damaged, found = json.loads(said)["notes"]
        (aside,) = serve.data_dir.glob("state.sqlite.damaged-*")
        assert aside.name in damaged
        assert "1 models still lie in the store" in found
        assert statuses(serve) == {}
        load(serve, "a", tmp_path / "one.onnx")
        kill(serve)
    with started(tmp_path) as serve:
        assert answer(serve, "a") == 1


def test_a_state_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    with started(tmp_path) as serve:
        serve.stop()
    state = serve.data_dir / "state.sqlite"
    with sqlite3.connect(state) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = state.read_bytes()
    with Serve(tmp_path) as serve:
        assert serve.ended() == 2
        assert any("was written by a newer version (its schema is 99" in line for line in serve.seen)
    assert state.read_bytes() == before


@pytest.mark.long
def test_two_hundred_loads_and_unloads_leave_nothing(tmp_path: Path) -> None:
    paths = [models.save(models.mlp(seed=number), tmp_path / f"{number}.onnx") for number in range(2)]
    with started(tmp_path) as serve:
        worker = processes(serve)[-1]
        used: list[tuple[int, int, int]] = []
        for number in range(200):
            load(serve, "m", paths[number % 2], config={"batching": "never"})
            assert serve.call("POST", "/control/models/m/unload", {})[0] == 200
            if number in (49, 199):
                used.append((worker.memory_info().rss, worker.num_fds(), worker.num_threads()))
        (rss, descriptors, threads), (rss_at_end, descriptors_at_end, threads_at_end) = used
        assert rss_at_end - rss < 20 * 2**20
        assert descriptors_at_end - descriptors <= 2
        assert threads_at_end - threads <= 2
        assert list((serve.data_dir / "models").iterdir()) == []
        assert statuses(serve) == {}

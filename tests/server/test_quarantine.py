"""A model whose runs end the service again and again is not served any more: real processes, really crashed."""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests import models
from tests.helpers.service_process import Serve
from tests.hostile import hostile_model, hostile_runtime
from tests.server.real_service import started

ZEROS = [0, 0, 0, 0]
HARMFUL = [0, 0, 0, 13]


def infer(serve: Serve, name: str, values: list[int], version: str = "") -> tuple[int, dict[str, Any]]:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": values}]}
    at = f"/versions/{version}" if version else ""
    status, said = serve.call("POST", f"/v2/models/{name}{at}/infer", body)
    return status, json.loads(said)


def crash(serve: Serve, name: str) -> None:
    with pytest.raises((http.client.HTTPException, OSError)):
        infer(serve, name, HARMFUL)
    serve.until(f"killed by signal 6 (SIGABRT) in a run of model '{name}' version 1: Fatal Python error: Aborted")


def load(serve: Serve, name: str, path: Path) -> None:
    status, said = serve.call("POST", f"/control/models/{name}/load", {"path": str(path)})
    assert status == 200, said


def state(serve: Serve, name: str) -> tuple[str, str]:
    (found,) = json.loads(serve.call("GET", f"/control/models/{name}")[1])
    return found["state"], found["reason"]


def test_a_model_that_crashes_the_service_twice_is_set_aside_until_it_is_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    bad = models.save(hostile_model("abort in row 13", 2), tmp_path / "bad.onnx")
    flagged = models.save(hostile_model("abort in row 13", 3), tmp_path / "flagged.onnx")
    with started(tmp_path, "--load", f"flagged={flagged}") as serve:
        load(serve, "good", models.save(models.add_constant(1.0), tmp_path / "good.onnx"))
        load(serve, "bad", bad)

        crash(serve, "bad")
        serve.ready()
        assert infer(serve, "bad", ZEROS)[0] == 200
        crash(serve, "flagged")
        serve.ready()
        crash(serve, "bad")
        serve.until("model 'bad' version 1 is quarantined: its runs ended the service 2 times within 60 minutes")
        serve.ready()
        crash(serve, "flagged")
        serve.until("model 'flagged' version 1 is quarantined")
        serve.ready()  # and so it stays, for the others

        for name in ("bad", "flagged"):
            status, reason = state(serve, name)
            assert status == "Failed" and reason.startswith("quarantined: its runs ended the service 2 times")
            for version in ("", "1"):
                status, said = infer(serve, name, ZEROS, version)
                assert status == 503 and "load it again to try once more, or unload it" in said["error"]
        assert infer(serve, "good", ZEROS)[0] == 200
        assert serve.call("GET", "/v2/health/ready")[0] == 200

        assert serve.call("POST", "/v2/repository/models/bad/load", {})[0] == 200
        load(serve, "flagged", flagged)
        assert [infer(serve, name, ZEROS)[0] for name in ("bad", "flagged")] == [200, 200]


@pytest.mark.long
def test_a_model_that_hangs_twice_is_set_aside_also_for_the_next_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    monkeypatch.setenv("INFER_WORKBENCH_RUN_LIMIT_S", "1")
    stuck = models.save(hostile_model("hang in row 13"), tmp_path / "stuck.onnx")
    flags = "--load", f"stuck={stuck}"
    with started(tmp_path, *flags) as serve:
        load(serve, "good", models.save(models.add_constant(1.0), tmp_path / "good.onnx"))
        answers: list[int] = []
        for _ in range(2):
            asking = threading.Thread(target=lambda: answers.append(infer(serve, "stuck", HARMFUL)[0]))
            asking.start()
            serve.until("the worker ended itself, because a run of model 'stuck' version 1 did not end")
            serve.ready()
            asking.join()
        assert answers == [504, 504]
        assert state(serve, "stuck")[1].startswith("quarantined: ")
        assert serve.stop() == 0
    with started(tmp_path, *flags) as serve:
        assert state(serve, "stuck")[1].startswith("quarantined: ")
        assert infer(serve, "good", ZEROS)[0] == 200
        serve.stop()
    models.save(models.add_constant(1.0, (1, 4)), stuck)
    with started(tmp_path, *flags) as serve:  # what the flag names is another model by now
        assert infer(serve, "stuck", HARMFUL)[0] == 200

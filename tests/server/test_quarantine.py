"""A model whose runs end the service again and again is not served any more: real processes, really crashed."""

from __future__ import annotations

import contextlib
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
from workbench.client.share_results import table_of

ZEROS = [0, 0, 0, 0]
HARMFUL = [0, 0, 0, 13]


def infer(serve: Serve, name: str, values: list[int], version: str = "", **headers: str) -> tuple[int, dict[str, Any]]:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": values}]}
    at = f"/versions/{version}" if version else ""
    status, said = serve.call("POST", f"/v2/models/{name}{at}/infer", body, **headers)
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


def test_a_share_whose_requests_crash_a_model_twice_is_kept_from_it_and_the_owner_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    with started(tmp_path) as serve:
        bad = models.save(hostile_model("abort in row 13", 2), tmp_path / "bad.onnx")
        load(serve, "bad", bad)
        load(serve, "good", models.save(models.add_constant(1.0), tmp_path / "good.onnx"))
        tokens = {}
        for label in ("team-a", "team-b"):
            terms = {"models": ["bad", "good"], "label": label, "show_token": True}
            made = json.loads(serve.call("POST", "/control/shares", terms)[1])
            tokens[label] = made["token"]
            if label == "team-a":
                id = made["id"]

        def answered(name: str, token: str, values: list[int]) -> tuple[int, dict[str, Any]]:
            body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": values}]}
            status, said = serve.call("POST", f"/v2/models/{name}/infer", body, Authorization=f"Bearer {token}")
            return status, json.loads(said)

        for last in (False, True):
            with pytest.raises((http.client.HTTPException, OSError)):
                answered("bad", tokens["team-a"], HARMFUL)
            serve.until(f"in a run of model 'bad' version 1 for share {id}: Fatal Python error: Aborted")
            if last:
                serve.until(f"share {id} is suspended for model 'bad': its requests ended the service 2 times")
            serve.ready()

        status, said = answered("bad", tokens["team-a"], ZEROS)
        assert status == 403 and "its requests ended the service more than once" in said["error"]
        assert answered("good", tokens["team-a"], ZEROS)[0] == 200
        assert answered("bad", tokens["team-b"], ZEROS)[0] == 200
        assert infer(serve, "bad", ZEROS)[0] == 200 and state(serve, "bad")[0] == "Ready"
        listed = table_of(json.loads(serve.call("GET", "/control/shares")[1]))
        assert {each.label: list(each.suspended) for each in listed} == {"team-a": ["bad"], "team-b": []}
        assert "SIGABRT" in listed[0].suspended["bad"]
        assert "holds, suspended for bad" in repr(listed)
        assert "team-a may not call bad any more" in repr(listed) and "once you load bad" in listed._repr_html_()
        rows = [each for each in json.loads(serve.call("GET", "/control/audit")[1]) if each["action"] == "suspend"]
        assert [(row["subject"], row["detail"], row["who"]) for row in rows] == [("team-a", f"{id}: bad", "service")]

        load(serve, "bad", bad)
        assert answered("bad", tokens["team-a"], ZEROS)[0] == 200
        assert table_of(json.loads(serve.call("GET", "/control/shares")[1]))[0].suspended == {}
        assert serve.stop() == 0


@pytest.mark.long
def test_a_share_that_crashes_a_batch_of_several_callers_closes_the_model_to_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    with started(tmp_path) as serve:
        bad = models.add_constant()
        bad.graph.name = "abort in row 13"
        path, delay = models.save(bad, tmp_path / "bad.onnx"), {"max_queue_delay_s": 0.5}
        assert serve.call("POST", "/control/models/bad/load", {"path": str(path), "config": delay})[0] == 200
        made = json.loads(
            serve.call("POST", "/control/shares", {"models": ["bad"], "label": "team-a", "show_token": True})[1]
        )
        for ends, whose in enumerate(("", f" for share {made['id']}", f" for share {made['id']}")):
            asking = [
                threading.Thread(target=crashing, args=(serve, values, headers))
                for values, headers in ((ZEROS, {}), (HARMFUL, {"Authorization": f"Bearer {made['token']}"}))
            ]
            for each in asking:
                each.start()
            serve.until(f"in a run of model 'bad' version 1{whose}: Fatal")
            if ends == 2:
                serve.until(f"share {made['id']} is suspended for model 'bad'")
            serve.ready()
            for each in asking:
                each.join()
        assert state(serve, "bad")[0] == "Ready" and infer(serve, "bad", ZEROS)[0] == 200
        assert serve.stop() == 0


def crashing(serve: Serve, values: list[int], headers: dict[str, str]) -> None:
    """Ask, and do not mind that the service ends meanwhile."""
    with contextlib.suppress(http.client.HTTPException, OSError):
        infer(serve, "bad", values, **headers)


@pytest.mark.long
def test_a_share_whose_requests_hang_a_model_twice_is_kept_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile_runtime(tmp_path, monkeypatch.setenv)
    monkeypatch.setenv("INFER_WORKBENCH_RUN_LIMIT_S", "1")
    with started(tmp_path) as serve:
        load(serve, "stuck", models.save(hostile_model("hang in row 13"), tmp_path / "stuck.onnx"))
        terms = {"models": ["stuck"], "label": "team-a", "show_token": True}
        made = json.loads(serve.call("POST", "/control/shares", terms)[1])
        answers: list[int] = []

        def asked(values: list[int]) -> None:
            answers.append(infer(serve, "stuck", values, Authorization=f"Bearer {made['token']}")[0])

        for _ in range(2):
            asking = threading.Thread(target=asked, args=(HARMFUL,))
            asking.start()
            serve.until(f"a run of model 'stuck' version 1 for share {made['id']} did not end")
            serve.ready()
            asking.join()
        asked(ZEROS)
        assert answers == [504, 504, 403]
        assert state(serve, "stuck")[0] == "Ready" and infer(serve, "stuck", ZEROS)[0] == 200
        assert serve.stop() == 0


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

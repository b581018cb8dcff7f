"""The process: what it writes, when it is ready, how it ends."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests import models
from tests.helpers.service_process import Serve
from tests.server.real_service import started

BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    models.save(models.identity(), folder / "good" / "1" / "model.onnx")
    models.save(models.add_constant(), folder / "good" / "2" / "model.onnx")
    bad = folder / "bad" / "1" / "model.onnx"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"this is no model")
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_service_says_where_it_is_serves_and_goes(tmp_path: Path, repository: Path) -> None:
    path = models.save(models.identity(), tmp_path / "mine.onnx")
    arguments = ["--model-repository", str(repository), "--load", f"mine={path}", "--grpc-port", "0"]
    arguments += ["--exit-on-error=false", "--strict-readiness=false"]
    with started(tmp_path, *arguments) as serve:
        published = serve.published
        assert set(published) == {"url", "grpc", "pid", "version", "token_file", "ca_file"}
        assert published["ca_file"] is None
        assert str(published["grpc"]).startswith("127.0.0.1:")
        assert published["pid"] == serve.process.pid
        assert mode(serve.ready_file) == 0o600
        assert mode(Path(published["token_file"])) == 0o600
        assert mode(serve.data_dir) == 0o700

        # What failed says so, and the others serve.
        _, answer = serve.call("GET", "/control/models")
        states = {(each["name"], each["version"]): each["state"] for each in json.loads(answer)}
        assert states["mine", "1"] == states["good", "2"] == "Ready"
        assert [state for (name, _), state in states.items() if name == "bad"] == ["Failed"]
        assert serve.call("POST", "/v2/models/good/infer", BODY)[0] == 200
        assert serve.call("GET", "/v2/health/ready")[0] == 200

        status, answer = serve.call("GET", "/control/logs?lines=1000")
        assert status == 200
        assert any("workbench.serve: ready" in line for line in json.loads(answer)["lines"])

        token = serve.token
        assert serve.stop() == 0
    assert not serve.ready_file.exists()
    said = "\n".join(serve.seen)
    assert "model bad of the repository was not loaded: " in said
    assert "stopped" in said
    assert token not in said
    assert token not in (serve.data_dir / "service.log").read_text(encoding="utf-8")
    assert mode(serve.data_dir / "service.log") == 0o600


def test_a_request_under_way_is_finished_when_the_service_is_told_to_stop(tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "slow"
    models.save(models.identity(), folder / "1" / "model.onnx")
    # A lone request waits for company until the drain releases it.
    (folder / "model.toml").write_text("max_queue_delay_s = 10.0\nbatching = 'always'\n")
    with Serve(tmp_path, "--model-repository", str(folder.parent), "--log-format", "json") as serve:
        serve.until('"message": "ready"')
        answers: list[tuple[int, bytes]] = []
        asking = threading.Thread(target=lambda: answers.append(serve.call("POST", "/v2/models/slow/infer", BODY)))
        asking.start()
        while json.loads(serve.call("GET", "/control/models/slow")[1])[0]["queued"] == 0:
            pass
        assert serve.stop() == 0
        asking.join()
    ((status, answer),) = answers
    assert status == 200
    assert json.loads(answer)["outputs"][0]["data"] == [1, 2, 3, 4]
    assert all(json.loads(line)["level"] for line in serve.seen)


def test_a_load_that_fails_ends_the_service_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"this is no model")
    with Serve(tmp_path, "--load", f"bad={tmp_path / 'bad.onnx'}") as serve:
        assert serve.ended() == 2
        assert any("--load bad failed: " in line for line in serve.seen)
        assert not serve.ready_file.exists()


def test_a_load_of_a_file_that_is_not_there_ends_it_too(tmp_path: Path) -> None:
    with Serve(tmp_path, "--load", f"gone={tmp_path / 'gone.onnx'}") as serve:
        assert serve.ended() == 2
        assert any("--load gone failed: " in line for line in serve.seen)


def test_ctrl_c_stops_it_as_sigterm_does_and_a_stream_ends_with_it(tmp_path: Path) -> None:
    with started(tmp_path) as serve:
        connection = http.client.HTTPConnection(serve.address, timeout=30)
        connection.request("GET", "/control/stream?interval=10", headers={"Authorization": f"Bearer {serve.token}"})
        response = connection.getresponse()
        assert json.loads(response.readline())["sequence"] == 0
        serve.process.send_signal(signal.SIGINT)
        assert response.readline() == b""
        connection.close()
        assert serve.ended() == 0


def test_the_token_of_a_data_folder_is_kept_over_a_restart(tmp_path: Path) -> None:
    with Serve(tmp_path) as serve:
        first = serve.ready().token
        assert serve.stop() == 0
    with Serve(tmp_path) as serve:
        assert serve.ready().token == first


def test_the_callers_own_token_is_taken_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("my-own-token-0123456789\n")
    (tmp_path / "mine").chmod(0o600)
    with started(tmp_path, "--token-file", str(tmp_path / "mine")) as serve:
        assert serve.published["token_file"] == str(tmp_path / "mine")
        assert serve.call("GET", "/v2")[0] == 200
        assert serve.call("GET", "/v2", Authorization="Bearer another-token-0123456789")[0] == 401
        assert not (serve.data_dir / "token").exists()


def test_without_auth_nobody_needs_a_token_but_a_foreign_host_is_refused(tmp_path: Path) -> None:
    with started(tmp_path, "--no-auth") as serve:
        assert serve.published["token_file"] is None
        connection = http.client.HTTPConnection(serve.address, timeout=30)
        for host, expected in ((serve.address, 200), ("evil.example", 403)):
            connection.request("GET", "/v2", headers={"Host": host})
            response = connection.getresponse()
            response.read()
            assert response.status == expected
        connection.close()


def test_a_port_that_is_taken_is_one_line_and_status_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = subprocess.run(
            [sys.executable, "-m", "workbench", "serve", "--http-port", str(port), "--data-dir", str(tmp_path)],
            capture_output=True,
            text=True,
        )
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in line


def test_a_service_that_cannot_listen_leaves_the_ready_file_of_the_one_that_does(tmp_path: Path) -> None:
    with started(tmp_path) as first:
        port = first.address.rpartition(":")[2]
        second = [sys.executable, "-m", "workbench", "serve", "--http-port", port]
        second += ["--data-dir", str(tmp_path / "other"), "--ready-file", str(first.ready_file)]
        ended = subprocess.run(second, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 2
        assert "cannot listen" in ended.stderr
        assert first.published["url"] == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("place", [".", "nowhere/ready.json"])
def test_a_ready_file_that_cannot_be_written_is_one_line(place: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "workbench", "serve", "--http-port", "0", "--data-dir", str(tmp_path / "data")]
    ended = subprocess.run(
        [*command, "--ready-file", str(tmp_path / place)], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "--ready-file" in ended.stderr


def test_an_end_does_not_wait_for_a_model_that_warms_up_for_ever(tmp_path: Path) -> None:
    endless = models.save(models.endless(), tmp_path / "endless.onnx")
    quick = {"INFER_WORKBENCH_TRIAL": "false", "INFER_WORKBENCH_DRAIN_TIMEOUT_S": "1"}
    with Serve(tmp_path, "--load", f"endless={endless}", environment=quick) as service:
        service.until("version 1 is Warming")
        assert service.stop() == 0
        assert not any("terminate" in line or "Traceback" in line for line in service.seen)

"""A service of which a model fails at its start, as a process: its exit status, its ready file, and what probes see."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2

from tests import models
from tests.helpers.service_process import Serve
from workbench.protocols import pb

NO_AUTH = ("--no-auth", "--grpc-port", "0")


def repository(folder: Path) -> Path:
    models.save(models.identity(), folder / "repository" / "good" / "1" / "model.onnx")
    bad = folder / "repository" / "bad" / "1" / "model.onnx"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"this is no model")
    return folder / "repository"


def test_models_that_fail_end_it_with_each_reason(tmp_path: Path) -> None:
    missing = tmp_path / "gone.onnx"
    flags = ("--model-repository", str(repository(tmp_path)), "--load", f"gone={missing}", *NO_AUTH)
    with Serve(tmp_path, *flags) as serve:
        assert serve.ended() == 2
        said = "\n".join(serve.seen)
        assert "--load gone failed: " in said
        assert "model bad of the repository was not loaded: " in said
        assert "the service ends, since gone, bad failed; with --exit-on-error=false it serves the others" in said
        assert not serve.ready_file.exists()


def test_told_to_go_on_it_serves_the_others_and_is_not_ready(tmp_path: Path) -> None:
    flags = ("--model-repository", str(repository(tmp_path)), "--exit-on-error=false", *NO_AUTH)
    with Serve(tmp_path, *flags, "--log-format", "json") as serve:
        address, target = _not_ready(serve)
        assert not serve.ready_file.exists()
        assert _ready(serve, address, target) == (503, False)
        assert serve.call_at(address, "GET", "/v2/models/good/ready")[0] == 200
        assert serve.call_at(address, "GET", "/v2/health/live")[0] == 200
        assert serve.call_at(address, "POST", "/v2/repository/models/bad/unload")[0] == 200
        assert _ready(serve, address, target) == (200, True)
        assert serve.stop() == 0


def test_a_model_that_cannot_be_restored_leaves_it_running_and_not_ready(tmp_path: Path) -> None:
    path = models.save(models.identity(), tmp_path / "mine.onnx")
    with Serve(tmp_path, *NO_AUTH) as serve:
        assert serve.ready().call_at(serve.address, "POST", "/control/models/mine/load", {"path": str(path)})[0] == 200
        assert serve.stop() == 0
    shutil.rmtree(tmp_path / "data" / "models")
    with Serve(tmp_path, *NO_AUTH, "--log-format", "json") as serve:
        address, target = _not_ready(serve)
        assert _ready(serve, address, target) == (503, False)
        assert not serve.ready_file.exists()
        assert serve.stop() == 0
    with Serve(tmp_path, *NO_AUTH, "--strict-readiness=false") as serve:
        assert _ready(serve.ready(), serve.address, serve.grpc) == (200, True)
        assert serve.stop() == 0


def _not_ready(serve: Serve) -> tuple[str, str]:
    """Where it serves, HTTP and gRPC, once it has said that it is not ready."""
    url, target = (json.loads(serve.until(word))[key] for word, key in (('"url"', "url"), ('"grpc"', "grpc")))
    serve.until("not ready: ")
    return url.removeprefix("http://"), target


def _ready(serve: Serve, address: str, target: str) -> tuple[int, bool]:
    """As HTTP and gRPC say it."""
    status, _ = serve.call_at(address, "GET", "/v2/health/ready")
    with grpc.insecure_channel(target) as channel:
        ask = channel.unary_unary(
            f"/{pb.SERVICE}/ServerReady", response_deserializer=service_pb2.ServerReadyResponse.FromString
        )
        return status, ask(b"", timeout=30).ready

"""The unmodified KServe client, over HTTP and gRPC, against the real service."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import models
from tests.helpers.service_process import Serve
from tests.kserve.environment import INSTALL_S, python

# The first run makes the client's environment.
pytestmark = [pytest.mark.long, pytest.mark.timeout(INSTALL_S + 120)]

ANSWER = {
    "model": "plus",
    "id": "seven",
    "name": "y",
    "datatype": "FP32",
    "shape": [2, 4],
    "data": [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25],
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the client says came back."""
    folder, interpreter = tmp_path_factory.mktemp("service"), python()
    repository = folder / "repository"
    models.save(models.add_constant(0.5), repository / "plus" / "1" / "model.onnx")
    models.save(models.identity("BYTES", ("batch", 2)), repository / "texts" / "1" / "model.onnx")
    with Serve(folder, "--model-repository", str(repository), "--grpc-port", "0") as serve:
        serve.ready()
        asked = [str(interpreter), str(Path(__file__).with_name("client.py"))]
        asked += [serve.published["url"], serve.grpc, serve.token]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout)


def test_the_kserve_client_is_served_over_http(found: dict[str, Any]) -> None:
    http = found["http"]
    assert (http["live"], http["ready"], http["model"]) == (True, True, True)
    assert http["json"] == http["binary"] == ANSWER
    assert http["texts"] == ["a", "bc"]
    assert "unexpected shape for input 'x'" in http["wrong"]
    assert "Authorization: Bearer TOKEN" in http["no token"]


def test_the_kserve_client_is_served_over_grpc(found: dict[str, Any]) -> None:
    grpc = found["grpc"]
    assert (grpc["live"], grpc["ready"], grpc["model"]) == (True, True, True)
    assert grpc["raw"] == grpc["typed"] == ANSWER
    assert grpc["texts"] == ["a", "bc"]
    assert "INVALID_ARGUMENT" in grpc["wrong"]
    assert "unexpected shape for input 'x'" in grpc["wrong"]
    assert "UNAUTHENTICATED" in grpc["no token"]

"""One service for all tests of its gRPC port; after each of them its worker is the same, and answers."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from tests import models
from tests.helpers.service_process import Serve, worker_of
from tests.http2.raw import Peer
from tests.http2.service import is_live

MAX_BODY_BYTES = 8_000_000
"""Low enough to be met."""


@pytest.fixture(scope="package")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder = tmp_path_factory.mktemp("service")
    repository = folder / "repository"
    for name, model in {
        "echo": models.identity(shape=("batch", "n")),
        "loop": models.loop(),
    }.items():
        models.save(model, repository / name / "1" / "model.onnx")
    limits = {"INFER_WORKBENCH_MAX_BODY_BYTES": str(MAX_BODY_BYTES)}
    with Serve(folder, "--model-repository", str(repository), "--grpc-port", "0", environment=limits) as serve:
        yield serve.ready()


@pytest.fixture(scope="package")
def worker(serve: Serve) -> psutil.Process:
    return worker_of(serve)


@pytest.fixture(scope="package")
def address(serve: Serve) -> str:
    return serve.grpc


@pytest.fixture(scope="package")
def token(serve: Serve) -> str:
    return serve.token


@pytest.fixture(autouse=True)
def _the_service_lives_on(serve: Serve, worker: psutil.Process) -> Iterator[None]:
    yield
    with Peer(serve.grpc) as peer:
        is_live(peer)
    assert worker_of(serve).pid == worker.pid, "the worker was replaced"

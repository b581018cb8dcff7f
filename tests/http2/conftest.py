"""One service for all tests of its gRPC port. At the end its worker is still the first one, and answers."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from tests import models
from tests.helpers.service_process import Serve, worker_of
from tests.http2.raw import Peer
from tests.http2.service import is_live

MAX_BODY_BYTES = 8_000_000
"""Low enough for tests to exceed it."""


@pytest.fixture(scope="package")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder = tmp_path_factory.mktemp("service")
    repository = folder / "repository"
    for name, model in {"echo": models.identity(shape=("batch", "n")), "loop": models.loop()}.items():
        models.save(model, repository / name / "1" / "model.onnx")
    limits = {"INFER_WORKBENCH_MAX_BODY_BYTES": str(MAX_BODY_BYTES)}
    with Serve(folder, "--model-repository", str(repository), "--grpc-port", "0", environment=limits) as serve:
        yield serve.ready()


@pytest.fixture(scope="package")
def first_worker(serve: Serve) -> psutil.Process:
    return worker_of(serve)


@pytest.fixture
def worker(serve: Serve, first_worker: psutil.Process) -> Iterator[psutil.Process]:
    """The worker, which must survive the test and answer afterwards."""
    yield first_worker
    assert worker_of(serve).pid == first_worker.pid, "the worker was replaced"
    with Peer(serve.grpc) as peer:
        is_live(peer)


@pytest.fixture
def address(serve: Serve, worker: psutil.Process) -> str:
    return serve.grpc


@pytest.fixture
def token(serve: Serve) -> str:
    return serve.token

"""A model that is replaced behind a client's back, against a real service.

Each client predicts, then the model becomes one whose rows depend on each other, with the same inputs and outputs, and
each client predicts again: 100 rows must not be cut into batches of 64 as they were for the model before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.service_process import Serve, worker_of
from tests.helpers.waiting import until
from tests.models import add_constant, batch_mixing, identity, save
from tests.server.real_service import serving
from workbench.api import Workbench, connect
from workbench.client.client import AsyncClient
from workbench.client.grpc_client import GrpcClient
from workbench.client.predict import Predictor
from workbench.core.messages import InferRequest
from workbench.core.tensor import Array
from workbench.errors import InvalidInput

X = np.arange(400, dtype=np.float32).reshape(100, 4)
PLAIN, MIXING = X + 1, X - X.mean(axis=0)

Predict = Callable[[], Array]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder = tmp_path_factory.mktemp("service")
    with serving(folder, {"m": add_constant()}) as serve:
        yield serve


@pytest.fixture
def other(serve: Serve) -> Iterator[Workbench]:
    """Another client, which replaces the model. The model is `add_constant`, version 1 of its repository."""
    save(add_constant(), repository(serve) / "m" / "1" / "model.onnx")
    with connect(serve.published["url"], serve.token) as other:
        if "m" in other:
            other.unload("m")
        load_stored(other)
        yield other


def repository(serve: Serve) -> Path:
    return serve.data_dir.parent / "repository"


def load_stored(wb: Workbench) -> None:
    asyncio.run(_load_stored(wb))


async def _load_stored(wb: Workbench) -> None:
    async with AsyncClient(wb.url, wb.client.token) as client:
        await client.load_stored("m")


@pytest.fixture
def clients(serve: Serve, other: Workbench) -> Iterator[dict[str, Predict]]:
    """Clients that all have predicted."""
    url, grpc, token = serve.published["url"], f"grpc://{serve.grpc}", serve.token
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(connect(each, token)) for each in (url, url, grpc))
        runner = stack.enter_context(asyncio.Runner())
        client = AsyncClient(url, token)
        predictor = Predictor(client)
        stack.callback(lambda: runner.run(client.close()))
        clients: dict[str, Predict] = {
            "workbench": lambda: np.asarray(first["m"](X)),
            "job": lambda: np.asarray(second.submit("m", X).result(60)),
            "gRPC": lambda: np.asarray(third["m"](X)),
            "asyncio": lambda: np.asarray(runner.run(predictor.predict("m", X))),
        }
        for predict in clients.values():
            np.testing.assert_allclose(predict(), PLAIN)
        yield clients


def check(clients: dict[str, Predict]) -> None:
    for name, predict in clients.items():
        np.testing.assert_allclose(predict(), MIXING, rtol=1e-5, err_msg=name)


def test_a_swap_by_another_client(clients: dict[str, Predict], other: Workbench) -> None:
    other.load("m", batch_mixing())
    check(clients)


def test_an_unload_and_a_load_of_another_model_under_its_name(clients: dict[str, Predict], other: Workbench) -> None:
    other.unload("m")
    other.load("m", batch_mixing())
    check(clients)


def test_a_load_of_its_repository_whose_file_was_replaced(
    clients: dict[str, Predict], serve: Serve, other: Workbench
) -> None:
    before = other["m"].status
    save(batch_mixing(), repository(serve) / "m" / "1" / "model.onnx")
    load_stored(other)
    after = other["m"].status
    assert (before.version, before.signature) == (after.version, after.signature)
    check(clients)


def test_a_model_of_another_kind_under_its_name(clients: dict[str, Predict], other: Workbench) -> None:
    other.unload("m")
    other.load("m", identity("INT64"))
    for predict in clients.values():
        with pytest.raises(InvalidInput, match="takes whole numbers"):
            predict()
    other.unload("m")
    other.load("m", batch_mixing())
    check(clients)


def test_a_worker_that_was_killed_and_serves_another_file(
    clients: dict[str, Predict], serve: Serve, other: Workbench
) -> None:
    save(batch_mixing(), repository(serve) / "m" / "1" / "model.onnx")
    killed = worker_of(serve)
    killed.kill()
    until(lambda: worker_of(serve).pid != killed.pid)
    serve.ready()
    check(clients)


def test_a_service_that_ended_and_another_one_at_its_address(tmp_path: Path) -> None:
    with serving(tmp_path / "one", {"m": add_constant()}) as one:
        url, token = one.published["url"], one.token
        with connect(url, token) as wb:
            np.testing.assert_allclose(wb["m"](X)["y"], PLAIN)
            one.stop()
            port, file = url.rpartition(":")[2], tmp_path / "token"
            file.write_text(token)
            file.chmod(0o600)
            flags = ("--http-port", port, "--token-file", str(file))
            with serving(tmp_path / "two", {"m": batch_mixing()}, *flags):
                np.testing.assert_allclose(wb["m"](X)["y"], MIXING, rtol=1e-5)


async def test_each_answer_names_the_load_that_gave_it(serve: Serve, other: Workbench) -> None:
    async with (
        AsyncClient(serve.published["url"], serve.token) as http,
        GrpcClient(f"grpc://{serve.grpc}", serve.token) as grpc,
    ):

        async def told() -> set[str]:
            request = InferRequest("m", {"x": X[:2]})

            async def one() -> AsyncIterator[InferRequest]:
                yield request

            streamed = [getattr(answer, "epoch", "") async for answer in grpc.stream(one())]
            statuses = [(await client.status("m")).epoch for client in (http, grpc)]
            return {(await http.infer(request)).epoch, (await grpc.infer(request)).epoch, *streamed, *statuses}

        (first,) = await told()
        await asyncio.to_thread(other.set, "m", max_batch=32)
        assert await told() == {first}  # nothing was loaded for it
        await asyncio.to_thread(other.set, "m", runners="latency")
        (second,) = await told()
        assert first and second and first != second

"""Models and shapes that users have beside the usual ones, over every way: served, or refused in true words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from tests import models
from tests.helpers.service_process import Serve, worker_of
from tests.server.real_service import serving
from tests.server.triton_clients import Client
from workbench.api import connect
from workbench.core.tensor import Array


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    served = {
        "wide": models.columns(300),
        "mlp": models.mlp(),
        "text": models.strings(),
        "lstm": models.lstm(steps="steps"),
        "mixing": models.batch_mixing(),
        "refusing": models.refusing_no_rows(),
    }
    with serving(tmp_path_factory.mktemp("service"), served) as serve:
        yield serve


@pytest.fixture(params=["HTTP", "gRPC", "HTTP, JSON"])
def client(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Client]:
    client = Client(serve, request.param)
    yield client
    client.plain.close()


def test_max_tensors_follows_a_model_with_more_inputs_than_it_says(client: Client) -> None:
    columns = [client.given(np.full((2, 1), n, np.float32), f"column_{n}") for n in range(300)]
    found = client.infer("wide", columns).as_numpy("y")
    assert found.tolist() == [[float(n) for n in range(300)]] * 2


def test_more_inputs_than_the_model_has_are_too_many_all_the_same(client: Client) -> None:
    columns = [client.given(np.zeros((1, 1), np.float32), f"column_{n}") for n in range(301)]
    with pytest.raises(Exception, match="max_tensors is 300"):
        client.infer("wide", columns)
    with pytest.raises(Exception, match="max_tensors is 256"):
        client.infer("unknown", columns)


WITHOUT_ROWS = {
    "a row-wise model": ("mlp", "x", np.zeros((0, 16), np.float32), "y", (0, 16)),
    "texts of any number": ("text", "text", np.zeros((0, 5), np.object_), "joined", (0, 5)),
    "a model whose operator would end the process": ("lstm", "x", np.zeros((0, 4, 3), np.float32), "y", (0, 2)),
    "an unbatched model": ("mixing", "x", np.zeros((0, 4), np.float32), "y", (0, 4)),
    "an unbatched model that refuses them": ("refusing", "x", np.zeros((0, 4), np.float32), "y", (0, 4)),
}


@pytest.mark.parametrize(("model", "name", "sent", "output", "shape"), WITHOUT_ROWS.values(), ids=WITHOUT_ROWS)
def test_no_rows_are_answered_with_no_rows(
    client: Client, model: str, name: str, sent: Array, output: str, shape: tuple[int, ...]
) -> None:
    answer = client.infer(model, [client.given(sent, name)], outputs=[client.asked(output)])
    assert client.response(answer)["outputs"][0]["shape"] == list(shape)
    assert answer.as_numpy(output).shape == shape


def test_no_rows_have_no_classes(client: Client) -> None:
    answer = client.infer("mlp", [client.given(np.zeros((0, 16), np.float32))], outputs=[client.asked(class_count=3)])
    assert answer.as_numpy("y").shape == (0, 3)


def test_a_sequence_without_steps_is_refused_and_ends_nothing(client: Client, serve: Serve) -> None:
    worker = worker_of(serve).pid
    with pytest.raises(Exception, match=r"'x' of shape \[2, 0, 3\] has no elements"):
        client.infer("lstm", [client.given(np.zeros((2, 0, 3), np.float32))])
    assert worker_of(serve).pid == worker


def test_a_raw_body_of_no_bytes_is_no_rows(serve: Serve) -> None:
    headers = {"Inference_Header_Content_Length": "0", "Content_Type": "application/octet-stream"}
    status, body = serve.call("POST", "/v2/models/mlp/infer", b"", **headers)
    assert (status, b'"shape":[0,16]' in body) == (200, True)


def test_no_rows_are_no_rows_in_python(serve: Serve) -> None:
    with connect(f"http://{serve.address}", serve.token) as wb:
        found = wb.predict("mlp", np.zeros((0, 16), np.float32))
        assert found["y"].shape == (0, 16)
        assert wb.predict("mlp", pd.DataFrame(np.zeros((0, 16)))).to_pandas().shape == (0, 16)

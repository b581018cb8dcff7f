"""Models and shapes that users have beside the usual ones, over every way: served, or refused in true words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests import models
from tests.helpers.service_process import Serve
from tests.server.real_service import serving
from tests.server.triton_clients import Client


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    served = {"wide": models.columns(300)}
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

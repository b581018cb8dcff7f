"""The unmodified tritonclient[grpc] with system shared memory and classification."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException
from tritonclient.utils import shared_memory as shm

from tests import models
from tests.helpers.service_process import Serve
from tests.server.grpc.test_tritonclient import Client, X, given


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder = tmp_path_factory.mktemp("service")
    models.save(models.mlp(), folder / "repository" / "mlp" / "1" / "model.onnx")
    arguments = ["--model-repository", str(folder / "repository"), "--grpc-port", "0", "--allow-shared-memory"]
    with Serve(folder, *arguments) as serve:
        yield serve.ready()


@pytest.fixture
def client(serve: Serve) -> Iterator[Client]:
    client = Client(serve)
    yield client
    client.unregister_system_shared_memory()
    client.plain.close()


@pytest.fixture
def region() -> Iterator[tuple[Any, str]]:
    """A region of 1024 bytes, and its key."""
    key = f"/workbench_test_{os.getpid()}"
    handle = shm.create_shared_memory_region("data", key, 1024)
    yield handle, key
    shm.destroy_shared_memory_region(handle)


def test_inputs_and_outputs_in_shared_memory(client: Client, region: tuple[Any, str]) -> None:
    handle, key = region
    shm.set_shared_memory_region(handle, [X])
    client.register_system_shared_memory("data", key, 1024)
    assert client.get_system_shared_memory_status().regions["data"].byte_size == 1024
    assert "system_shared_memory" in client.get_server_metadata().extensions
    x = InferInput("x", [3, 16], "FP32")
    x.set_shared_memory("data", X.nbytes)
    y = InferRequestedOutput("y")
    y.set_shared_memory("data", X.nbytes, offset=512)
    expected = client.infer("mlp", [given("x", X, "FP32")]).as_numpy("y")
    for _ in range(2):
        result = client.infer("mlp", [x], outputs=[y])
        output = result.get_output("y")
        assert output.parameters["shared_memory_offset"].int64_param == 512
        assert [len(raw) for raw in result.get_response().raw_output_contents] == [0]
        found = shm.get_contents_as_numpy(handle, np.float32, [3, 16], offset=512)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(client.infer("mlp", [x]).as_numpy("y"), expected, rtol=1e-6)


def test_regions_that_are_not_there_are_refused_without_a_name(client: Client, region: tuple[Any, str]) -> None:
    _, key = region
    x = InferInput("x", [3, 16], "FP32")
    x.set_shared_memory("somebody's", X.nbytes)
    with pytest.raises(InferenceServerException, match=r"Unable to find shared memory region") as failed:
        client.infer("mlp", [x])
    assert "somebody" not in str(failed.value)
    with pytest.raises(InferenceServerException, match=r"INVALID_ARGUMENT.*Invalid offset"):
        client.register_system_shared_memory("data", key, 4096)
    with pytest.raises(InferenceServerException, match=r"NOT_FOUND"):
        client.get_system_shared_memory_status("nothing")


def test_the_largest_elements_of_an_output(client: Client) -> None:
    scores = client.infer("mlp", [given("x", X, "FP32")]).as_numpy("y")
    result = client.infer("mlp", [given("x", X, "FP32")], outputs=[InferRequestedOutput("y", class_count=2)])
    classes = result.as_numpy("y")
    assert classes.shape == (3, 2)
    assert [int(each[0].split(b":")[1]) for each in classes] == scores.argmax(axis=1).tolist()

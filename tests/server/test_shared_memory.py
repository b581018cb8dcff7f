"""System shared memory: the registry itself, and the unmodified tritonclient with it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given as cases
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException
from tritonclient.utils import shared_memory as shm

from tests import models
from tests.helpers.service_process import Serve
from tests.server.conftest import House
from tests.server.real_service import serving
from tests.server.triton_clients import Client, X
from workbench.config import ServerConfig
from workbench.errors import Cancelled, Conflict, InvalidInput, NotFound, QueueFull, TooLarge, WorkbenchError
from workbench.protocols.region_params import RegionSlice
from workbench.server.process.startup import prepare
from workbench.server.shared_memory import MAX_REGIONS, RegionLease, SharedMemory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shm").mkdir()
    (tmp_path / "shm" / "object").write_bytes(bytes(range(100)))
    return tmp_path / "shm"


@pytest.fixture
def memory(folder: Path) -> Iterator[SharedMemory]:
    memory = SharedMemory(1000, folder)
    memory.register("r", "/object", 10, 50)
    yield memory
    memory.unregister()


# The registry


def test_a_region_is_told_until_it_is_unregistered(memory: SharedMemory) -> None:
    (region,) = memory.regions()
    assert (region.name, region.key, region.offset, region.byte_size) == ("r", "/object", 10, 50)
    memory.unregister("r")
    memory.unregister("r")
    assert memory.regions() == []
    with pytest.raises(NotFound):
        memory.regions("r")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        ".",
        "..",
        "../object",
        "/../object",
        "a/b",
        "//object",
        "object\0",
        "infer_workbench_x",
        "x" * 300,
        "nope",
    ],
)
def test_what_names_no_object_of_the_clients_is_refused(memory: SharedMemory, key: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        memory.register("other", key, 0, 1)
    assert len(key) < 4 or key not in caught.value.message


@pytest.mark.parametrize(("offset", "size"), [(0, 101), (100, 1), (-1, 5), (0, 0), (0, -1), (1 << 62, 1), (1, 1 << 63)])
def test_a_region_lies_within_its_object(memory: SharedMemory, offset: int, size: int) -> None:
    with pytest.raises(InvalidInput, match="Invalid offset for shared memory region"):
        memory.register("other", "object", offset, size)


def test_links_and_other_things_are_no_objects(memory: SharedMemory, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "soft").symlink_to(tmp_path / "secret")
    (folder / "hard").hardlink_to(tmp_path / "secret")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    for key in ("soft", "hard", "folder", "pipe"):
        with pytest.raises(InvalidInput, match="no such object"):
            memory.register("other", key, 0, 1)


def test_a_name_is_registered_once_and_there_is_an_end(memory: SharedMemory) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Conflict):
        memory.register("r", "object", 0, 1)
    with pytest.raises(TooLarge):
        memory.register("r" * 300, "object", 0, 1)
    assert len(os.listdir("/proc/self/fd")) == before
    for number in range(MAX_REGIONS - 1):
        memory.register(str(number), "object", 0, 1)
    with pytest.raises(TooLarge):
        memory.register("one more", "object", 0, 1)


def test_a_request_keeps_what_it_named_until_it_ends(memory: SharedMemory) -> None:
    before = len(os.listdir("/proc/self/fd"))
    borrowed = RegionLease(memory)
    borrowed.claim(RegionSlice("r", 0, 5), "output 'y'")
    memory.unregister("r")
    borrowed.write(RegionSlice("r", 0, 5), b"12345", "output 'y'")
    assert borrowed.read(RegionSlice("r", 0, 6), "input 'x'") == b"12345\x0f"
    assert len(os.listdir("/proc/self/fd")) == before
    borrowed.give_back()
    assert len(os.listdir("/proc/self/fd")) == before - 1
    with pytest.raises(InvalidInput, match="Unable to find"):
        RegionLease(memory).read(RegionSlice("r", 0, 1), "input 'x'")


def test_an_object_that_was_cut_short_harms_nobody(memory: SharedMemory, folder: Path) -> None:
    os.truncate(folder / "object", 20)
    borrowed = RegionLease(memory)
    with pytest.raises(InvalidInput, match="smaller"):
        borrowed.read(RegionSlice("r", 0, 50), "input 'x'")
    with pytest.raises(InvalidInput, match="smaller"):
        borrowed.write(RegionSlice("r", 0, 50), bytes(50), "output 'y'")
    assert (folder / "object").stat().st_size == 20
    borrowed.give_back()


def test_a_thread_that_comes_after_its_request_has_ended_touches_nothing(memory: SharedMemory) -> None:
    before = len(os.listdir("/proc/self/fd"))
    borrowed = RegionLease(memory)
    borrowed.claim(RegionSlice("r", 0, 5), "output 'y'")
    borrowed.give_back()
    for late in (
        lambda: borrowed.write(RegionSlice("r", 0, 5), b"12345", "output 'y'"),
        lambda: borrowed.read(RegionSlice("r", 0, 5), "input 'x'"),
        lambda: borrowed.claim(RegionSlice("r", 0, 5), "output 'y'"),
    ):
        with pytest.raises(Cancelled):
            late()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_place_takes_what_fits_and_copies_have_a_cap(memory: SharedMemory) -> None:
    borrowed = RegionLease(memory)
    with pytest.raises(InvalidInput, match="its place in shared memory 4"):
        borrowed.write(RegionSlice("r", 0, 4), bytes(5), "output 'y'")
    with pytest.raises(QueueFull):
        for _ in range(21):
            borrowed.read(RegionSlice("r", 0, 50), "input 'x'")
    borrowed.give_back()
    assert RegionLease(memory).read(RegionSlice("r", 0, 1), "input 'x'") == b"\x0a"
    memory.give(1)


NUMBERS = st.integers(-10, 110) | st.integers()


def test_no_numbers_lead_out_of_a_region(memory: SharedMemory) -> None:
    @cases(NUMBERS, NUMBERS)
    def lead(offset: int, size: int) -> None:
        borrowed = RegionLease(memory)
        try:
            if offset >= 0 and size >= 0:
                found = borrowed.read(RegionSlice("r", offset, size), "input 'x'")
                assert found == bytes(range(10, 60))[offset : offset + size] and len(found) == size
        except WorkbenchError:
            assert offset + size > 50
        finally:
            borrowed.give_back()

    lead()


# Over HTTP


async def test_without_the_flag_it_is_disabled(house: House) -> None:
    for method, path in (
        ("GET", "/v2/systemsharedmemory/status"),
        ("POST", "/v2/systemsharedmemory/unregister"),
        ("POST", "/v2/systemsharedmemory/region/r/register"),
    ):
        reply = await house.call(method, path, {} if method == "POST" else None)
        assert reply.status == 501
        assert "client shared memory is disabled" in reply.error


def test_off_loopback_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="loopback"):
        prepare(ServerConfig(host="0.0.0.0", allow_shared_memory=True, data_dir=tmp_path))


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder = tmp_path_factory.mktemp("service")
    with serving(folder, {"mlp": models.mlp()}, "--allow-shared-memory") as serve:
        yield serve


@pytest.fixture(params=["HTTP", "gRPC"])
def client(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Client]:
    client = Client(serve, request.param)
    yield client
    client.unregister_system_shared_memory()
    client.plain.close()


@pytest.fixture
def region() -> Iterator[tuple[Any, str]]:
    """A region of 1024 bytes, and its key."""
    key = f"test-{uuid.uuid4().hex}"
    handle = shm.create_shared_memory_region("data", key, 1024)
    yield handle, key
    shm.destroy_shared_memory_region(handle)
    resource_tracker._resource_tracker._stop()  # a process that Python starts for the region, and ends at its own end


def given(client: Client, name: str, rows: int, size: int, offset: int = 0) -> Any:
    """The input, where `rows` rows of it lie in the region `name`."""
    x = client.module.InferInput("x", [rows, 16], "FP32")
    x.set_shared_memory(name, size, offset)
    return x


def asked(client: Client, size: int, offset: int = 0) -> Any:
    y = client.module.InferRequestedOutput("y")
    y.set_shared_memory("data", size, offset)
    return y


def test_tensors_travel_in_shared_memory(client: Client, region: tuple[Any, str]) -> None:
    handle, key = region
    expected = client.output("mlp", X)
    shm.set_shared_memory_region(handle, [X])
    client.register_system_shared_memory("data", key, 1024)
    assert "system_shared_memory" in client.read("server_metadata")["extensions"]
    (told,) = client.read("system_shared_memory_status")
    assert {"offset": 0, **told} == {"name": "data", "key": key, "offset": 0, "byte_size": 1024}
    x = given(client, "data", 3, X.nbytes)
    for _ in range(2):
        result = client.infer("mlp", [x], outputs=[asked(client, X.nbytes, 512)])
        (output,) = client.response(result)["outputs"]
        assert output["shape"] == [3, 16]
        if client.grpc:
            parameters = output["parameters"]
            assert (parameters["shared_memory_region"], parameters["shared_memory_offset"]) == ("data", 512)
            assert [len(raw) for raw in result.get_response().raw_output_contents] == [0]
        else:  # the C++ client expects a binary size among any parameters
            assert output.keys() == {"name", "shape", "datatype"}
        found = shm.get_contents_as_numpy(handle, np.float32, [3, 16], offset=512)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        found[:] = 0
    np.testing.assert_allclose(client.infer("mlp", [x]).as_numpy("y"), expected, rtol=1e-5)


def test_what_is_wrong_names_no_region(client: Client, region: tuple[Any, str]) -> None:
    _, key = region
    client.register_system_shared_memory("data", key, 64)
    for name, size, offset, said in (
        ("data", 65, 0, "Invalid offset . byte size for shared memory region"),
        ("data", 64, 1, "Invalid offset . byte size for shared memory region"),
        ("data", 64, 64, "Invalid offset for shared memory region"),
        ("data", 60, 0, "takes 64 bytes"),
        ("unregistered", 64, 0, "Unable to find shared memory region"),
    ):
        with pytest.raises(InferenceServerException, match=said) as caught:
            client.infer("mlp", [given(client, name, 1, size, offset)])
        assert key not in str(caught.value) and f"{name!r}" not in str(caught.value)
    with pytest.raises(InferenceServerException, match="has 64 bytes, and its place in shared memory 63"):
        client.infer("mlp", [given(client, "data", 1, 64)], outputs=[asked(client, 63)])
    for name, size, status, said in (
        ("data", 64, "FAILED_PRECONDITION", "registered already"),
        ("other", 4096, "INVALID_ARGUMENT", "Invalid offset"),
    ):
        with pytest.raises(InferenceServerException, match=said) as caught:
            client.register_system_shared_memory(name, key, size)
        assert not client.grpc or caught.value.status() == f"StatusCode.{status}"
    client.unregister_system_shared_memory("data")
    with pytest.raises(InferenceServerException, match="Unable to find") as caught:
        client.get_system_shared_memory_status("data")
    assert not client.grpc or caught.value.status() == "StatusCode.NOT_FOUND"

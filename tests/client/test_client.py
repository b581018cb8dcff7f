from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import numpy as np
import pytest

from tests.models import add_constant, gather, identity, mlp, save, save_external, two_in_two_out, unsupported_operator
from workbench.client.client import AsyncClient
from workbench.client.predict import Predictor
from workbench.client.shared_service import Address
from workbench.core.messages import InferRequest
from workbench.core.model import ModelState
from workbench.core.ports import Inference
from workbench.core.tensor import DTYPES
from workbench.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    ModelError,
    ModelNotFound,
    Unauthenticated,
    Unavailable,
    UntrustedModel,
    WorkbenchError,
)

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


async def served(client: AsyncClient, name: str, model: bytes, **config: object) -> str:
    staged = await client.stage(name, model, config)
    if not staged.unchanged:
        await client.commit(name, staged.status.version)
    return staged.status.version


async def test_a_client_is_an_inference(client: AsyncClient) -> None:
    inference: Inference = client
    version = await served(client, "add", add_constant(2.0).SerializeToString())
    response = await inference.infer(InferRequest("add", {"x": ROW}, id="mine"))
    np.testing.assert_array_equal(response.outputs["y"], ROW + 2)
    assert (response.model, response.version, response.id) == ("add", version, "mine")


async def test_texts_that_repeat_are_sent_by_a_dictionary_to_a_server_that_reads_it(client: AsyncClient) -> None:
    await served(client, "same", identity("BYTES", ("batch", 1)).SerializeToString(), max_batch_size=4096)
    texts = np.array([b"here", b"", b"\xff\0"] * 500, object).reshape(-1, 1)
    bodies = [(await client.infer(InferRequest("same", {"x": texts}))).outputs["y"]]
    client._dictionaries = False  # as of another server
    bodies.append((await client.infer(InferRequest("same", {"x": texts}))).outputs["y"])
    assert all(np.array_equal(each, texts) for each in bodies)


@pytest.mark.parametrize("datatype", list(DTYPES))
async def test_every_datatype_travels_there_and_back(client: AsyncClient, datatype: str) -> None:
    await served(client, "same", identity(datatype).SerializeToString())
    value = {"BYTES": [["a", "b", "ü", ""]], "BOOL": [[True, False, True, True]]}.get(datatype, [[1, 2, 3, 4]])
    prediction = await Predictor(client).predict("same", value)
    assert prediction["y"].tolist() == value


async def test_a_large_tensor_and_a_large_model_go_in_pieces(client: AsyncClient) -> None:
    large = np.random.default_rng(0).standard_normal((64, 2048)).astype(np.float32)
    await served(client, "large", mlp((2048, 1024, 4)).SerializeToString())
    response = await client.infer(InferRequest("large", {"x": np.tile(large, (8, 1))[:64]}))
    assert next(iter(response.outputs.values())).shape == (64, 4)
    await served(client, "same", identity(shape=("batch", 1 << 20)).SerializeToString())
    wide = np.arange(1 << 20, dtype=np.float32).reshape(1, -1)
    np.testing.assert_array_equal((await client.infer(InferRequest("same", {"x": wide}))).outputs["y"], wide)


async def test_the_control_plane_from_load_to_unload(client: AsyncClient, tmp_path: Path) -> None:
    path = save(add_constant(1.0), tmp_path / "model.onnx")
    loaded = await client.load("plain", path, {"max_batch_size": 8})
    assert loaded.status.state is ModelState.READY
    assert (await client.load("plain", path, {"max_batch_size": 8})).unchanged
    status = await client.status("plain")
    assert status.routed
    assert status.signature is not None
    assert (await client.configure("plain", {"max_batch_size": 4})).status.max_batch_size == 4

    staged = await client.stage("plain", path)
    assert staged.unchanged
    other = await client.stage("plain", add_constant(5.0).SerializeToString())
    version = other.status.version
    answer = await client.infer(InferRequest("plain", {"x": ROW}, version=version))
    np.testing.assert_array_equal(answer.outputs["y"], ROW + 5)
    np.testing.assert_array_equal((await client.infer(InferRequest("plain", {"x": ROW}))).outputs["y"], ROW + 1)
    await client.discard("plain", version)
    with pytest.raises(ModelNotFound):
        await client.infer(InferRequest("plain", {"x": ROW}, version=version))

    assert {"name", "version", "state"} <= set((await client.index())[0])
    assert "plain" in "\n".join(await client.logs())
    assert (await client.service())["state"] == "ready"
    assert await client.ready()
    await client.unload("plain")
    assert await client.statuses() == []


async def test_a_model_with_files_beside_it_loads_from_its_path(client: AsyncClient, tmp_path: Path) -> None:
    await client.load("beside", save_external(tmp_path / "model.onnx"))
    assert (await client.status("beside")).state is ModelState.READY


async def test_snapshots_come_until_the_reader_stops(client: AsyncClient) -> None:
    snapshots = client.snapshots(0.1)
    first, second = await anext(snapshots), await anext(snapshots)
    await snapshots.aclose()
    assert first["sequence"] < second["sequence"]


async def test_a_snapshot_of_many_busy_models_is_read_however_long_its_line_is() -> None:
    models = [{"name": f"model-{number}", "latency": "x" * 1000} for number in range(500)]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        line = json.dumps({"models": models}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + line + b"\n" + line + b"\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncClient(f"http://127.0.0.1:{port}") as client:
            assert [snapshot["models"] async for snapshot in client.snapshots()] == [models, models]


# Predictions of a user's value


async def test_more_rows_than_a_batch_are_split_and_joined_in_order(client: AsyncClient) -> None:
    await served(client, "add", add_constant(1.0).SerializeToString(), max_batch_size=8)
    rows = np.arange(400, dtype=np.float64).reshape(100, 4)
    prediction = await Predictor(client).predict("add", rows)
    np.testing.assert_array_equal(prediction["y"], rows + 1)
    assert len(prediction.timings.requests) == 13
    assert all(timings.ran_s > 0 for timings in prediction.timings.requests)


async def test_several_inputs_go_by_name_and_outputs_come_as_asked(client: AsyncClient) -> None:
    await served(client, "two", two_in_two_out().SerializeToString())
    status = await client.status("two")
    assert status.signature is not None
    value = {spec.name: np.ones((5, 3)) for spec in status.signature.inputs}
    wanted = status.signature.outputs[1].name
    assert list(await Predictor(client).predict("two", value, outputs=[wanted])) == [wanted]


async def test_a_changed_signature_is_noticed(client: AsyncClient) -> None:
    predictor = Predictor(client)
    await served(client, "grows", add_constant(1.0).SerializeToString())
    assert (await predictor.predict("grows", [[1, 2, 3, 4]]))["y"].shape == (1, 4)
    staged = await client.stage("grows", add_constant(1.0, ("batch", 6)).SerializeToString())
    await client.commit("grows", staged.status.version, force=True)
    assert (await predictor.predict("grows", [[1, 2, 3, 4, 5, 6]]))["y"].shape == (1, 6)


async def test_a_smaller_batch_size_is_noticed(client: AsyncClient) -> None:
    predictor = Predictor(client)
    await served(client, "add", add_constant(1.0).SerializeToString())
    rows = np.zeros((64, 4), np.float32)
    await predictor.predict("add", rows)
    await client.configure("add", {"max_batch_size": 16})
    assert len((await predictor.predict("add", rows)).timings.requests) == 4


async def test_no_request_fails_and_no_answer_is_mixed_while_versions_are_swapped(client: AsyncClient) -> None:
    await served(client, "swapped", add_constant(0.0).SerializeToString(), max_batch_size=8)
    predictor = Predictor(client)
    done = asyncio.Event()
    seen: set[float] = set()

    async def traffic() -> None:
        while not done.is_set():
            answer = (await predictor.predict("swapped", np.zeros((64, 4), np.float32)))["y"]
            assert len(np.unique(answer)) == 1
            seen.add(float(answer[0, 0]))

    callers = [asyncio.create_task(traffic()) for _ in range(4)]
    for amount in (1.0, 2.0, 3.0):
        await served(client, "swapped", add_constant(amount).SerializeToString())
    while 3.0 not in seen:
        await asyncio.sleep(0)
        for caller in callers:
            if caller.done():
                caller.result()
    done.set()
    await asyncio.gather(*callers)
    assert (await client.status("swapped")).version == "4"


# What is refused, each in a line


async def test_each_bad_request_is_one_line_and_the_service_answers_after_it(client: AsyncClient) -> None:
    await served(client, "add", add_constant(1.0).SerializeToString())
    bad: list[tuple[InferRequest, type[WorkbenchError]]] = [
        (InferRequest("nothing", {"x": ROW}), ModelNotFound),
        (InferRequest("add", {"x": ROW}, version="99"), ModelNotFound),
        (InferRequest("add", {"X": ROW}), InvalidInput),
        (InferRequest("add", {}), InvalidInput),
        (InferRequest("add", {"x": ROW, "more": ROW}), InvalidInput),
        (InferRequest("add", {"x": ROW[0]}), InvalidInput),
        (InferRequest("add", {"x": ROW[:, :3]}), InvalidInput),
        (InferRequest("add", {"x": ROW.astype(np.float64)}), InvalidInput),
        (InferRequest("add", {"x": ROW}, outputs=("z",)), InvalidInput),
        (InferRequest("add", {"x": np.zeros((1000, 4), np.float32)}), InvalidInput),
    ]
    for request, kind in bad:
        with pytest.raises(kind) as caught:
            await client.infer(request)
        assert len(caught.value.message.splitlines()) <= 2, caught.value.message
        assert "Traceback" not in caught.value.message
    np.testing.assert_array_equal((await client.infer(InferRequest("add", {"x": ROW}))).outputs["y"], ROW + 1)


async def test_what_the_model_itself_refuses_harms_nobody(client: AsyncClient) -> None:
    await served(client, "gather", gather().SerializeToString())
    with pytest.raises(WorkbenchError) as caught:
        await client.infer(InferRequest("gather", {"x": ROW, "i": np.array([1_000_000])}))
    assert len(caught.value.message.splitlines()) <= 2
    answer = await client.infer(InferRequest("gather", {"x": ROW, "i": np.array([3])}))
    np.testing.assert_array_equal(answer.outputs["y"], ROW[:, 3:])


async def test_each_bad_model_is_refused_with_the_reason_and_others_keep_serving(
    client: AsyncClient, tmp_path: Path
) -> None:
    await served(client, "good", add_constant(1.0).SerializeToString())
    outside = save_external(tmp_path / "a" / "model.onnx")
    (tmp_path / "b").mkdir()
    link = tmp_path / "b" / "weights.bin"
    link.symlink_to(tmp_path / "a" / "weights.bin")
    linked = tmp_path / "b" / "model.onnx"
    linked.write_bytes(outside.read_bytes())
    with pytest.raises(ModelError):
        await client.stage("junk", b"junk")
    with pytest.raises(ModelError):
        await client.stage("empty", b"")
    with pytest.raises(ModelError):
        await client.stage("op", unsupported_operator().SerializeToString())
    with pytest.raises(UntrustedModel):
        await client.load("linked", linked)
    with pytest.raises(InvalidInput, match="there is no file"):
        await client.load("absent", tmp_path / "absent.onnx")
    with pytest.raises(InvalidInput):
        await client.stage("../up", b"junk")
    with pytest.raises(InvalidInput):
        await client.stage("good", add_constant(2.0).SerializeToString(), {"no_such": 1})
    np.testing.assert_array_equal((await client.infer(InferRequest("good", {"x": ROW}))).outputs["y"], ROW + 1)
    assert [each.name for each in await client.statuses()] == ["good"]


async def test_a_staged_version_is_kept_as_long_as_its_caller_says(client: AsyncClient, tmp_path: Path) -> None:
    path = save(add_constant(1.0), tmp_path / "model.onnx")
    assert (await client.stage("brief", path, keep_s=0.01)).status.name == "brief"
    assert (await client.stage_path("short", path, keep_s=0.01)).status.name == "short"

    async with asyncio.timeout(60):
        while not {each.name for each in await client.statuses()}.isdisjoint({"brief", "short"}):
            pass


async def test_a_changed_signature_needs_force_and_the_error_says_so(client: AsyncClient) -> None:
    await served(client, "fixed", add_constant(1.0).SerializeToString())
    staged = await client.stage("fixed", add_constant(1.0, ("batch", 6)).SerializeToString())
    with pytest.raises(Conflict, match="force"):
        await client.commit("fixed", staged.status.version)


async def test_an_unknown_name_comes_with_the_nearest(client: AsyncClient) -> None:
    await served(client, "digits", add_constant(1.0).SerializeToString())
    with pytest.raises(ModelNotFound, match="did you mean 'digits'"):
        await client.status("digit")


async def test_a_wrong_token_is_unauthenticated(service: Address) -> None:
    for token in (None, "wrong"):
        async with AsyncClient(service.url, token) as client:
            with pytest.raises(Unauthenticated):
                await client.statuses()


async def test_a_service_that_is_not_there_is_unavailable_in_one_line() -> None:
    async with AsyncClient("http://127.0.0.1:9", "token") as client:
        for call in (client.statuses(), client.ready(), client.infer(InferRequest("m", {"x": ROW}))):
            with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9 does not answer"):
                await call
        with pytest.raises(Unavailable):
            await anext(client.snapshots())


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://user:secret@host", "http://", ""])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="must look like"):
        AsyncClient(url)


async def test_a_deadline_that_has_passed_is_said_so(client: AsyncClient) -> None:
    await served(client, "add", add_constant(1.0).SerializeToString())
    with pytest.raises(DeadlineExceeded):
        await client.infer(InferRequest("add", {"x": ROW}, deadline=time.monotonic() - 10))


async def test_a_file_that_cannot_be_read_is_not_the_services_fault(client: AsyncClient, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.onnx"):
        with pytest.raises(InvalidInput, match="not a readable file"):
            await client.stage("m", path)


async def test_a_connection_that_the_service_has_closed_is_opened_anew() -> None:
    """A service that answers once a connection and then hangs up, as one does that was restarted in between."""
    answers = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        await reader.readuntil(b"\r\n\r\n")
        answers += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")
        await reader.read(1)  # the next request on this connection
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(once, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncClient(f"http://127.0.0.1:{port}") as client:
            assert await client.statuses() == []
            assert await client.statuses() == []
    assert answers == 2


async def test_a_client_works_again_after_it_was_closed(client: AsyncClient) -> None:
    await client.close()
    assert await client.statuses() == []


async def test_a_grpc_port_that_is_called_over_http_is_said_to_be_one() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes.fromhex("000000040000000000"))  # an HTTP/2 server's first frame: its settings
        await writer.drain()
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(greet, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    async with listening, AsyncClient(f"http://{host}:{port}", "token-of-the-tests") as client:
        with pytest.raises(Unavailable, match=r"does not speak HTTP/1\.1; a gRPC port is called as grpc://"):
            await client.statuses()


async def test_what_answers_in_another_way_is_said_to_be_no_service() -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 17\r\n\r\n<p>Some page.</p>")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(page, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncClient(url) as client:
            with pytest.raises(Unavailable, match="not an inference service"):
                await client.service()

"""What decoding a request takes is counted with its body, before it is taken, until the request is answered."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.engine.fakes import FakeSession
from tests.helpers.waiting import until_async
from tests.server.conftest import open_house
from tests.server.grpc.open_port import AUTHORIZED, STREAM, open_port
from tests.server.grpc.open_port import INFER as INFER_GRPC
from workbench.config import Limits
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.protocols import json_streaming, pb
from workbench.server import inference
from workbench.server.inference import DECODERS

INFER = "/v2/models/digits/infer"
MIB = 1024 * 1024
SIZE = 400_000
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,%d],"data":[%b0]}]}' % (SIZE, b"0," * (SIZE - 1))
"""0.8 MB, whose tensor has 1.6 MB."""


def any_size() -> FakeSession:
    """One that takes rows of any length."""
    spec = (FREE, FREE)
    signature = Signature((TensorSpec("x", "FP32", spec),), (TensorSpec("y", "FP32", spec),))
    return FakeSession(signature=signature, runner_threads=1)


@pytest.mark.parametrize("size", [20_000, SIZE])
async def test_a_tensor_counts_until_it_is_answered(tmp_path: Path, size: int) -> None:
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, size], "data": [0] * size}]})
    async with open_house(tmp_path, any_size(), limits=Limits()) as house:
        house.session.gate.clear()
        answer = asyncio.ensure_future(house.call("POST", INFER, body.encode()))
        await until_async(lambda: house.service.bodies.held >= len(body) + 4 * size)
        house.session.gate.set()
        assert (await answer).status == 200
        assert house.service.bodies.held == 0


@pytest.mark.parametrize("packed", [False, True])
async def test_what_would_take_too_much_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    decoded: list[bytes] = []
    monkeypatch.setattr(json_streaming, "_decoded", lambda block, *rest: decoded.append(block))
    async with open_house(tmp_path, any_size(), limits=Limits(max_body_bytes_in_flight=2 * MIB)) as house:
        body = gzip.compress(BODY) if packed else BODY
        reply = await house.call("POST", INFER, body, content_encoding="gzip" if packed else None)
        assert reply.status == 413 and "takes 1600000 more when it is decoded" in reply.error
        house.service.bodies.take(1_000_000)
        small = BODY.replace(b"%d" % SIZE, b"%d" % (SIZE // 2)).replace(b"0," * (SIZE // 2), b"")
        reply = await house.call("POST", INFER, small)
        assert reply.status == 429, reply.body
        assert house.service.bodies.held == 1_000_000
    assert not decoded


async def test_what_unpacks_to_far_more_than_it_is_is_refused(tmp_path: Path) -> None:
    async with open_house(tmp_path, any_size(), limits=Limits()) as house:
        bomb = gzip.compress(b" " * (40 * MIB), 9)
        reply = await house.call("POST", INFER, bomb, content_encoding="gzip")
        assert reply.status == 413 and "100 times" in reply.error
        # A tensor of zeros is no bomb, unless it is very large.
        reply = await house.call("POST", INFER, gzip.compress(BODY, 9), content_encoding="gzip")
        assert reply.status == 200 and len(reply.json["outputs"][0]["data"]) == SIZE
        assert house.service.bodies.held == 0


@pytest.mark.parametrize(
    "path", ["/v2/repository/index", "/v2/repository/models/digits/unload", "/control/models/m/set"]
)
async def test_json_that_is_no_inference_has_a_cap_of_its_own(tmp_path: Path, path: str) -> None:
    async with open_house(tmp_path, limits=Limits()) as house:
        reply = await house.call("POST", path, b"{" + b" " * 70_000 + b"}")
        assert reply.status == 413, reply.body


async def test_a_load_counts_its_files_too(tmp_path: Path) -> None:
    body = json.dumps({"parameters": {"file:1/model.onnx": "AAAA" * 250_000}}).encode()
    async with open_house(tmp_path, limits=Limits(max_body_bytes_in_flight=2 * MIB)) as house:
        reply = await house.call("POST", "/v2/repository/models/m/load", body)
        assert reply.status == 429, reply.body
        assert house.service.bodies.held == 0


async def test_strings_over_grpc_count_before_they_are_made(tmp_path: Path) -> None:
    message = pb.message("ModelInferRequest")(model_name="digits")
    texts = message.inputs.add(name="x", datatype="BYTES", shape=[1, 100_000])
    texts.contents.bytes_contents.extend([b"ab"] * 100_000)
    sent = message.SerializeToString()  # 0.4 MB, of which 7 MB are made
    async with open_house(tmp_path, limits=Limits(max_body_bytes_in_flight=5 * MIB)) as house, open_port(house) as port:
        assert (await port.fails(INFER_GRPC, sent))[1] == "too_large"
        stream = port.channel.stream_stream(STREAM)(iter([sent]), metadata=AUTHORIZED)
        assert [b"takes" in answer and b"more when it is decoded" in answer async for answer in stream] == [True]
        assert house.service.bodies.held == 0


async def test_methods_without_tensors_and_files_take_small_messages(tmp_path: Path) -> None:
    async with open_house(tmp_path, limits=Limits()) as house, open_port(house) as port:
        for method in ("ModelMetadata", "ModelConfig", "RepositoryIndex", "RepositoryModelUnload", "TraceSetting"):
            status, _, said = await port.fails(f"/{pb.SERVICE}/{method}", bytes(70_000))
            assert status == "RESOURCE_EXHAUSTED" and "65536 is the most" in said, method
        assert (await port.fails(f"/{pb.SERVICE}/RepositoryModelLoad", bytes(70_000)))[0] == "INVALID_ARGUMENT"
        assert house.service.bodies.held == 0


async def test_callers_that_leave_do_not_have_more_decoded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread cannot be stopped, so what it decodes for nobody still has its place."""
    monkeypatch.setattr(inference, "in_turns", lambda work: work())  # each blocks, and gives no way
    begun: list[int] = []
    gate = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        assert gate.wait(30)
        return number

    async with open_house(tmp_path) as house:
        path = house.app.inference
        tasks = [asyncio.ensure_future(path.on_thread(partial(work, at))) for at in range(DECODERS + 2)]
        try:
            await until_async(lambda: len(begun) == DECODERS)
            for task in tasks[:DECODERS]:
                task.cancel()
            await asyncio.wait(tasks[:DECODERS])
            for _ in range(100):  # turns in which the next two could begin
                await asyncio.sleep(0)
            assert len(begun) == DECODERS
        finally:
            gate.set()
        assert await asyncio.gather(*tasks[DECODERS:]) == [DECODERS, DECODERS + 1]

"""One inference is the same whichever way it comes: answer, record, counters, use and errors."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests import models
from tests.helpers.large_bodies import large_from
from tests.helpers.waiting import until_async
from tests.server.conftest import LIMITS, House, open_house
from tests.server.driver import Wire, answered, connect, parsed
from tests.server.grpc.open_port import AUTHORIZED, INFER, STREAM, Port, open_port
from workbench.config import Limits
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.ports import Outcome
from workbench.errors import ExecutionError
from workbench.protocols import pb
from workbench.protocols.oip_grpc import decode_response as decode_grpc
from workbench.protocols.oip_grpc import encode_request
from workbench.protocols.oip_json import decode_response
from workbench.protocols.status_codes import GRPC_CODE_KEY, GRPC_STATUS, HTTP_STATUS
from workbench.telemetry.request_record import RequestRecord
from workbench.versions.traffic_split import side_of, slot_of, spread

LARGE = Limits(**{**{name: getattr(LIMITS, name) for name in LIMITS.__slots__}, "max_body_bytes": 1 << 20})


@dataclass
class Answered:
    values: list[float] | None = None
    code: str = ""
    """Of the error, where it is none."""
    message: str = ""
    cache: str = ""
    """Where the answer came from, if it was not run."""


@dataclass
class Ask:
    """A request, told in a way that each transport can carry."""

    rows: int = 1
    model: str = "digits"
    input: str = "x"
    id: str = "seven"
    timeout_us: int | None = None
    leave: bool = False
    """The client goes once the request is under way."""
    headers: dict[str, str] = field(default_factory=dict)
    """Further headers, or metadata."""

    @property
    def array(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.arange(self.rows * 2, dtype=np.float32).reshape(self.rows, 2)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (*AUTHORIZED, *((name.replace("_", "-"), value) for name, value in self.headers.items()))

    def json(self) -> bytes:
        tensor = {"name": self.input, "datatype": "FP32", "shape": [self.rows, 2], "data": self.array.ravel().tolist()}
        sent: dict[str, Any] = {"inputs": [tensor], "id": self.id}
        if self.timeout_us is not None:
            sent["parameters"] = {"timeout": self.timeout_us}
        return json.dumps(sent).encode()

    def binary(self) -> tuple[bytes, int]:
        raw = self.array.tobytes()
        tensor = {"name": self.input, "datatype": "FP32", "shape": [self.rows, 2]}
        sent: dict[str, Any] = {"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}], "id": self.id}
        if self.timeout_us is not None:
            sent["parameters"] = {"timeout": self.timeout_us}
        head = json.dumps(sent).encode()
        return head + raw, len(head)

    def message(self) -> bytes:
        request = InferRequest(self.model, {self.input: self.array}, id=self.id)
        found = pb.message("ModelInferRequest").FromString(encode_request(request))
        if self.timeout_us is not None:
            found.parameters["timeout"].int64_param = self.timeout_us
        return bytes(found.SerializeToString())


@dataclass
class Ways:
    house: House
    port: Port
    records: list[RequestRecord]
    left: Wire = field(default_factory=Wire)
    """What an HTTP client that left was sent."""

    async def http(self, ask: Ask, body: bytes, warm: bool = False, **headers: str) -> Answered:
        head = self.house.call.head(
            "POST", f"/v2/models/{ask.model}/infer", content_length=str(len(body)), **headers, **ask.headers
        )
        connection, wire = connect(self.house.app)
        if warm:  # the head becomes known
            await self._warm(head, len(body))
        before = self.house.service.bodies.held
        connection.data_received(head + body)
        if ask.leave:
            await self._under_way()
            assert self.house.service.bodies.held > before > 0
            self.left = wire
            connection.connection_lost(None)
            return Answered(code="cancelled")
        found = await _read(wire)
        connection.connection_lost(None)
        return found

    async def _warm(self, head: bytes, size: int) -> None:
        """By a request that fails, and whose trace in telemetry is taken away again."""
        connection, wire = connect(self.house.app)
        draining = self.house.service.draining.is_set()
        self.house.service.draining.clear()
        most, self.house.app.gate._owner.max_in_flight = self.house.app.gate._owner.max_in_flight, 100
        if self.house.app.known(head) is None:
            connection.data_received(head + b" " * size)
            await answered(wire)
        connection.connection_lost(None)
        self.house.app.gate._owner.max_in_flight = most
        if draining:
            self.house.service.draining.set()
        self.records.clear()

    async def unary(self, ask: Ask, message: bytes, compression: Any = None) -> Answered:
        call = self.port.channel.unary_unary(INFER)(message, metadata=ask.metadata, timeout=20, compression=compression)
        if ask.leave:
            await self._under_way()
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
            return Answered(code="cancelled")
        try:
            return _answer(decode_grpc(await call))
        except grpc.aio.AioRpcError as error:
            return _failed(error)

    async def stream(self, ask: Ask, message: bytes) -> Answered:
        call = self.port.channel.stream_stream(STREAM)(metadata=ask.metadata, timeout=20)
        try:
            await call.write(message)
            if ask.leave:
                await self._under_way()
                call.cancel()
                return Answered(code="cancelled")
            found = pb.message("ModelStreamInferResponse").FromString(await call.read())
            await call.done_writing()
        except grpc.aio.AioRpcError as error:
            return _failed(error)
        if found.error_message:
            code = found.infer_response.parameters[GRPC_CODE_KEY].string_param
            return Answered(code=code, message=found.error_message)
        return _answer(decode_grpc(found.infer_response.SerializeToString()))

    async def _under_way(self) -> None:
        """Both requests hold a place."""
        await until_async(lambda: self.house.service.engine.status("digits").queued)
        assert self.house.app.gate._owner.in_flight == 2


def _answer(response: InferResponse) -> Answered:
    return Answered(response.outputs["y"].ravel().tolist(), cache=response.timings.cache)


def _failed(error: grpc.aio.AioRpcError) -> Answered:
    code = str(dict(error.trailing_metadata() or ())[GRPC_CODE_KEY])
    assert error.code().value[0] == GRPC_STATUS[code]
    return Answered(code=code, message=str(error.details()))


async def _read(wire: Wire) -> Answered:
    await answered(wire)
    reply = parsed(bytes(wire.written))
    full = reply.status == 429 or (reply.status == 503 and reply.json["code"] == "queue_full")
    open_circuit = reply.status == 503 and reply.json["code"] == "circuit_open"
    assert reply.headers.get("retry-after") == ("3600" if open_circuit else "1" if full else None)
    if reply.status != 200:
        assert reply.status == HTTP_STATUS[reply.json["code"]]
        return Answered(code=reply.json["code"], message=reply.json["error"])
    length = reply.headers.get("inference-header-content-length")
    return _answer(decode_response(reply.body, None if length is None else int(length)))


async def _parsed(ways: Ways, ask: Ask) -> Answered:
    return await ways.http(ask, ask.json(), x_request_id="mine")


async def _known(ways: Ways, ask: Ask) -> Answered:
    return await ways.http(ask, ask.json(), warm=True)


async def _binary(ways: Ways, ask: Ask) -> Answered:
    body, length = ask.binary()
    return await ways.http(ask, body, inference_header_content_length=str(length))


async def _gzip(ways: Ways, ask: Ask) -> Answered:
    return await ways.http(ask, gzip.compress(ask.json()), content_encoding="gzip")


async def _unary(ways: Ways, ask: Ask) -> Answered:
    return await ways.unary(ask, ask.message())


async def _compressed(ways: Ways, ask: Ask) -> Answered:
    return await ways.unary(ask, ask.message(), grpc.Compression.Gzip)


async def _stream(ways: Ways, ask: Ask) -> Answered:
    return await ways.stream(ask, ask.message())


Way = Callable[[Ways, Ask], Awaitable[Answered]]

WAYS: dict[str, tuple[Way, bool]] = {
    "HTTP, known head": (_known, False),
    "HTTP, parsed head": (_parsed, False),
    "HTTP, on a thread": (_parsed, True),
    "HTTP, binary": (_binary, False),
    "HTTP, compressed": (_gzip, False),
    "gRPC unary": (_unary, False),
    "gRPC unary, on a thread": (_unary, True),
    "gRPC unary, compressed": (_compressed, False),
    "gRPC stream": (_stream, False),
    "gRPC stream, on a thread": (_stream, True),
}
"""Name -> how it is asked, and whether its body counts as large."""


@pytest.fixture(params=list(WAYS))
async def way(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Ways, Way]]:
    ask, large = WAYS[request.param]
    if large:
        large_from(10, monkeypatch)
    async with open_house(tmp_path, limits=LARGE) as house, open_port(house) as port:
        records: list[RequestRecord] = []
        monkeypatch.setattr(house.service.metrics, "exchange_done", records.append)
        yield Ways(house, port, records), ask


async def ended(ways: Ways) -> RequestRecord:
    """The record of the one request, after which nothing is held."""
    await until_async(lambda: ways.records and not ways.house.app.gate._owner.in_flight)
    assert ways.house.service.bodies.held == 0
    (record,) = ways.records
    return record


async def test_an_answer_its_record_and_use(way: tuple[Ways, Way]) -> None:
    ways, ask = way
    ways.house.service.used_at = 0.0
    found = await ask(ways, Ask(rows=2))
    assert found == Answered([1.0, 2.0, 3.0, 4.0])  # the fake adds one
    record = await ended(ways)
    assert (record.model, record.version, record.id, record.error) == ("digits", "1", "seven", "")
    moments = [record.arrived_at, record.received_at, record.decoded_at, record.answered_at, record.encoded_at]
    assert moments == sorted(moments) and moments[0] and record.sent_at >= moments[-1]
    assert record.request_bytes and record.response_bytes
    assert record.timings is not None and record.timings.rows == 2
    assert ways.house.service.used_at


async def test_its_side_or_its_key_decides_where_calls_are_split(way: tuple[Ways, Way], tmp_path: Path) -> None:
    ways, ask = way
    other = models.identity(shape=("batch", 2))
    other.doc_string = "another version"
    path = str(models.save(other, tmp_path / "other.onnx"))
    assert (await ways.house.call("POST", "/control/models/digits/load", {"path": path, "route": False})).status == 200
    assert (await ways.house.call("POST", "/control/models/digits/route", {"weights": {"2": 0.5}})).status == 200

    async def ran(times: int = 3, **headers: str) -> set[str]:
        found = set()
        for _ in range(times):
            assert await ask(ways, Ask(headers=headers)) == Answered([1.0, 2.0])
            found.add((await ended(ways)).version)
            ways.records.clear()
        return found

    assert [await ran(x_route=side) for side in ("1", "2")] == [{"1"}, {"2"}]
    spans = spread({}, {"2": 0.5})
    for user in ("ann", "bob", "cy", "dee"):
        assert await ran(x_route_key=user) == {side_of(spans, slot_of("digits", user)) or "1"}
    assert await ran(4) == {"1", "2"}
    refused = await ask(ways, Ask(headers={"x_route": "nowhere"}))
    assert refused.code == "invalid_argument" and "the parameter route asks for 'nowhere'" in refused.message


async def test_a_kept_answer_says_that_it_is_one(way: tuple[Ways, Way]) -> None:
    ways, ask = way
    await ways.house.call("POST", "/control/models/digits/set", {"cache": "1MB"})
    assert await ask(ways, Ask()) == Answered([1.0, 2.0])
    await ended(ways)
    ways.records.clear()
    ways.house.session.batches.clear()
    assert await ask(ways, Ask()) == Answered([1.0, 2.0], cache="hit")
    record = await ended(ways)
    (counted,) = (await ways.house.call("GET", "/v2/models/digits/stats")).json["model_stats"]
    spent = counted["inference_stats"]
    assert (spent["cache_hit"]["count"], spent["cache_miss"]["count"], spent["success"]["count"]) == (1, 1, 2)
    assert (record.model, record.version, record.id, record.error) == ("digits", "1", "seven", "")
    assert record.timings is not None and (record.timings.rows, record.timings.batch_size) == (1, 0)
    assert ways.house.session.batches == []
    figures = ways.house.service.metrics.state().figures["digits", "1"]
    assert (figures.outcomes[Outcome.OK], figures.rows) == (2, 1)


@pytest.mark.parametrize(
    ("asked", "code", "model", "outcome"),
    [
        (Ask(input="wrong"), "invalid_argument", "digits", Outcome.INVALID),
        (Ask(id="x" * 5000), "too_large", "digits", Outcome.INVALID),
        (Ask(timeout_us=1), "deadline_exceeded", "digits", Outcome.EXPIRED),
        (Ask(model="nobody"), "model_not_found", "nobody", None),
    ],
    ids=["a wrong input", "a long id", "too late", "an unknown model"],
)
async def test_a_request_that_cannot_be_answered(
    way: tuple[Ways, Way], asked: Ask, code: str, model: str, outcome: Outcome | None
) -> None:
    ways, ask = way
    before = sum(each.requests for each in ways.house.service.metrics.state().figures.values())
    found = await ask(ways, asked)
    assert found.code == code
    record = await ended(ways)
    assert (record.error, record.model, record.version) == (code, model, "1" if outcome else "")
    assert record.message == found.message[:300]
    assert len(record.id) <= LARGE.max_name_length
    figures = ways.house.service.metrics.state().figures
    if outcome is None:
        assert sum(each.requests for each in figures.values()) == before
    else:
        assert figures["digits", "1"].outcomes[outcome] >= 1


async def test_a_service_that_drains_takes_no_more(way: tuple[Ways, Way]) -> None:
    ways, ask = way
    ways.house.service.draining.set()
    assert (await ask(ways, Ask())).code == "draining"
    if ask is not _stream:  # which is refused as a whole
        record = await ended(ways)
        assert (record.error, record.model) == ("draining", "digits")


async def test_a_full_queue_is_unavailable(way: tuple[Ways, Way]) -> None:
    ways, ask = way
    house = ways.house
    await house.call("POST", "/control/models/digits/set", {"max_queue_size": 1})
    house.session.hold()
    held = [asyncio.create_task(ask(ways, Ask()))]
    await until_async(lambda: house.session.entered.acquire(blocking=False))
    held.append(asyncio.create_task(ask(ways, Ask())))
    await until_async(lambda: house.service.engine.status("digits").queued)
    found = await ask(ways, Ask())
    assert (found.code, HTTP_STATUS[found.code], GRPC_STATUS[found.code]) == ("queue_full", 503, 14)
    assert "Exceeds maximum queue size" in found.message
    house.session.gate.set()
    assert await asyncio.gather(*held) == [Answered([1.0, 2.0])] * 2


async def test_a_model_that_keeps_failing_is_not_run(way: tuple[Ways, Way], monkeypatch: pytest.MonkeyPatch) -> None:
    ways, ask = way
    house = ways.house
    settings = {"breaker_min_calls": 2, "breaker_open_s": 3600}
    await house.call("POST", "/control/models/digits/set", settings)

    def fails(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        raise ExecutionError("out of memory")

    monkeypatch.setattr(house.session, "function", fails)
    assert [(await ask(ways, Ask())).code for _ in range(2)] == ["execution"] * 2
    house.session.batches.clear()
    found = await ask(ways, Ask())
    assert (found.code, HTTP_STATUS[found.code], GRPC_STATUS[found.code]) == ("circuit_open", 503, 14)
    assert "fails too often (of the last 2 calls 2 failed)" in found.message
    assert house.session.batches == []


@pytest.mark.parametrize("cap", ["max_in_flight", "max_body_bytes_in_flight"])
async def test_one_over_a_cap_is_refused(way: tuple[Ways, Way], cap: str) -> None:
    ways, ask = way
    owner, bodies = ways.house.app.gate._owner, ways.house.service.bodies
    if cap == "max_in_flight":
        owner.max_in_flight = 0
    else:
        bodies.most = 20
    found = await ask(ways, Ask())
    assert found.code == "too_many_requests"
    assert cap in found.message
    if ways.records:  # a message that comes in pieces may be refused before it is whole
        record = await ended(ways)
        assert (record.error, record.request_bytes) == ("too_many_requests", 0)
        assert ways.house.service.metrics.state().figures["digits", "1"].outcomes[Outcome.REJECTED] >= 1
    assert (owner.in_flight, bodies.held) == (0, 0)


async def test_a_caller_that_leaves_is_dropped_and_gives_back_its_place(way: tuple[Ways, Way]) -> None:
    ways, ask = way
    ways.house.session.hold()
    first = asyncio.ensure_future(_parsed(ways, Ask()))
    await asyncio.to_thread(ways.house.session.entered.acquire)  # the only runner is busy now
    await ask(ways, Ask(leave=True))
    await until_async(lambda: ways.records)
    (record,) = ways.records
    assert (record.error, record.model, record.version) == ("cancelled", "digits", "1")
    assert ways.house.app.gate._owner.in_flight == 1
    ways.house.session.gate.set()
    assert (await first).values is not None
    assert ways.house.session.batches == [1]
    assert (ways.house.service.bodies.held, bytes(ways.left.written)) == (0, b"")
    await asyncio.sleep(0.01)
    assert ways.house.service.metrics.state().figures["digits", "1"].outcomes[Outcome.CANCELLED] == 1

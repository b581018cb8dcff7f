"""A client that sends inferences of all kinds over all protocols, and keeps its own count of what became of each."""

from __future__ import annotations

import asyncio
import json
import random
import time
from asyncio import Future
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import msgspec
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from benchmarks.wire import Answer, Connection, connect

GRPC = "/inference.GRPCInferenceService/"
STREAM_DEPTH = 64
HTTP_CALLERS, UNARY_CALLERS, STREAMS = 12, 24, 3

# What a caller is told -> how the service says that the request ended. An answer without outputs that is none of these
# belongs to no model that there is.
OUTCOMES = {
    "invalid_argument": "invalid",
    "too_large": "invalid",
    "queue_full": "rejected",
    "too_many_requests": "rejected",
    "deadline_exceeded": "expired",
    "cancelled": "cancelled",
    "execution": "failed",
}


@dataclass
class Count:
    """What became of the requests for one model."""

    outcomes: Counter[str] = field(default_factory=Counter)
    encode_failures: int = 0
    """Among the ok: run, and then the answer was too long."""
    rows: int = 0
    """That were run."""
    shared: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(rows, requests) of the batches that requests said they were in."""

    @property
    def sizes(self) -> Counter[int]:
        """Batches by their rows."""
        sizes: Counter[int] = Counter()
        for (rows, requests), count in self.shared.items():
            assert count % requests == 0, "not all of a batch told of it"
            sizes[rows] += count // requests
        return sizes


@dataclass(frozen=True)
class Ask:
    """One request, as each protocol has it."""

    model: str
    rows: int
    json: bytes
    binary: bytes
    message: bytes
    runs: bool = True
    """It gets into a run, whatever comes of it there."""
    batched: bool = True
    """Its answer tells in what batch it was."""


class Client:
    def __init__(self, http: str, grpc_address: str, token: str) -> None:
        self.counts: defaultdict[str, Count] = defaultdict(Count)
        self.unknown = 0
        """Requests for what is not there."""
        self.statuses: Counter[int] = Counter()
        """Of the answers over HTTP."""
        self.sent = 0
        self._http, self._grpc, self._token = http, grpc_address, token
        self._metadata = (("authorization", f"Bearer {token}"),)

    @property
    def port(self) -> int:
        return int(self._http.rpartition(":")[2])

    def request(self, path: str, body: bytes, head: int | None = None) -> bytes:
        """Of an inference, whole."""
        lines = [f"POST {path} HTTP/1.1", f"Host: {self._http}", f"Authorization: Bearer {self._token}"]
        lines.append(f"Content-Length: {len(body)}")
        if head is None:
            lines.append("Content-Type: application/json")
        else:
            lines += ["Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {head}"]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def ask(
        self,
        model: str,
        inputs: dict[str, NDArray[Any]],
        *,
        rows: int | None = None,
        json_answer: bool = False,
        runs: bool = True,
        batched: bool = True,
        **parameters: Any,
    ) -> Ask:
        """`json_answer`: also where the request is binary."""
        kinds = {"float32": "FP32", "int64": "INT64"}
        parameters = {"timings": True, **parameters}
        tensors = [
            {"name": name, "shape": list(array.shape), "datatype": kinds[array.dtype.name]}
            for name, array in inputs.items()
        ]
        path = f"/v2/models/{model}/infer"
        plain = {
            "inputs": [
                {**each, "data": array.ravel().tolist()} for each, array in zip(tensors, inputs.values(), strict=True)
            ],
            "parameters": parameters,
        }
        with_sizes = [
            {**each, "parameters": {"binary_data_size": array.nbytes}}
            for each, array in zip(tensors, inputs.values(), strict=True)
        ]
        head = json.dumps(
            {"inputs": with_sizes, "parameters": {**parameters, "binary_data_output": not json_answer}}
        ).encode()
        raw = [array.tobytes() for array in inputs.values()]
        message = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=raw)
        for each in tensors:
            message.inputs.add(**each)
        for name, value in parameters.items():
            field_of = "bool_param" if isinstance(value, bool) else "int64_param"
            setattr(message.parameters[name], field_of, value)
        return Ask(
            model,
            next(iter(inputs.values())).shape[0] if rows is None else rows,
            self.request(path, json.dumps(plain).encode()),
            self.request(path, head + b"".join(raw), len(head)),
            message.SerializeToString(),
            runs,
            batched,
        )

    # What was told

    def told(self, ask: Ask, code: str, parameters: Any = None, *, encoded: bool = True) -> None:
        """`code` is empty for an answer with outputs; `encoded` says whether the failure was one of writing them."""
        self.sent += 1
        if code in ("model_not_found", "not_found"):
            self.unknown += 1
            return
        count = self.counts[ask.model]
        count.encode_failures += not encoded
        count.outcomes[OUTCOMES[code] if code and encoded else "ok"] += 1
        if ask.runs:
            count.rows += ask.rows
            if ask.batched:
                count.shared[parameters["batch_size"], parameters["batch_requests"]] += 1
            else:
                count.shared[ask.rows, 1] += 1

    def _told_http(self, ask: Ask, answer: Answer, binary: bool) -> None:
        self.statuses[answer.status] += 1
        length = int(answer.headers.get("inference-header-content-length", len(answer.body)))
        found = msgspec.json.decode(answer.body[:length])
        if answer.status == 200:
            self.told(ask, "", found["parameters"])
        else:
            self.told(ask, found["code"], encoded=not (binary and ask.runs and "max_response_bytes" in found["error"]))

    def _told_message(self, ask: Ask, answer: Any) -> None:
        found = answer.parameters
        sizes = {name: found[name].int64_param for name in ("batch_size", "batch_requests")}
        self.told(ask, "", sizes)

    # Ways to send

    async def over_http(self, asks: list[tuple[Ask, bool]]) -> None:
        """(request, whether binary), each once."""
        left = iter(asks)

        async def caller() -> None:
            connection = await connect(self.port)
            for ask, binary in left:
                self._told_http(ask, await connection.send(ask.binary if binary else ask.json), binary)
            connection.close()

        await asyncio.gather(*(caller() for _ in range(HTTP_CALLERS)))

    async def one_by_one(self, asks: list[Ask]) -> None:
        """ModelInfer."""
        left = iter(asks)
        async with grpc.aio.insecure_channel(self._grpc) as channel:
            infer = channel.unary_unary(GRPC + "ModelInfer")

            async def caller() -> None:
                for ask in left:
                    try:
                        message = await infer(ask.message, metadata=self._metadata)
                    except grpc.aio.AioRpcError as error:
                        self.told(ask, code_of(error))
                    else:
                        self._told_message(ask, service_pb2.ModelInferResponse.FromString(message))

            await asyncio.gather(*(caller() for _ in range(UNARY_CALLERS)))

    async def in_streams(self, asks: list[Ask]) -> None:
        """ModelStreamInfer."""
        left = iter(asks)
        async with grpc.aio.insecure_channel(self._grpc) as channel:
            await asyncio.gather(*(self._stream(channel, left) for _ in range(STREAMS)))

    async def _stream(self, channel: grpc.aio.Channel, left: Iterator[Ask]) -> None:
        room = asyncio.Semaphore(STREAM_DEPTH)
        under_way: deque[Ask] = deque()

        async def messages() -> AsyncIterator[bytes]:
            for ask in left:
                await room.acquire()
                under_way.append(ask)
                yield ask.message

        stream = channel.stream_stream(GRPC + "ModelStreamInfer")(messages(), metadata=self._metadata)
        async for message in stream:
            answer = service_pb2.ModelStreamInferResponse.FromString(message)
            ask = under_way.popleft()
            if answer.error_message:
                self.told(ask, answer.infer_response.parameters["workbench-code"].string_param)
            else:
                self._told_message(ask, answer.infer_response)
            room.release()
        assert not under_way

    async def leave(self, slow: Ask, run_s: float, room: int, refused: int) -> bool:
        """While a slow request runs, for `run_s` or more, as many as there is `room` for wait and are left; the
        `refused` find none.

        False where this machine took so long to get them all in that too little was left of the run: then all were
        answered, nobody left, and a slower request is needed.
        """
        async with grpc.aio.insecure_channel(self._grpc) as channel:
            infer = channel.unary_unary(GRPC + "ModelInfer")
            holding = await connect(self.port)
            began_s = time.monotonic()
            held = holding.send(slow.json)
            await self._until(lambda: self._is_inside(slow.model, held))
            waiting = [await connect(self.port) for _ in range(room - room // 2)]
            answers = [each.send(slow.json) for each in waiting]
            calls = [infer(slow.message, metadata=self._metadata) for _ in range(room // 2)]
            await self._until(lambda: self._is_full(slow.model, room, held))
            if held.done() or time.monotonic() - began_s > run_s / 2:
                for each in await asyncio.gather(held, *answers):
                    self._told_http(slow, each, False)
                for message in await asyncio.gather(*calls):
                    self._told_message(slow, service_pb2.ModelInferResponse.FromString(message))
                for each in (holding, *waiting):
                    each.close()
                return False
            for each in [await connect(self.port) for _ in range(refused)]:
                self._told_http(_refused(slow), await each.send(slow.json), False)
                each.close()
            for each in waiting:
                each.vanish()
            for call in calls:
                call.cancel()
            gone = await asyncio.gather(*answers, *calls, return_exceptions=True)
            assert all(isinstance(each, ConnectionError | asyncio.CancelledError) for each in gone), gone
            # The service reads what came before this, so it knows by now that they have left.
            await self._queued(slow.model)
            await channel.unary_unary(GRPC + "ServerLive")(b"")
            assert not held.done(), "the slow request was too quick to leave anybody the time"
            self._told_http(slow, await held, False)
            holding.close()
            # Those who left have their places until the next batch is formed, which a busy machine may put off.
            await self._until(lambda: self._is_empty(slow.model))
        for _ in gone:
            self.told(_refused(slow), "cancelled")
        return True

    async def _is_inside(self, model: str, held: Future[Answer]) -> bool:
        """The slow request has left the queue, so it is being run."""
        # Nothing of it is seen before it is in the queue, so it may take two looks.
        await self._queued(model)
        return held.done() or await self._queued(model) == 0

    async def _is_full(self, model: str, room: int, held: Future[Answer]) -> bool:
        return held.done() or await self._queued(model) == room

    async def _is_empty(self, model: str) -> bool:
        return await self._queued(model) == 0

    async def _until(self, seen: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(120):
            while not await seen():
                await asyncio.sleep(0.01)

    async def _queued(self, model: str) -> int:
        (status,) = json.loads((await self.get(f"/control/models/{model}")).body)
        return int(status["queued"])

    async def get(self, path: str) -> Answer:
        connection: Connection = await connect(self.port)
        lines = f"GET {path} HTTP/1.1\r\nHost: {self._http}\r\nAuthorization: Bearer {self._token}\r\n\r\n"
        answer = await connection.send(lines.encode())
        connection.close()
        self.statuses[answer.status] += 1
        return answer

    async def statistics(self) -> Any:
        """ModelStatistics."""
        async with grpc.aio.insecure_channel(self._grpc) as channel:
            found = await channel.unary_unary(GRPC + "ModelStatistics")(b"", metadata=self._metadata)
            return service_pb2.ModelStatisticsResponse.FromString(found)


def code_of(error: grpc.aio.AioRpcError) -> str:
    return str(dict(error.trailing_metadata() or ())["workbench-code"])


def _refused(ask: Ask) -> Ask:
    """As it is counted where it is not run."""
    return Ask(ask.model, ask.rows, ask.json, ask.binary, ask.message, runs=False)


def mixed(client: Client, count: int, seed: int) -> list[Ask]:
    """So many requests, good ones and all kinds of others, for any protocol."""
    numbers = np.random.default_rng(seed)
    dice = random.Random(seed)

    def floats(rows: int, columns: int) -> NDArray[np.float32]:
        return numbers.standard_normal((rows, columns)).round(3).astype(np.float32)

    def x(model: str, rows: int, columns: int, **more: Any) -> Ask:
        return client.ask(model, {"x": floats(rows, columns)}, **more)

    good = [x("mlp", rows, 16) for rows in (1, 1, 1, 2, 3, 8)]
    good += [client.ask("pair", {"a": floats(rows, 3), "b": floats(rows, 3)}) for rows in (1, 2, 5)]
    good += [x("single", 1, 4, batched=False)]
    good += [client.ask("picky", {"x": floats(1, 4), "i": np.array([0, 3])}, batched=False)]
    bad = [
        x("mlp", 1, 15, runs=False),
        x("mlp", 65, 16, runs=False),  # over max_batch_size
        x("mlp", 1, 16, runs=False, timeout=1),
        x("pair", 1, 16, runs=False),
        x("single", 1, 4, runs=False, timeout=1),
        x("nobody", 1, 16, runs=False),
        x("single", 1, 4, runs=False, timings=7),  # as no codec takes it
        x("single", 1, 4, runs=False, priority=-1),
        client.ask("picky", {"x": floats(1, 4), "i": np.array([4])}, batched=False),  # fails inside the runtime
    ]
    return [dice.choice(bad if dice.random() < 0.2 else good) for _ in range(count)]


def too_long(client: Client) -> Ask:
    """To be sent as binary: what comes out of it is too long as JSON, which it asks for."""
    return client.ask("wide", {"x": np.full((1, 1000), 1 / 3, np.float32)}, json_answer=True, batched=False)


def slow(client: Client, steps: int) -> Ask:
    x = np.zeros(1, np.float32)
    return client.ask("slow", {"x": x, "n": np.array(steps)}, rows=1, batched=False)

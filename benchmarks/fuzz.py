"""Mutated requests against a live service for minutes: what breaks, what hangs, and whether the others are served.

Bodies, heads and messages of valid requests are mutated and sent over HTTP and gRPC; between them right requests must
be answered right. Nothing may be answered with 500, INTERNAL or UNKNOWN, nothing may take longer than ANSWER_S, and the
process that serves must be the same at the end. What broke is told as it was sent; --seed sends the like again.

python -m benchmarks.fuzz --minutes 10
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import uvloop
from onnx import TensorProto, helper

from benchmarks.mutations import NUMBERS, HttpSeed, grpc_seeds, http2_call, http_seeds, mutated
from benchmarks.processes import leave_nothing_behind
from benchmarks.serving import Service, service
from benchmarks.soak import worker_pid
from benchmarks.wire import Answer, Connection, connect
from workbench.protocols import pb
from workbench.protocols.status_codes import GRPC_CODE_KEY

ANSWER_S = 30.0
"""An answer that takes longer counts as hung."""
HEAD_S = 0.05
"""How long the answer to a mutated head is waited for before our side of the connection is closed."""
KEPT = 20
"""Requests that broke something, to be told of."""
STREAM_MESSAGES = 20
BROKEN = {"HTTP 500", "gRPC INTERNAL", "gRPC UNKNOWN", "stream internal"}


@dataclass(slots=True)
class Tally:
    """What came back."""

    answers: Counter[str] = field(default_factory=Counter)
    """Of mutated requests, by protocol and status."""
    right: int = 0
    """Right requests in between that were answered right."""
    wrong: int = 0
    hung: int = 0
    broken: int = 0
    kept: list[str] = field(default_factory=list)
    """What was wrong, hung or broken, and what had been sent."""

    @property
    def good(self) -> bool:
        return not (self.wrong or self.hung or self.broken)


class Fuzz:
    """Clients of one service that serves "numbers" and "texts", which give back what they are given, and "other"."""

    def __init__(self, found: Service, grpc_address: str, seed: int = 0) -> None:
        self.tally = Tally()
        self._found = found
        self._host = found.url.removeprefix("http://")
        self._grpc = grpc_address
        self._seed = seed
        self._http_seeds = http_seeds()
        self._grpc_seeds = grpc_seeds()
        self._metadata = (("authorization", f"Bearer {found.token}"),)

    async def run(self, seconds: float) -> None:
        """Awaits all it started."""
        end = time.monotonic() + seconds
        kinds: list[Callable[[float, random.Random], Coroutine[Any, Any, None]]] = [self._check]
        kinds += (
            [self._bodies] * 6 + [self._heads] * 4 + [self._messages] * 4 + [self._streams] * 2 + [self._frames] * 2
        )
        async with asyncio.TaskGroup() as group:
            for index, kind in enumerate(kinds):
                group.create_task(kind(end, random.Random(self._seed * 1000 + index)))

    # Right requests

    async def _check(self, end: float, dice: random.Random) -> None:
        """Each valid request, over and over."""
        async with grpc.aio.insecure_channel(self._grpc) as channel:
            while time.monotonic() < end:
                for seed in self._http_seeds:
                    answer = await self._answered(self._whole(seed), f"a right {seed.method} {seed.path}")
                    self._judge(answer is not None and answer.status == seed.status, f"{seed}: {answer}")
                answer = await self._answered(self._whole(self._http_seeds[0]), "a right inference")
                found = json.loads(answer.body)["outputs"][0]["data"] if answer else None
                self._judge(found == NUMBERS.ravel().tolist(), f"an inference: {answer}")
                try:
                    message = await self._call(channel, "ModelInfer", self._grpc_seeds[0][1])
                    (raw,) = pb.message("ModelInferResponse").FromString(message).raw_output_contents
                    self._judge(bool(np.array_equal(np.frombuffer(raw, np.float32), NUMBERS.ravel())), "over gRPC")
                except grpc.aio.AioRpcError as error:
                    self._judge(False, f"over gRPC: {error.code().name} {error.details()}")
                await asyncio.sleep(0.02)

    def _judge(self, right: bool, what: str) -> None:
        self.tally.right += right
        self.tally.wrong += not right
        if not right:
            self._keep(f"wrong: {what}")

    # Mutated ones

    async def _bodies(self, end: float, dice: random.Random) -> None:
        """Whole requests, so each is answered; a connection goes on afterwards, unless the service closed it."""
        seeds = [seed for seed in self._http_seeds if seed.body]
        connection: Connection | None = None
        while time.monotonic() < end:
            seed = dice.choice(seeds)
            body = mutated(seed.body, dice)
            if "Inference-Header-Content-Length" in seed.headers and dice.random() < 0.3:
                length = str(dice.choice((0, 1, len(body) - 1, len(body), dice.randrange(300), -1, 1 << 63)))
                seed = HttpSeed(seed.method, seed.path, seed.body, {**seed.headers, HEADER_LENGTH: length})
            elif dice.random() < 0.1 and "Content-Encoding" not in seed.headers:
                body = zlib.compress(body, 1)
                seed = HttpSeed(seed.method, seed.path, seed.body, {**seed.headers, "Content-Encoding": "deflate"})
            if connection is None or connection.closed:
                connection = await connect(self._found.port)
            sent = seed.head(self._host, self._found.token, len(body)) + body
            answer = await self._answered(sent, f"a mutated body of {seed.path}", connection)
            self._count(f"HTTP {answer.status}" if answer else "HTTP unanswered", sent)
            if answer is None:
                connection.vanish()
                connection = None
        if connection is not None:
            connection.close()

    async def _heads(self, end: float, dice: random.Random) -> None:
        """Whatever they have become, the connection ends after our side has been closed."""
        while time.monotonic() < end:
            seed = dice.choice(self._http_seeds)
            sent = mutated(seed.head(self._host, self._found.token, len(seed.body)), dice) + seed.body
            answered = await self._raw(self._found.port, sent)
            status = answered[9:12].decode("latin-1") if answered.startswith(b"HTTP/1.1 ") else "unanswered"
            self._count(f"HTTP {status}", sent)

    async def _messages(self, end: float, dice: random.Random) -> None:
        async with grpc.aio.insecure_channel(self._grpc) as channel:
            while time.monotonic() < end:
                method, message = dice.choice(self._grpc_seeds)
                sent = mutated(message, dice)
                try:
                    await self._call(channel, method, sent)
                    self._count("gRPC OK", sent)
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and GRPC_CODE_KEY not in _trailing(error):
                        self._hang(f"{method} {sent.hex()}")
                    self._count(f"gRPC {error.code().name}", f"{method}: {error.details()}: ".encode() + sent)

    async def _streams(self, end: float, dice: random.Random) -> None:
        """Each message of a stream has its answer, whatever the others are."""
        inferences = [message for method, message in self._grpc_seeds if method == "ModelInfer"]
        async with grpc.aio.insecure_channel(self._grpc) as channel:
            open_stream = channel.stream_stream(f"/{pb.SERVICE}/ModelStreamInfer")
            while time.monotonic() < end:
                sent = [mutated(dice.choice(inferences), dice) for _ in range(STREAM_MESSAGES)]
                stream = open_stream(_each(sent), metadata=self._metadata, timeout=ANSWER_S)
                answers = 0
                try:
                    async for message in stream:
                        found = pb.message("ModelStreamInferResponse").FromString(message)
                        code = found.infer_response.parameters[GRPC_CODE_KEY].string_param
                        self._count(f"stream {code or 'ok'}", sent[answers])
                        answers += 1
                except grpc.aio.AioRpcError as error:
                    self._count(f"gRPC {error.code().name}", f"a stream: {error.details()}".encode() + b" ".join(sent))
                if answers != len(sent):
                    self._hang(f"a stream: {answers} answers to {b' '.join(sent).hex()}")

    async def _frames(self, end: float, dice: random.Random) -> None:
        """HTTP/2 itself: what comes before a call, headers and frames."""
        port = int(self._grpc.rpartition(":")[2])
        while time.monotonic() < end:
            method, message = dice.choice(self._grpc_seeds)
            sent = mutated(http2_call(self._grpc, self._found.token, method, message), dice)
            answered = await self._raw(port, sent)
            self._count("frames answered" if answered else "frames unanswered", sent)

    # Ways to send

    def _whole(self, seed: HttpSeed) -> bytes:
        return seed.head(self._host, self._found.token, len(seed.body)) + seed.body

    async def _answered(self, sent: bytes, what: str, on: Connection | None = None) -> Answer | None:
        """None where the connection was closed without an answer, or nothing came."""
        connection = on or await connect(self._found.port)
        try:
            async with asyncio.timeout(ANSWER_S):
                return await connection.send(sent)
        except ConnectionError:
            return None
        except TimeoutError:
            self._hang(f"{what}: {sent.hex()}")
            return None
        finally:
            if on is None:
                connection.close()

    async def _raw(self, port: int, sent: bytes) -> bytes:
        """What comes until the connection is closed; our side closes it when nothing has come for a while."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        found = b""
        try:
            async with asyncio.timeout(ANSWER_S):
                writer.write(sent)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HEAD_S):
                        found = await reader.read(65_536)
                writer.write_eof()
                while part := await reader.read(65_536):
                    found = (found + part)[:65_536]
        except OSError:
            pass
        except TimeoutError:
            self._hang(f"port {port}, without an end: {sent.hex()}")
        finally:
            writer.transport.abort()
        return found

    async def _call(self, channel: grpc.aio.Channel, method: str, message: bytes) -> bytes:
        call = channel.unary_unary(f"/{pb.SERVICE}/{method}")
        answer: bytes = await call(message, metadata=self._metadata, timeout=ANSWER_S, wait_for_ready=True)
        return answer

    # Counts

    def _count(self, answer: str, sent: bytes) -> None:
        self.tally.answers[answer] += 1
        if answer in BROKEN:
            self.tally.broken += 1
            self._keep(f"{answer}: {sent!r}")

    def _hang(self, what: str) -> None:
        self.tally.hung += 1
        self._keep(f"hung: {what}")

    def _keep(self, what: str) -> None:
        if len(self.tally.kept) < KEPT:
            self.tally.kept.append(what[:4000])


HEADER_LENGTH = "Inference-Header-Content-Length"


@contextlib.contextmanager
def fuzzed(folder: Path) -> Iterator[tuple[Service, str]]:
    """A service with the models that are asked, and where its gRPC is."""
    paths = {
        "numbers": _save_identity(folder / "numbers.onnx", TensorProto.FLOAT, 4),
        "texts": _save_identity(folder / "texts.onnx", TensorProto.STRING, 2),
    }
    _save_identity(folder / "repository" / "other" / "1" / "model.onnx", TensorProto.FLOAT, 4)
    environment = {"INFER_WORKBENCH_MODEL_REPOSITORIES": str(folder / "repository")}
    with service(folder / "service", paths, environment=environment) as found:
        yield found, json.loads((folder / "service" / "ready.json").read_text())["grpc"]


def measure(seconds: float, folder: Path, seed: int = 0) -> dict[str, Any]:
    """What came back, and how the service was afterwards."""
    with fuzzed(folder) as (found, address):
        fuzz = Fuzz(found, address, seed)
        before = worker_pid(found)
        began = time.monotonic()
        uvloop.run(fuzz.run(seconds))
        took_s = time.monotonic() - began
        after = uvloop.run(_ready(found))
        log = (folder / "service" / "service.log").read_text("utf-8", "replace")
        complaints = [line for line in log.splitlines() if "a handler failed" in line]
        return {
            "seed": seed,
            "seconds": took_s,
            "tally": {**asdict(fuzz.tally), "answers": dict(fuzz.tally.answers)},
            "same_worker": worker_pid(found) == before,
            "ready": after,
            "complaints": complaints,
            "good": fuzz.tally.good and worker_pid(found) == before and after and not complaints,
        }


def report(figures: dict[str, Any]) -> str:
    tally = figures["tally"]
    lines = [
        f"{figures['seconds'] / 60:.1f} minutes, seed {figures['seed']}: {sum(tally['answers'].values()):,} mutated "
        f"requests; {tally['broken']} broken, {tally['hung']} hung",
        f"{tally['right']:,} right requests in between answered right, {tally['wrong']} not",
        f"the worker is {'the same' if figures['same_worker'] else 'another'}, "
        f"and {'ready' if figures['ready'] else 'not ready'}",
    ]
    lines += [f"  {count:>9,} x {answer}" for answer, count in sorted(tally["answers"].items())]
    return "\n".join([*lines, *tally["kept"], *figures["complaints"][:KEPT]])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "fuzz.json")
    arguments = parser.parse_args()
    leave_nothing_behind()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments.minutes * 60, Path(folder), arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(figures, indent=1))
    print(report(figures))
    sys.exit(0 if figures["good"] else 1)


async def _ready(found: Service) -> bool:
    connection = await connect(found.port)
    answer = await connection.send(b"GET /v2/health/ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    connection.close()
    return answer.status == 200


async def _each(messages: list[bytes]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


def _trailing(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    return dict(error.trailing_metadata() or ())


def _save_identity(path: Path, kind: int, columns: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = [helper.make_tensor_value_info(name, kind, ["batch", columns]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", tensors[:1], tensors[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


if __name__ == "__main__":
    main()

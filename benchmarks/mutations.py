"""Valid requests of all kinds, and what becomes of bytes that are not left as they were."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf.message import Message

from workbench.protocols import pb

TOKENS = (
    *(b"-1", b"0", b"1", b"65536", b"4294967296", b"9223372036854775807", b"-9223372036854775809", b"1" * 400),
    *(b"1e400", b"-1e-400", b"1.5", b"NaN", b"-Infinity", b"true", b"null", b"[]", b"{}", b'""', b"[" * 200),
    *(b'"', b"\\", b"\\u0000", b"\\ud800", b"\\", b",", b":", b"]", b"}", b"\x00", b"\xff\xfe", b"\xed\xa0\x80"),
    *(b"FP16", b"BF16", b"BYTES", b"BOOL", b"INT64", b"UINT8", b"FP31"),
    *(b"data", b"binary_data_size", b"binary_data_output", b"classification", b"timeout", b"priority", b"timings"),
    *(b"shared_memory_region", b"sequence_id", b"triton_x", b"parameters", b"outputs", b"../..", b"%00", b"%2e%2e"),
    *(b"\r\n", b"\r\n\r\n", b"\n", b" ", b"\t", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n"),
    *(b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"Content-Encoding: gzip\r\n"),
)

REPEATED = (
    *(
        b"[",
        b"]",
        b"[],",
        b"{}",
        b"1,",
        b"300,",
        b'"",',
        b'"a":0,',
        b'{"name":"","shape":[],"datatype":""},',
        b'"data":[',
    ),
    *(b" ", b"\\", b'\\"', b'"', b"NaN,", b'"NaN",', b"0", b"\xff"),
    # Of gRPC: inputs, outputs, raw contents, parameters, elements that are texts or packed or not, all of them empty.
    *(b"\x2a\x00", b"\x32\x00", b"\x3a\x00", b"\x22\x00", b"\x42\x00", b"\x12\x00", b"\x10\x01", b"\x78\x01", b"\x80"),
)
"""What makes a request deep, wide, or full of nothing where there are many of it."""


def mutated(sent: bytes, dice: random.Random) -> bytes:
    """`sent` with one to four changes, of single bits up to whole pieces; now and then it is swollen."""
    octets = bytearray(sent)
    if dice.random() < 0.02:
        piece = dice.choice((*REPEATED, bytes(octets[: dice.randint(1, 60)])))
        at = dice.randrange(len(octets) + 1)
        octets[at:at] = piece * (dice.randint(1_000, 600_000) // max(len(piece), 1))
        if dice.random() < 0.5:
            return bytes(octets)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        at = dice.randrange(len(octets) + 1)
        match dice.randrange(9):
            case 0 if at < len(octets):
                octets[at] ^= 1 << dice.randrange(8)
            case 1 if at < len(octets):
                octets[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
            case 2:
                octets[at:at] = dice.randbytes(dice.randint(1, 16))
            case 3:
                del octets[at : at + dice.randint(1, 16)]
            case 4:
                octets[at:at] = octets[dice.randrange(len(octets) + 1) :][: dice.randint(1, 200)]
            case 5:
                del octets[at:]
            case 6:
                octets[at : at + dice.randint(0, 8)] = dice.choice(TOKENS)
            case 7:
                _replace_number(octets, at, dice)
            case _:
                octets[at:at] = octets[at : at + dice.randint(1, 40)] * dice.randint(1, 30)
    return bytes(octets)


def _replace_number(octets: bytearray, at: int, dice: random.Random) -> None:
    """The first run of digits from there on becomes another."""
    while at < len(octets) and not 0x30 <= octets[at] <= 0x39:
        at += 1
    end = at
    while end < len(octets) and 0x30 <= octets[end] <= 0x39:
        end += 1
    octets[at:end] = dice.choice(TOKENS[:12])


# Over HTTP


@dataclass(frozen=True)
class HttpSeed:
    """A right request."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    """Of its answer."""

    def head(self, host: str, token: str, length: int) -> bytes:
        """Up to the body, which has so many bytes."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.method == "POST":
            lines.append(f"Content-Length: {length}")
        return "\r\n".join([*lines, "", ""]).encode()


JSON = {"Content-Type": "application/json"}
OCTETS = "application/octet-stream"

NUMBERS = np.arange(8, dtype=np.float32).reshape(2, 4) / 4
TEXTS = np.array([["a", "bc"], ["", "ä"]])
"""What the models "numbers" (FP32 [-1, 4]) and "texts" (BYTES [-1, 2]) are given; both give it back."""


def http_seeds() -> list[HttpSeed]:
    numbers = {"name": "x", "shape": [2, 4], "datatype": "FP32"}
    texts = {"name": "x", "shape": [2, 2], "datatype": "BYTES"}
    plain = {"inputs": [{**numbers, "data": NUMBERS.tolist()}]}
    full = {
        "id": "seven",
        "inputs": [{**numbers, "data": NUMBERS.ravel().tolist(), "parameters": {"mine": 1}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        "parameters": {"timeout": 20_000_000, "priority": 1, "timings": True, "other": "text"},
    }
    classes = {**plain, "outputs": [{"name": "y", "parameters": {"classification": 2}}]}
    infer, texts_infer = "/v2/models/numbers/infer", "/v2/models/texts/versions/1/infer"
    raw_texts = b"".join(len(each.encode()).to_bytes(4, "little") + each.encode() for each in TEXTS.ravel())
    packed = json.dumps(plain).encode()
    loaded = {"parameters": {"config": json.dumps({"max_batch_size": 32, "max_queue_delay_s": 0.0})}}
    return [
        _json("POST", infer, plain),
        _json("POST", infer, full, {"x-request-id": "mine", "traceparent": f"00-{'4b' * 16}-{'0a' * 8}-01"}),
        _json("POST", infer, classes, {"Accept-Encoding": "gzip"}),
        _json("POST", texts_infer, {"inputs": [{**texts, "data": TEXTS.tolist()}]}),
        _binary(infer, numbers, NUMBERS.tobytes()),
        _binary(texts_infer, texts, raw_texts),
        HttpSeed("POST", infer, NUMBERS.tobytes(), {"Content-Type": OCTETS, "Inference-Header-Content-Length": "0"}),
        HttpSeed("POST", infer, zlib.compress(packed), {**JSON, "Content-Encoding": "deflate"}),
        _json("POST", "/v2/repository/index", {"ready": True}),
        _json("POST", "/v2/repository/models/other/load", loaded),
        _json("POST", "/control/models/other/set", {"max_batch_size": 16, "priority_levels": 3}),
        *(HttpSeed("GET", path) for path in ("/v2", "/v2/models/numbers", "/v2/models/texts/config", "/metrics")),
        *(HttpSeed("GET", path) for path in ("/v2/models/stats", "/control/status", "/control/logs?lines=3")),
    ]


def _json(method: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> HttpSeed:
    return HttpSeed(method, path, json.dumps(body).encode(), {**JSON, **(headers or {})})


def _binary(path: str, tensor: Mapping[str, Any], raw: bytes) -> HttpSeed:
    asked = {
        "inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}],
        "parameters": {"binary_data_output": True},
    }
    head = json.dumps(asked).encode()
    return HttpSeed(
        "POST", path, head + raw, {"Content-Type": OCTETS, "Inference-Header-Content-Length": str(len(head))}
    )


# Over gRPC


def grpc_seeds() -> list[tuple[str, bytes]]:
    """(method, message), the inferences first."""
    raw = pb.message("ModelInferRequest")(model_name="numbers", raw_input_contents=[NUMBERS.tobytes()])
    raw.inputs.add(name="x", datatype="FP32", shape=[2, 4])
    typed = pb.message("ModelInferRequest")(model_name="numbers", model_version="1", id="seven")
    typed.inputs.add(name="x", datatype="FP32", shape=[2, 4]).contents.fp32_contents.extend(NUMBERS.ravel())
    typed.outputs.add(name="y").parameters["classification"].int64_param = 2
    typed.parameters["timeout"].int64_param = 20_000_000
    typed.parameters["timings"].bool_param = True
    texts = pb.message("ModelInferRequest")(model_name="texts")
    texts.inputs.add(name="x", datatype="BYTES", shape=[2, 2]).contents.bytes_contents.extend(
        each.encode() for each in TEXTS.ravel()
    )
    load = pb.message("RepositoryModelLoadRequest")(model_name="other")
    load.parameters["config"].string_param = json.dumps({"max_batch_size": 32})
    return [
        *(("ModelInfer", _bytes(each)) for each in (raw, typed, texts)),
        ("ModelMetadata", _bytes(pb.message("ModelMetadataRequest")(name="numbers", version="1"))),
        ("ModelConfig", _bytes(pb.message("ModelConfigRequest")(name="texts"))),
        ("ModelStatistics", _bytes(pb.message("ModelStatisticsRequest")(name="numbers"))),
        ("ModelReady", _bytes(pb.message("ModelReadyRequest")(name="numbers"))),
        ("RepositoryIndex", _bytes(pb.message("RepositoryIndexRequest")(ready=True))),
        ("RepositoryModelLoad", _bytes(load)),
    ]


def _bytes(message: Message) -> bytes:
    return bytes(message.SerializeToString())


def http2_call(host: str, token: str, method: str, message: bytes) -> bytes:
    """A whole gRPC call as it goes over the wire: settings, headers without any compression, one message."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/{pb.SERVICE}/{method}",
        ":authority": host,
        "te": "trailers",
        "content-type": "application/grpc",
        "authorization": f"Bearer {token}",
        "x-request-id": "mine",
        "grpc-timeout": "20S",
    }
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    return preface + _frame(4, 0, 0, b"") + _frame(1, 4, 1, block) + _frame(0, 1, 1, framed)


def _text(value: str) -> bytes:
    assert len(value) < 127
    return bytes([len(value)]) + value.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

"""Inference requests of gRPC, as they are and mutated."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from workbench.core.tensor import Array


def same(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def equal(one: Array, other: Array) -> bool:
    if one.dtype == np.object_:
        return one.shape == other.shape and one.tolist() == other.tolist()
    return same(one, other)


def request(shape: Any = (2, 2), raw: bytes | None = b"\0" * 16, datatype: str = "FP32", **changes: Any) -> Any:
    message = service_pb2.ModelInferRequest(model_name="m", **changes)
    message.inputs.add(name="x", datatype=datatype, shape=shape)
    if raw is not None:
        message.raw_input_contents.append(raw)
    return message


def asking(*names: str) -> Any:
    message = request()
    for name in names:
        message.outputs.add(name=name)
    return message


def parametrised(**parameters: int | str) -> Any:
    message = request()
    for name, value in parameters.items():
        setattr(message.parameters[name], "int64_param" if isinstance(value, int) else "string_param", value)
    return message


def seeds() -> list[bytes]:
    typed = request(raw=None)
    typed.inputs[0].contents.fp32_contents.extend([1, 2, 3, 4])
    return [
        each.SerializeToString()
        for each in (
            request(id="7"),
            typed,
            request((2,), b"\1\0\0\0a\0\0\0\0", "BYTES"),
            parametrised(timeout=5, timings=1, priority=1, mine="x"),
            asking("y", "z"),
        )
    ]


def mutated(body: bytes, rng: random.Random) -> bytes:
    octets = bytearray(body)
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(octets) + 1)
        match rng.randrange(4):
            case 0 if at < len(octets):
                octets[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 1:
                octets[at:at] = rng.randbytes(rng.randint(1, 8))
            case 2:
                del octets[at : at + rng.randint(1, 8)]
            case _:
                octets[at:at] = octets[rng.randrange(len(octets) + 1) :][: rng.randint(1, 40)]
        if not octets:
            octets = bytearray(b"\0")
    return bytes(octets)

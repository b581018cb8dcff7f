"""Large gRPC messages are walked, not parsed: what is in them is counted first, and comes to the same."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.helpers.growth import growth
from workbench.config import Limits
from workbench.core.varint import varint
from workbench.errors import InvalidInput, TooLarge, WorkbenchError
from workbench.protocols import grpc_metadata, grpc_wire_contents, oip_grpc, pb
from workbench.protocols.grpc_wire import LARGE, MAX_HEAD_BYTES
from workbench.protocols.oip_grpc import Decoder, named_in

MB = 1_000_000
NAMED = b"\x0a\x01m\x1a\x02id"
"""Model and id."""


def block(tag: bytes, content: bytes) -> bytes:
    return tag + varint(len(content)) + content


def tensor(datatype: bytes, count: int, contents: bytes) -> bytes:
    shape = block(b"\x1a", varint(count))
    return block(b"\x2a", b"\x0a\x01x" + block(b"\x12", datatype) + shape + block(b"\x2a", contents))


# What follows is `size` bytes of each kind.
HOSTILE: dict[str, Callable[[int], bytes]] = {
    "empty tensors": lambda size: NAMED + b"\x2a\x00" * (size // 2),
    "empty outputs": lambda size: NAMED + b"\x32\x00" * (size // 2),
    "empty parameters": lambda size: NAMED + b"\x22\x00" * (size // 2),
    "empty parameters of a tensor": lambda size: NAMED + block(b"\x2a", b"\x22\x00" * (size // 2)),
    "empty raw contents": lambda size: NAMED + b"\x3a\x00" * (size // 2),
    "names over and over": lambda size: b"\x0a\x01m\x1a\x00" + b"\x0a\x01m" * (size // 3),
    "unknown fields": lambda size: NAMED + b"\x78\x01" * (size // 2),
    "one unknown field": lambda size: NAMED + block(b"\x7a", bytes(size)),
    "a long shape": lambda size: NAMED + block(b"\x2a", block(b"\x1a", b"\x01" * size)),
    "a long shape, not packed": lambda size: NAMED + block(b"\x2a", b"\x18\x01" * (size // 2)),
    "empty contents": lambda size: NAMED + block(b"\x2a", b"\x2a\x00" * (size // 2)),
    "more strings than the shape has": lambda size: NAMED + tensor(b"BYTES", 1, b"\x42\x00" * (size // 2)),
    "more numbers than the shape has": lambda size: NAMED + tensor(b"INT32", 1, block(b"\x12", b"\x01" * size)),
    "numbers that are not packed": lambda size: NAMED + tensor(b"INT32", size // 2, b"\x10\x01" * (size // 2)),
    "a varint without an end": lambda size: NAMED + tensor(b"INT32", 1, block(b"\x12", b"\xff" * size)),
    "groups": lambda size: NAMED + b"\x7b" * size,
}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The sizes of what was parsed."""
    sizes: list[int] = []
    parse = oip_grpc.parse

    def noted(kind: Any, message: bytes) -> Any:
        sizes.append(len(message))
        return parse(kind, message)

    monkeypatch.setattr(oip_grpc, "parse", noted)
    yield sizes


@pytest.mark.parametrize("kind", HOSTILE)
def test_it_is_refused_before_it_is_parsed(kind: str, parsed: list[int]) -> None:
    message = HOSTILE[kind](5 * MB)
    with pytest.raises(WorkbenchError):
        Decoder(Limits()).decode(message, 0.0)
    assert sum(parsed) < 1000
    # Nor is it parsed to say whose it was.
    assert named_in(message) == ("m", "", "" if kind == "names over and over" else "id")


@pytest.mark.parametrize("kind", HOSTILE)
def test_its_time_follows_its_size(kind: str) -> None:
    def seconds(size: int) -> float:
        message = HOSTILE[kind](size)
        began = time.process_time()
        with contextlib.suppress(WorkbenchError):
            Decoder(Limits()).decode(message, 0.0)
        return time.process_time() - began

    assert growth(seconds, MB // 8, 4, tries=2) < 9  # 4 where it is linear, 16 where it is quadratic


def test_what_is_beside_elements_has_a_cap_in_bytes() -> None:
    message = NAMED + block(b"\x2a", block(b"\x0a", bytes(MAX_HEAD_BYTES - 100)) + block(b"\x12", bytes(200)))
    with pytest.raises(TooLarge, match="4194304 bytes beside"):
        Decoder(Limits()).decode(message, 0.0)


def test_a_load_with_many_fields_is_refused() -> None:
    with pytest.raises(TooLarge, match="more than 4096 fields"):
        grpc_metadata.decode_repository_load(b"\x1a\x00" * MB)


def test_a_large_message_is_read_where_it_lies() -> None:
    array = np.arange(LARGE, dtype=np.float32)
    message = bytes(NAMED + b"\x2a" + b"")[:3] + block(
        b"\x2a", b"\x0a\x01x" + block(b"\x12", b"FP32") + block(b"\x1a", varint(array.size))
    )
    for padding in range(4):
        sent = message + block(b"\x1a", b"i" * padding) + block(b"\x3a", array.tobytes())
        counted = Decoder(Limits()).count(sent, 0.0)
        request, _ = counted.decode()
        np.testing.assert_array_equal(request.inputs["x"], array)
        # Only what lies unaligned is copied, and that is counted.
        assert counted.memory_bytes == (array.nbytes if request.inputs["x"].flags.writeable else 0)
    assert not all(
        Decoder(Limits()).count(message + block(b"\x1a", b"i" * at) + block(b"\x3a", array.tobytes()), 0.0).memory_bytes
        for at in range(4)
    )


ELEMENTS = {
    "BOOL": ("bool_contents", [True, False, True]),
    "INT8": ("int_contents", [-1, 2, 127]),
    "INT32": ("int_contents", [-5, 1 << 30, 3]),
    "INT64": ("int64_contents", [-1, 1 << 40, 0]),
    "UINT8": ("uint_contents", [1, 255, 3]),
    "UINT32": ("uint_contents", [1, 1 << 31, 9]),
    "UINT64": ("uint64_contents", [1, 1 << 63, 3]),
    "FP32": ("fp32_contents", [1, 2.5, 3]),
    "FP64": ("fp64_contents", [1, 2.5, -3]),
    "BYTES": ("bytes_contents", [b"", b"ab", b"\xff" * 200]),
}
INSERTED = [b"\x2a\x00", b"\x3a\x00", b"\x22\x00", b"\x78\x01", b"\x0a\x01n", b"\x42\x00", b"\x2a\x04\x2a\x02\x42\x00"]
OCTETS = [0, 1, 2, 3, 5, 8, 0x0A, 0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42, 0x80, 0xFF]


def messages() -> list[bytes]:
    found = []
    for datatype, (field, values) in ELEMENTS.items():
        message = pb.message("ModelInferRequest")(model_name="m")
        input = message.inputs.add(name="x", datatype=datatype, shape=[3])
        getattr(input.contents, field).extend(values)
        found.append(message.SerializeToString())
    message = pb.message("ModelInferRequest")(model_name="m", id="i")
    message.inputs.add(name="a", datatype="FP32", shape=[1, 2])
    message.inputs.add(name="b", datatype="BYTES", shape=[2])
    message.raw_input_contents.extend([np.ones(2, np.float32).tobytes(), b"\1\0\0\0a\0\0\0\0"])
    message.outputs.add(name="y")
    message.parameters["p"].int64_param = 3
    return [*found, message.SerializeToString()]


@pytest.mark.parametrize("seed", range(4))
def test_a_walk_takes_what_the_parser_takes(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(seed)
    seeds = messages()
    taken = 0
    for turn in range(1500):
        sent = bytearray(dice.choice(seeds) if turn >= len(seeds) else seeds[turn])
        for _ in range(dice.randrange(1, 4) if turn >= len(seeds) else 0):
            at = dice.randrange(len(sent) + 1)
            change = dice.random()
            if change < 0.5:
                sent[at : at + 1] = bytes([dice.choice(OCTETS)])
            elif change < 0.7:
                sent[at:at] = dice.choice(INSERTED)
            elif change < 0.8:
                del sent[at : at + 1]
            else:
                sent += dice.choice(INSERTED)
        whole = outcome(bytes(sent))
        with monkeypatch.context() as patch:
            patch.setattr(oip_grpc, "LARGE", 0)
            patch.setattr(grpc_wire_contents, "_BLOCK", dice.randrange(11, 30))
            assert outcome(bytes(sent)) == whole, sent.hex()
        assert turn >= len(seeds) or whole
        taken += whole is not None
    assert taken > 30


def outcome(message: bytes) -> str | None:
    """What was asked, None where it was refused."""
    try:
        asked, answer = Decoder(Limits()).decode(message, 0.0)
    except (InvalidInput, TooLarge):
        return None
    inputs = {name: (array.dtype, array.shape, array.tolist()) for name, array in asked.inputs.items()}
    return repr((asked.model, asked.version, asked.id, asked.outputs, asked.parameters, answer, inputs))

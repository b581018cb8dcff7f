"""Hostile JSON is counted before anything is made of it, in time and memory that follow its size."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from collections.abc import Callable

import pytest

from tests.helpers.growth import growth
from tests.protocols.bad_bodies import body, tensor
from workbench.config import Limits
from workbench.errors import InvalidInput, TooLarge, WorkbenchError
from workbench.protocols.oip_json import decode_request

MB = 1_000_000
EMPTY = b'{"name":"","shape":[],"datatype":""}'
BEGIN = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]'


def read(sent: bytes, header_length: int | None = None) -> object:
    return decode_request("m", None, sent, header_length, Limits(), 0.0)


def repeated(item: bytes, size: int) -> bytes:
    return item * (size // len(item))


def members(size: int) -> bytes:
    return b"".join(b'"%x":0,' % at for at in range(size // 9))


# What follows is `size` bytes of each kind.
HOSTILE: dict[str, Callable[[int], bytes]] = {
    "empty tensors": lambda size: b'{"inputs":[' + repeated(EMPTY + b",", size) + EMPTY + b"]}",
    "outputs": lambda size: BEGIN + b'}],"outputs":[' + repeated(b'{"name":""},', size) + b'{"name":""}]}',
    "parameters": lambda size: (
        BEGIN + b'}],"parameters":{' + b"".join(b'"%x":0,' % at for at in range(size // 9)) + b'"":0}}'
    ),
    "a shape": lambda size: BEGIN.replace(b"[1]", b"[" + repeated(b"300,", size) + b"1]", 1) + b"}]}",
    "an unknown member": lambda size: BEGIN + b'}],"z":[' + repeated(b"[],", size) + b"1]}",
    "an unknown text": lambda size: BEGIN + b'}],"z":"' + repeated(b'\\"', size) + b'"}',
    "spaces": lambda size: BEGIN + b" " * size,
    "spaces after a bare word": lambda size: b'{"inputs":[NaN' + b" " * size,
    "spaces in data": lambda size: BEGIN.replace(b"[1]", b"[1" + b" " * size) + b"]}]}",
    "digits in data": lambda size: BEGIN.replace(b"[1]", b"[1" + b"1" * size) + b"]}]}",
    "lists without an end": lambda size: repeated(b'"data":[', size),
    "keys without a list": lambda size: repeated(b'"data" : ', size),
    "many short lists": lambda size: b'{"inputs":[' + repeated(b'{"data":[1]},', size),
    "a text without an end": lambda size: b'{"inputs":["' + repeated(b'\\"', size),
    "backslashes": lambda size: b'{"inputs":["' + b"\\" * size,
    "brackets": lambda size: b"[" * size,
    "bare words": lambda size: b"[" + repeated(b"NaN,", size),
    "words in strings": lambda size: b"[" + repeated(b'"NaN",', size),
    "lists in data": lambda size: BEGIN.replace(b"[1]", b"[" + repeated(b"[],", size) + b"[]]") + b"}]}",
    "deep lists in data": lambda size: BEGIN.replace(b"[1]", b"[" * 50 + repeated(b"1,", size) + b"1" + b"]" * 50),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_it_is_refused_before_it_is_made(kind: str) -> None:
    sent = HOSTILE[kind](10 * MB)
    tracemalloc.start()
    try:
        with pytest.raises(WorkbenchError):
            read(sent)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The most that may be left beside data is looked at whole.
    assert peak < 28 * MB, peak / MB


@pytest.mark.parametrize("kind", HOSTILE)
def test_its_time_follows_its_size(kind: str) -> None:
    def seconds(size: int) -> float:
        sent = HOSTILE[kind](size)
        began = time.process_time()
        with contextlib.suppress(WorkbenchError):
            read(sent)
        return time.process_time() - began

    assert growth(seconds, MB // 2, 4, tries=2) < 9  # 4 where it is linear, 16 where it is quadratic


def test_a_head_before_binary_data_has_a_cap_of_its_own() -> None:
    head = BEGIN + b" " * (5 * MB)
    with pytest.raises(TooLarge, match="JSON before binary data has"):
        read(head + b"1234", len(head))
    head = body(tensor(data=None, parameters={"binary_data_size": 64}), z=[0] * 30_000)
    assert len(head) > 64 * 1024
    read(head + bytes(64), len(head))


def test_a_wide_model_takes_as_many_tensors_as_it_has() -> None:
    inputs = [tensor(name=str(at), shape=[200], data=[0.5] * 200) for at in range(1000)]
    sent = body(*inputs)
    with pytest.raises(TooLarge, match="max_tensors is 256"):
        read(sent)
    request, _ = decode_request("m", None, sent, None, Limits(), 0.0, tensors_of=lambda model, version: 1000)
    assert len(request.inputs) == 1000


def test_data_that_nobody_would_read_is_refused() -> None:
    long = [1] * 40_000
    with pytest.raises(InvalidInput, match="not the data of any input"):
        read(body(tensor(shape=[len(long)], data=long), z={"data": long}))

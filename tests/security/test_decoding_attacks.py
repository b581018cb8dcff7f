"""What a caller with a token can send to have it decoded, beside others who are served."""

from __future__ import annotations

import gzip
import http.client
import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tests.security.watched_service import MB, Watched

pytestmark = pytest.mark.serial

EMPTY = b'{"name":"","shape":[],"datatype":""}'
BEGIN = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[%d,4],"data":['
NUMBERS = 12 * MB


def json_bodies() -> dict[str, bytes]:
    """Made by the test that sends them: some 300 MB, which every process that collects it would keep."""
    return {
        "spaces": b" " * (60 * MB),
        "a bare word and spaces": BEGIN % 1 + b"NaN" + b" " * (60 * MB),
        "empty tensors": b'{"inputs":[%b]}' % b",".join([EMPTY] * (32 * MB // 37)),
        "parameters": b'{"inputs":[],"parameters":{%b}}' % b",".join(b'"%x":0' % at for at in range(2 * MB)),
        "a shape": b'{"inputs":[{"name":"x","datatype":"FP32","shape":[%b]}]}' % b",".join([b"300"] * 8 * MB),
        "numbers": BEGIN % (NUMBERS // 4) + b"0.5," * (NUMBERS - 1) + b"0.5]}]}",
    }


def grpc_messages() -> list[bytes]:
    """Empty tensors, empty parameters, and empty raw contents."""
    return [b"\x2a\x00" * (8 * MB), b"\x22\x00" * (8 * MB), b"\x3a\x00" * (8 * MB)]


def post(attacked: Watched, body: bytes, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(attacked.serve.address, timeout=60)
    head = {"Authorization": f"Bearer {attacked.serve.token}", "Content-Type": "application/json", **headers}
    connection.request("POST", "/v2/models/plus/infer", body, head)
    answer = connection.getresponse()
    said = json.loads(answer.read()).get("error", "")
    connection.close()
    return answer.status, said


def test_json_that_is_huge_when_it_is_decoded(attacked: Watched) -> None:
    bodies = json_bodies()
    packed = {kind: gzip.compress(body, 1) for kind, body in bodies.items()}
    with attacked.attack() as seen:
        for kind, body in bodies.items():
            status, said = post(attacked, body)
            # Of the numbers only the model says that they are too many.
            assert status in (400, 413) and ("rows" in said) == (kind == "numbers"), (kind, status, said)
            status, said = post(attacked, packed[kind], **{"Content-Encoding": "gzip"})
            assert status in (400, 413), (kind, said)
    seen.others_were_served()
    assert seen.grown_bytes < 500 * MB, seen


def test_zeros_that_are_a_thousandth_of_themselves_as_they_travel(attacked: Watched) -> None:
    zeros = gzip.compress(b"\0" * (200 * MB), 9)
    assert len(zeros) * 900 < 200 * MB
    kinds: list[dict[str, str]] = [{}, {"Content-Type": "application/octet-stream"}]
    kinds.append({"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "100"})

    def send(headers: dict[str, str]) -> tuple[int, str]:
        return post(attacked, zeros, **{"Content-Encoding": "gzip", **headers})

    with attacked.attack() as seen, ThreadPoolExecutor(6) as callers:
        for status, said in callers.map(send, kinds * 4):
            assert status == 429 or (status == 413 and "100 times" in said), (status, said)
    seen.others_were_served()
    assert seen.grown_bytes < 400 * MB, seen


def test_messages_that_are_huge_when_they_are_parsed(attacked: Watched) -> None:
    metadata = (("authorization", f"Bearer {attacked.serve.token}"),)
    messages = grpc_messages()

    with attacked.attack() as seen, grpc.insecure_channel(attacked.serve.grpc) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for message in messages:
            with pytest.raises(grpc.RpcError, match="fields beside its tensors' elements"):
                infer(message, metadata=metadata, timeout=60)
        stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        assert sum(b"fields beside" in answer for answer in stream(iter(messages), metadata=metadata, timeout=60)) == 3
    seen.others_were_served()
    assert seen.grown_bytes < 150 * MB, seen


def test_strings_that_are_made_one_by_one(attacked: Watched) -> None:
    """A step of Python for each, and four of them at once."""
    count = 2 * MB
    spec = b'{"name":"x","datatype":"BYTES","shape":[%d],"parameters":{"binary_data_size":%d}}' % (count, 6 * count)
    head = b'{"inputs":[%b]}' % spec
    body = head + b"\2\0\0\0ab" * count
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    with attacked.attack() as seen, ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda _: post(attacked, body, **headers), range(4)))
        assert all(status == 400 and "expects 'FP32'" in said for status, said in answers), answers
    seen.others_were_served()
    assert seen.grown_bytes < 600 * MB, seen  # 128 MB for each are counted

"""Every bad body over HTTP: an error that says what was wrong, and after all of them the service answers right."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator

import pytest

from tests import models
from tests.helpers.service_process import Serve
from tests.protocols.bad_bodies import BAD_BODIES, NEEDS_MODEL, RAW, Bad, good_binary, good_json

PATH = "/v2/models/mlp/infer"


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder = tmp_path_factory.mktemp("service")
    models.save(models.identity(shape=("batch", 16)), folder / "repository" / "mlp" / "1" / "model.onnx")
    limits = {"INFER_WORKBENCH_MAX_BODY_BYTES": str(2 * 1024 * 1024)}
    with Serve(folder, "--model-repository", str(folder / "repository"), environment=limits) as serve:
        yield serve.ready()
        assert serve.call("POST", PATH, good_json())[0] == 200
        assert serve.stop() == 0
        assert "a handler failed" not in "\n".join(serve.seen)


@pytest.fixture(scope="module")
def connection(serve: Serve) -> Iterator[http.client.HTTPConnection]:
    """One connection for all, so that no refusal may leave it out of step."""
    connection = http.client.HTTPConnection(serve.address, timeout=30)
    yield connection
    connection.close()


def post(
    serve: Serve, connection: http.client.HTTPConnection, body: bytes, header_length: int | None
) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {serve.token}", "Content-Type": "application/json"}
    if header_length is not None:
        headers["Inference-Header-Content-Length"] = str(header_length)
    connection.request("POST", PATH, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


@pytest.mark.parametrize("bad", [*BAD_BODIES, *NEEDS_MODEL], ids=lambda bad: bad.name)
def test_a_bad_body_is_refused_with_what_was_wrong(
    bad: Bad, serve: Serve, connection: http.client.HTTPConnection
) -> None:
    status, answer = post(serve, connection, bad.body, bad.header_length)
    assert status == bad.status, answer
    assert bad.message in json.loads(answer)["error"]
    status, answer = post(serve, connection, good_json(), None)
    assert status == 200
    assert json.loads(answer)["outputs"][0]["data"] == [0.5] * 16


def test_a_body_over_the_cap_is_413_and_the_connection_goes_on(
    serve: Serve, connection: http.client.HTTPConnection
) -> None:
    status, answer = post(serve, connection, b" " * (2 * 1024 * 1024 + 1), None)
    assert status == 413
    assert "max_body_bytes" in json.loads(answer)["error"]
    body, header_length = good_binary()
    status, answer = post(serve, connection, body, header_length)
    assert status == 200
    assert json.loads(answer)["outputs"][0]["data"] == [0.5] * 16


@pytest.mark.parametrize("length", ["-1", "+5", "x", "1e3", "", "9" * 30])
def test_a_header_length_that_is_no_length_is_400(serve: Serve, length: str) -> None:
    status, answer = serve.call("POST", PATH, good_binary()[0], Inference_Header_Content_Length=length)
    assert status == 400
    assert "Inference-Header-Content-Length" in json.loads(answer)["error"]


@pytest.mark.parametrize(
    "sent",
    [
        b"no HTTP at all\r\n\r\n",
        b"POST /v2/models/mlp/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /v2/models/mlp/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /v2/models/mlp/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v2/models/mlp/infer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v2/models/%ff%fe/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        b"GET /v2/models/" + b"a" * 50_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_bytes_that_are_no_request_are_refused_and_harm_nobody(serve: Serve, sent: bytes) -> None:
    host, port = serve.address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as raw:
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        answer = b""
        while part := raw.recv(65536):
            answer += part
    assert answer[9:12] in (b"", b"400", b"401")
    assert serve.call("POST", PATH, good_json())[0] == 200


def test_half_a_body_and_a_closed_connection_harm_nobody(serve: Serve) -> None:
    host, port = serve.address.split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port)), timeout=30) as raw:
            head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {serve.token}\r\n"
            raw.sendall(head.encode() + b"Content-Length: 1000\r\n\r\n" + RAW)
    assert serve.call("POST", PATH, good_json())[0] == 200

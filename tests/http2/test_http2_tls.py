"""The gRPC port with TLS: negotiation, large messages both ways, and connections that end anywhere."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import trustme

from tests import models
from tests.helpers.service_process import Serve
from tests.http2.raw import LIMIT_S, PREFACE, settings
from tests.http2.service import INFER, inference
from workbench.protocols.oip_grpc import decode_response


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secure(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder: Path = tmp_path_factory.mktemp("secure")
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    for blob in leaf.cert_chain_pems:
        blob.write_to_path(folder / "cert.pem", append=True)
    models.save(models.identity(shape=("batch", "n")), folder / "repository" / "echo" / "1" / "model.onnx")
    files = ["--grpc-tls-cert", str(folder / "cert.pem"), "--grpc-tls-key", str(folder / "key.pem")]
    with Serve(folder, "--model-repository", str(folder / "repository"), "--grpc-port", "0", *files) as serve:
        yield serve.ready()


def connected(serve: Serve, context: ssl.SSLContext) -> ssl.SSLSocket:
    host, _, port = serve.grpc.rpartition(":")
    raw = socket.create_connection((host, int(port)), LIMIT_S)
    return context.wrap_socket(raw, server_hostname=host)


def heard(tls: ssl.SSLSocket) -> bytes:
    """Reads until the server hangs up."""
    found = b""
    try:
        while more := tls.recv(65_536):
            found += more
    except (ConnectionResetError, ssl.SSLError):
        pass
    return found


def call(serve: Serve, authority: trustme.CA, x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.secure_channel(serve.grpc, credentials, options) as channel:
        infer = channel.unary_unary(INFER.decode())
        answer = infer(inference(x), metadata=[("authorization", f"Bearer {serve.token}")], timeout=30)
        return decode_response(answer).outputs["y"]


def test_large_messages_both_ways(secure: Serve, authority: trustme.CA) -> None:
    for size in (1, 10_000, 3_000_000):
        x = np.random.default_rng(0).random((2, size), np.float32)
        assert np.array_equal(call(secure, authority, x), x)


def test_http_2_is_negotiated(secure: Serve, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["http/1.1", "h2"])
    with connected(secure, context) as tls:
        assert tls.selected_alpn_protocol() == "h2"
        assert tls.version() in ("TLSv1.2", "TLSv1.3")
        tls.sendall(PREFACE + settings().encoded())
        assert tls.recv(9)[3] == 4  # SETTINGS


def test_what_is_not_http_2_is_disconnected(secure: Serve, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    for said in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", bytes(100)):
        with connected(secure, context) as tls:
            tls.sendall(said)
            assert len(heard(tls)) < 1_000
    host, _, port = secure.grpc.rpartition(":")
    for said in (PREFACE + settings().encoded(), b"\x16\x03\x01\x00\x05hello", b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection((host, int(port)), LIMIT_S) as raw:
            raw.sendall(said)
            try:
                while raw.recv(65_536):
                    pass
            except ConnectionResetError:
                pass
    x = np.ones((1, 3), np.float32)
    assert np.array_equal(call(secure, authority, x), x)


def test_the_service_survives_connections_that_end_within_a_handshake(secure: Serve, authority: trustme.CA) -> None:
    host, _, port = secure.grpc.rpartition(":")
    hello = bytes.fromhex("16030100c8010000c40303") + bytes(100)
    for cut in (0, 1, 5, 6, 50, len(hello)):
        with socket.create_connection((host, int(port)), LIMIT_S) as raw:
            raw.sendall(hello[:cut])
    context = ssl.create_default_context()
    authority.configure_trust(context)
    for sent in (b"", PREFACE[:10], PREFACE + settings().encoded()):
        connected(secure, context).close()
        with connected(secure, context) as tls:
            tls.sendall(sent)
    x = np.ones((1, 3), np.float32)
    assert np.array_equal(call(secure, authority, x), x)

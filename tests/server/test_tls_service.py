"""A real service with TLS: HTTP and gRPC with one certificate, the user's own clients, and callers from elsewhere."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import trustme
from tritonclient.grpc.service_pb2 import ServerLiveRequest
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

import workbench
from tests import models
from tests.helpers.certificates import Pair, issued
from tests.helpers.service_process import Serve
from tests.server.real_service import serving
from workbench.cli import main
from workbench.client.client import AsyncClient
from workbench.core.messages import InferRequest
from workbench.errors import Unavailable


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def pair(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Of a name that is not this machine's loopback address, as a service has that others call."""
    return issued(authority, tmp_path_factory.mktemp("certificates"), "models.example.org", "localhost")


@pytest.fixture(scope="module")
def secure(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    models_served = {"echo": models.identity(shape=("batch", "n"))}
    with serving(tmp_path_factory.mktemp("secure"), models_served, *pair.flags) as serve:
        yield serve


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def answered(url: str, token: str, ca_file: Path | None, *, size: int = 3) -> bool:
    x = np.random.default_rng(0).random((2, size), np.float32)

    async def ask() -> bool:
        async with AsyncClient(url, token, ca_file=ca_file) as client:
            response = await client.infer(InferRequest("echo", {"x": x}))
            return np.array_equal(response.outputs["y"], x)

    return asyncio.run(ask())


def named(serve: Serve) -> str:
    """The URL by the name that is in the certificate."""
    url = str(serve.published["url"])
    assert url.startswith("https://127.0.0.1:")
    return url.replace("127.0.0.1", "localhost")


def test_a_caller_who_trusts_the_authority_is_answered_large_bodies_too(secure: Serve, ca_file: Path) -> None:
    for size in (3, 1_000_000):
        assert answered(named(secure), secure.token, ca_file, size=size)


def test_who_does_not_trust_it_sends_nothing_and_is_told_what_to_give(secure: Serve, ca_file: Path) -> None:
    with pytest.raises(Unavailable, match=r"certificate is not trusted \(.*certificate.*\): give .*--ca-file FILE"):
        answered(named(secure), secure.token, None)
    with pytest.raises(Unavailable, match="certificate is not trusted"):
        answered(named(secure).replace("localhost", "127.0.0.1"), secure.token, ca_file)  # another name
    with pytest.raises(Unavailable, match="does not answer"):
        answered(named(secure).replace("https", "http"), secure.token, None)


def test_grpc_has_the_same_certificate(secure: Serve, ca_file: Path) -> None:
    address = secure.grpc.replace("127.0.0.1", "localhost")
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(ca_file.read_bytes())) as channel:
        assert GRPCInferenceServiceStub(channel).ServerLive(ServerLiveRequest(), timeout=30).live
    assert answered(f"grpcs://{address}", secure.token, ca_file)


def test_the_ready_file_names_the_certificate_so_the_owner_is_answered_by_address(
    secure: Serve, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    assert secure.published["ca_file"] == str(pair.cert)
    assert main(["models", "--ready-file", str(secure.ready_file)]) == 0
    assert "echo" in capsys.readouterr().out


def test_the_command_line_takes_a_ca_file(secure: Serve, ca_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--url", named(secure), "--token-file", secure.published["token_file"]]
    assert main(["models", *where, "--ca-file", str(ca_file)]) == 0
    assert "echo" in capsys.readouterr().out
    assert main(["models", *where, "--ca-file", str(ca_file.parent / "missing.pem")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_the_owner_load_tests_it(secure: Serve) -> None:
    published = secure.published
    where = {"token_file": published["token_file"], "ca_file": published["ca_file"], "own": True}
    with workbench.connect(published["url"], **where) as wb:
        report = wb.bench("echo", users=2, duration="300ms", warm_up="100ms").result()
    assert len(report.requests) > 0
    assert report.requests["outcome"].eq("ok").all()


def test_http_1_is_negotiated_and_what_is_no_tls_is_disconnected(secure: Serve, ca_file: Path) -> None:
    host, _, port = named(secure).removeprefix("https://").rpartition(":")
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection((host, int(port)), 30) as raw, context.wrap_socket(raw, server_hostname=host) as tls:
        assert tls.selected_alpn_protocol() == "http/1.1"
        tls.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        heard = b""
        while more := tls.recv(65_536):
            heard += more
        assert heard.startswith(b"HTTP/1.1 200 OK\r\n")
    for said in (b"GET /v2/health/live HTTP/1.1\r\n\r\n", bytes(100)):
        with socket.create_connection((host, int(port)), 30) as raw:
            raw.sendall(said)
            heard = b""
            try:
                while more := raw.recv(65_536):
                    heard += more
            except ConnectionResetError:
                pass
            assert b"HTTP" not in heard
    assert answered(named(secure), secure.token, ca_file)


def test_a_certificate_that_is_replaced_is_served_without_a_restart(tmp_path: Path, authority: trustme.CA) -> None:
    pair = issued(authority, tmp_path / "files")
    after = trustme.CA()
    after.cert_pem.write_to_path(tmp_path / "after.pem")
    with serving(tmp_path, {"echo": models.identity(shape=("batch", "n"))}, *pair.flags) as serve:
        issued(after, tmp_path / "files")
        serve.until("a new TLS certificate is served")
        serve.until("a new TLS certificate is served")  # the gRPC port's
        assert answered(named(serve), serve.token, tmp_path / "after.pem")
        address = serve.grpc.replace("127.0.0.1", "localhost")
        assert answered(f"grpcs://{address}", serve.token, tmp_path / "after.pem")
        assert serve.stop() == 0


@pytest.mark.parametrize("missing", ["--tls-cert", "--tls-key"])
def test_a_certificate_without_its_key_ends_the_start_in_one_line(
    tmp_path: Path, pair: Pair, missing: str, capfd: pytest.CaptureFixture[str]
) -> None:
    at = pair.flags.index(missing)
    flags = pair.flags[:at] + pair.flags[at + 2 :]
    assert main(["serve", "--data-dir", str(tmp_path / "data"), *flags]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "tls_cert and tls_key must be given together" in line
    assert not (tmp_path / "data").exists()


def test_an_expired_certificate_ends_the_start_in_one_line(tmp_path: Path, authority: trustme.CA) -> None:
    pair = issued(authority, tmp_path, days=-1, from_days=-3)
    with Serve(tmp_path, *pair.flags) as serve:
        assert serve.ended() == 2
        (line,) = [line for line in serve.seen if "--tls-" in line]
        assert "it has expired" in line

"""The gRPC port of a real service: TLS, ports that are taken, and what stays when a worker is replaced."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import trustme
from tritonclient.grpc import InferenceServerClient
from tritonclient.grpc.service_pb2 import ServerLiveRequest
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub
from tritonclient.utils import InferenceServerException

from benchmarks.mutations import http2_call
from tests import models
from tests.helpers.service_process import Serve, worker_of
from tests.helpers.waiting import until
from tests.server.real_service import started
from workbench.client.shared_service import SharedService
from workbench.rendezvous.service_record import ServiceRecord


@dataclass
class Files:
    """What TLS is served and called with."""

    cert: Path
    key: Path
    client_ca: Path
    ours: bytes
    """The authority that signed `cert`."""
    client: trustme.LeafCert


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    folder = tmp_path_factory.mktemp("certificates")
    ours, theirs = trustme.CA(), trustme.CA()
    served = ours.issue_cert("localhost", "127.0.0.1")
    served.private_key_pem.write_to_path(folder / "key.pem")
    for blob in served.cert_chain_pems:
        blob.write_to_path(folder / "cert.pem", append=True)
    theirs.cert_pem.write_to_path(folder / "ca.pem")
    yield Files(
        folder / "cert.pem",
        folder / "key.pem",
        folder / "ca.pem",
        ours.cert_pem.bytes(),
        theirs.issue_cert("client@example.org"),
    )


def live(serve: Serve, credentials: grpc.ChannelCredentials | None) -> bool:
    """Raises grpc.RpcError."""
    channel = grpc.secure_channel(serve.grpc, credentials) if credentials else grpc.insecure_channel(serve.grpc)
    with channel:
        return bool(GRPCInferenceServiceStub(channel).ServerLive(ServerLiveRequest(), timeout=10).live)


def test_tls_with_and_without_a_certificate_of_the_client(tmp_path: Path, files: Files) -> None:
    arguments = ["--grpc-port", "0", "--grpc-tls-cert", str(files.cert), "--grpc-tls-key", str(files.key)]
    (tmp_path / "one").mkdir()
    with started(tmp_path / "one", *arguments) as serve:
        assert live(serve, grpc.ssl_channel_credentials(files.ours))
        with pytest.raises(grpc.RpcError) as failed:
            live(serve, None)
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
        assert serve.stop() == 0
    (tmp_path / "both").mkdir()
    with started(tmp_path / "both", *arguments, "--grpc-tls-client-ca", str(files.client_ca)) as serve:
        key, chain = files.client.private_key_pem.bytes(), b"".join(x.bytes() for x in files.client.cert_chain_pems)
        assert live(serve, grpc.ssl_channel_credentials(files.ours, key, chain))
        with pytest.raises(grpc.RpcError):
            live(serve, grpc.ssl_channel_credentials(files.ours))


@pytest.mark.parametrize(
    ("cert", "key", "ca", "said"),
    [
        ("cert.pem", "missing.pem", None, "No such file"),
        ("cert.pem", "empty.pem", None, "cannot be used"),
        ("ca.pem", "key.pem", None, "cannot be used"),
        ("cert.pem", "key.pem", "empty.pem", "--grpc-tls-client-ca"),
    ],
)
def test_files_that_are_no_use_end_the_start_and_are_named(
    tmp_path: Path, files: Files, cert: str, key: str, ca: str | None, said: str
) -> None:
    (files.cert.parent / "empty.pem").write_text("")
    at = files.cert.parent
    arguments = ["--grpc-tls-cert", str(at / cert), "--grpc-tls-key", str(at / key)]
    if ca is not None:
        arguments += ["--grpc-tls-client-ca", str(at / ca)]
    with Serve(tmp_path, *arguments) as serve:
        assert serve.ended() == 2
        (line,) = [line for line in serve.seen if "--grpc-tls-" in line]
        assert said in line
        assert "ERROR" in line


def test_a_port_that_is_taken_ends_the_start_where_it_was_asked_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Serve(tmp_path, "--grpc-port", str(port)) as serve:
            assert serve.ended() == 2
            (line,) = [line for line in serve.seen if f"cannot listen on 127.0.0.1, port {port}" in line]
            assert "--grpc-port" in line


def test_a_port_that_is_taken_is_said_before_the_models_are_loaded(tmp_path: Path) -> None:
    endless = models.save(models.endless(), tmp_path / "endless.onnx")
    quick = {"INFER_WORKBENCH_TRIAL": "false", "INFER_WORKBENCH_DRAIN_TIMEOUT_S": "1"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        arguments = ["--load", f"endless={endless}", "--grpc-port", str(taken.getsockname()[1])]
        with Serve(tmp_path, *arguments, environment=quick) as serve:
            serve.until("--grpc-port")
            assert serve.ended() == 2


def test_the_next_worker_serves_at_the_same_address(tmp_path: Path) -> None:
    with started(tmp_path, "--grpc-port", "0") as serve:
        before = serve.grpc
        with InferenceServerClient(before) as client:
            assert client.is_server_ready()
            worker_of(serve).send_signal(signal.SIGKILL)
            serve.until("the worker was killed by signal 9")
            serve.ready()
            assert serve.grpc == before
            assert client.get_server_metadata(headers={"authorization": f"Bearer {serve.token}"}).name
        assert serve.stop() == 0


def test_a_method_whose_name_is_no_text_harms_nobody_and_no_header_gets_into_the_log(tmp_path: Path) -> None:
    with started(tmp_path, "--grpc-port", "0") as serve:
        address, token = serve.grpc, serve.token
        garbled = token[:-1].encode() + b"\xff"
        with InferenceServerClient(address) as client:
            for name in (b"Model\x80eady", b"ModelReady"):
                with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=30) as raw:
                    call = http2_call(address, token, "ModelReady", b"").replace(token.encode(), garbled)
                    raw.sendall(call.replace(b"ModelReady", name))
                    assert raw.recv(9)
                assert client.is_server_ready()
        assert serve.stop() == 0
        assert token[:-1] not in "".join(serve.seen)


def test_the_shared_service_publishes_where_grpc_is_and_keeps_it_over_a_restart(workplace: SharedService) -> None:
    workplace.ensure()
    until(lambda: bool(record_of(workplace).grpc))
    before = record_of(workplace).grpc
    assert before is not None
    assert before.startswith("127.0.0.1:")
    with InferenceServerClient(before) as client:
        assert client.is_server_ready()
        workplace.restart()
        until(lambda: client_is_ready(client))
    assert record_of(workplace).grpc == before


def client_is_ready(client: InferenceServerClient) -> bool:
    try:
        return bool(client.is_server_ready())
    except InferenceServerException:  # between two workers
        return False


def record_of(shared: SharedService) -> ServiceRecord:
    record = shared.record()
    assert record is not None
    return record

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from workbench.config import ServerConfig
from workbench.errors import InvalidInput, Unavailable
from workbench.server.process import startup
from workbench.server.process.startup import bind, bind_grpc, elsewhere_url_of, grpc_address, prepare, url_of


def config(port: int | None) -> ServerConfig:
    return ServerConfig(grpc_port=port, data_dir=Path("data"))


def test_grpc_is_served_where_it_was_or_on_a_free_port_unless_one_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with bind("127.0.0.1", 0) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(startup, "GRPC_PORT", taken)
        with bind_grpc(config(None), "127.0.0.1:1") as free:
            assert free.getsockname()[1] not in (1, taken)
        with bind_grpc(config(0), f"127.0.0.1:{taken}") as free:
            assert free.getsockname()[1] != taken
        with pytest.raises(Unavailable, match=rf"port {taken}.*--grpc-port"):
            bind_grpc(config(taken))
    for wished, before in ((None, None), (0, f"127.0.0.1:{taken}"), (taken, None)):
        with bind_grpc(config(wished), before) as again:
            assert grpc_address("127.0.0.1", again) == f"127.0.0.1:{taken}"


def test_nobody_can_listen_beside_us_on_a_port_of_ours() -> None:
    """SO_REUSEPORT would let processes of the same user share it, and connections with it."""
    with bind("127.0.0.1", 0) as listener, socket.socket() as other:
        assert not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(listener.getsockname())


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """What "localhost" means: two addresses of loopback, in the place of its IPv6 one, which not every machine has."""
    resolve = socket.getaddrinfo
    addresses = ("127.0.0.1", "127.0.0.2")

    def both(host: str, *rest: Any, **named: Any) -> list[Any]:
        hosts = (*addresses, addresses[0], "192.0.2.1") if host == "localhost" else (host,)
        return [found for each in hosts for found in resolve(each, *rest, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    return addresses


@pytest.mark.parametrize("port", [0, None])
def test_nobody_else_can_listen_at_another_address_of_the_hosts_name(
    two_addresses: tuple[str, str], port: int | None
) -> None:
    if port is None:
        with bind("localhost", 0) as free:
            port = free.getsockname()[1]
    with bind("localhost", port) as listener:
        at = listener.getsockname()[1]
        for address in two_addresses:
            with socket.socket() as thief:
                thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with pytest.raises(OSError, match="in use"):
                    thief.bind((address, at))
        # A client that knows the name alone is refused at one address, and served at the other.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((two_addresses[1], at))
        with socket.create_connection(("localhost", at)):
            pass
        listener.stop_listening()
        with socket.socket() as thief, pytest.raises(OSError, match="in use"):
            thief.bind((two_addresses[1], at))
    with bind("localhost", at):
        pass


def test_where_another_process_has_the_port_at_one_of_them_the_service_does_not_start(
    two_addresses: tuple[str, str],
) -> None:
    with socket.create_server((two_addresses[1], 0)) as thief:
        port = thief.getsockname()[1]
        with pytest.raises(Unavailable, match=f"cannot listen on localhost, port {port}"):
            bind("localhost", port)
        with socket.create_server((two_addresses[0], port)):  # nothing is left of the attempt
            pass


def test_both_families_of_localhost_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [(socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0))]
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(family, socket.SOCK_STREAM, 6, "", end) for family, end in ends]
    )
    with bind("localhost", 0) as listener:
        assert listener.family == socket.AF_INET
        (other,) = listener.reserved
        assert other.family == socket.AF_INET6
        assert other.getsockname()[:2] in (("::1", listener.getsockname()[1]), ("::", 0))  # a machine without IPv6


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "models.example.org"])
def test_off_loopback_it_starts_with_tls_or_where_it_is_told_that_something_else_encrypts(
    tmp_path: Path, host: str
) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "file.pem"
    with pytest.raises(InvalidInput, match=r"--host .* --tls self-signed, or --tls-cert FILE .* --insecure"):
        prepare(ServerConfig(host=host, data_dir=data_dir))
    assert not data_dir.exists()
    for settings in ({"insecure": True}, {"tls": "self-signed"}, {"tls_cert": file, "tls_key": file}):
        prepare(ServerConfig(host=host, data_dir=data_dir, **settings))
    with pytest.raises(InvalidInput, match="--tls self-signed"):  # gRPC alone does not do
        prepare(ServerConfig(host=host, data_dir=data_dir, grpc_tls_cert=file, grpc_tls_key=file))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]"])
def test_on_loopback_it_starts_without_tls(tmp_path: Path, host: str) -> None:
    assert prepare(ServerConfig(host=host, data_dir=tmp_path / "data")).config.tls_cert is None


@pytest.mark.parametrize(
    ("host", "here", "elsewhere"),
    [
        ("0.0.0.0", "127.0.0.1", socket.gethostname().lower()),
        ("::", "[::1]", socket.gethostname().lower()),
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "127.0.0.1", ""),
    ],
)
def test_callers_elsewhere_are_given_a_name_that_they_can_call(
    tmp_path: Path, host: str, here: str, elsewhere: str
) -> None:
    config = ServerConfig(host=host, data_dir=tmp_path, tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem")
    assert url_of(config, 8080) == f"https://{here}:8080"
    assert elsewhere_url_of(config, 8080) == (f"https://{elsewhere}:8080" if elsewhere else "")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"repository_mode": "poll"}, "--repository-mode poll is about model repositories, and there is none"),
        ({"repository_mode": "poll", "model_repositories": (Path(),), "repository_in_place": True}, "give one of them"),
    ],
)
def test_a_watched_repository_must_be_there_and_is_not_served_in_place(
    tmp_path: Path, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidInput, match=why):
        prepare(ServerConfig(data_dir=tmp_path / "data", **settings))
    assert not (tmp_path / "data").exists()

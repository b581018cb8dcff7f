from __future__ import annotations

import socket
from pathlib import Path

import pytest

from workbench.config import ServerConfig
from workbench.errors import Unavailable
from workbench.server.process import startup
from workbench.server.process.startup import bind, bind_grpc, grpc_address


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

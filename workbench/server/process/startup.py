"""Prepares a service to run: checks settings, finds the token, binds the socket. Light, for the supervisor."""

from __future__ import annotations

import dataclasses
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workbench.config import ServerConfig
from workbench.errors import InvalidInput, StorageError, Unavailable
from workbench.server.process.bind_address import host_bytes, is_loopback, local_host
from workbench.server.process.token_files import load_or_create_token, private_folder, read_token

OK, FAILED, MISUSE, RECYCLE = 0, 1, 2, 3
"""Exit statuses of keeper and worker. RECYCLE: the worker's, when it must be started anew."""

BACKLOG = 2048

GRPC_PORT = 8081
"""Where gRPC is served if no port is given and this one is free."""


@dataclass(frozen=True, slots=True)
class Startup:
    """Settings with what was left open decided."""

    config: ServerConfig
    token: str | None
    token_file: Path | None


def prepare(config: ServerConfig) -> Startup:
    """Check `config`, make its data folder and token. Raises WorkbenchError. A second time it finds what it made."""
    if not config.auth and not is_loopback(config.host):
        raise InvalidInput(
            f"--no-auth serves whoever reaches {config.host}; without a token only loopback (127.0.0.1) is allowed"
        )
    if not config.auth and config.token_file is not None:
        raise InvalidInput("--no-auth and --token-file contradict each other; give one of them")
    if config.allow_shared_memory and not is_loopback(config.host):
        raise InvalidInput("--allow-shared-memory is for clients of this machine: only with a --host on loopback")
    for folder in config.model_repositories:
        if not folder.is_dir():
            raise InvalidInput(f"--model-repository {str(folder)!r} is not a directory")
    config = dataclasses.replace(config, data_dir=private_folder(config.data_dir))
    if not config.auth:
        return Startup(config, None, None)
    if config.token_file is not None:
        return Startup(config, read_token(config.token_file), config.token_file.absolute())
    return Startup(config, *load_or_create_token(config.data_dir))


def bind(host: str, port: int, option: str = "--http-port") -> socket.socket:
    """A listening socket. Unavailable, saying so, where the port is taken or the host is not this machine's."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = sorted(found, key=lambda each: each[0] != socket.AF_INET)[0]
        # Said to be TCP, because asyncio sets TCP_NODELAY only on what says so, and accepted sockets say the same.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Unavailable(
            f"cannot listen on {host}, port {port}: {reason}; give another {option} (0 picks a free one) or --host"
        ) from None


def bind_grpc(config: ServerConfig, before: str | None = None) -> socket.socket:
    """The listening socket of gRPC: where `grpc_port` says, or else where the service before was (`before`, HOST:PORT),
    or else on its usual port or a free one. Unavailable."""
    wished = config.grpc_port
    if wished is None:
        wished = GRPC_PORT
    elif wished == 0 and (port := (before or "").rpartition(":")[2]).isdigit():
        wished = int(port)
    if not config.grpc_port:
        with suppress(Unavailable):
            return bind(config.host, wished, "--grpc-port")
    return bind(config.host, config.grpc_port or 0, "--grpc-port")


def grpc_address(host: str, listener: socket.socket) -> str:
    """HOST:PORT, as gRPC clients of this machine take it."""
    return f"{host_bytes(local_host(host)).decode()}:{listener.getsockname()[1]}"


def forget_ready_file(config: ServerConfig) -> None:
    """Delete it. Once the socket is bound, so that it is nobody else's; before anything answers there, so that who
    waits for the file does not meet the one of the run before. StorageError where it is no file that may go."""
    if config.ready_file is not None:
        try:
            config.ready_file.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"--ready-file {str(config.ready_file)!r} cannot be written: {error.strerror}") from None


def url_of(host: str, port: int) -> str:
    """The URL at which this machine reaches a service bound to `host`."""
    return f"http://{host_bytes(local_host(host)).decode()}:{port}"

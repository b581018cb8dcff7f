"""Prepares a service to run: checks settings, finds the token, binds the socket. Light, for the supervisor."""

from __future__ import annotations

import dataclasses
import errno
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.config import ServerConfig
from workbench.errors import InvalidInput, StorageError, Unavailable
from workbench.rendezvous.token_file import read_token
from workbench.server.process.bind_address import host_bytes, is_loopback, local_host
from workbench.server.process.token_files import load_or_create_token, private_folder

OK, FAILED, MISUSE, RECYCLE = 0, 1, 2, 3
"""Exit statuses of keeper and worker. RECYCLE: the worker's, when it must be started anew."""

BACKLOG = 2048

TLS_FOLDER, CA_FILE, SERVER_FILE = "tls", "ca.pem", "server.pem"
"""In the data folder, what `--tls self-signed` makes: whom clients trust, and the certificate with its key."""

FREE_PORT_TRIES = 20

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
    if config.repository_mode != "none" and not config.model_repositories:
        raise InvalidInput(
            f"--repository-mode {config.repository_mode} is about model repositories, and there is none: give a folder "
            "laid out NAME/VERSION/model.onnx with --model-repository"
        )
    if config.repository_mode == "poll" and config.repository_in_place:
        raise InvalidInput(
            "--repository-mode poll is for folders that are written to, and --repository-in-place for those that are "
            "not: what is written over a file that serves changes answers; give one of them"
        )
    if not (is_loopback(config.host) or config.insecure or config.tls_cert or config.tls != "off"):
        raise InvalidInput(
            f"--host {config.host} lets other machines call, and without TLS anyone on the network in between can read "
            "tokens and rows: add --tls self-signed, or --tls-cert FILE and --tls-key FILE; --insecure "
            "where a proxy or a tunnel encrypts, and nothing else can reach the port"
        )
    own_files = config.tls == "self-signed"
    if own_files and config.tls_cert is not None:
        raise InvalidInput("--tls self-signed and --tls-cert contradict each other; give one of them")
    config = dataclasses.replace(config, data_dir=private_folder(config.data_dir))
    if own_files:  # the worker makes it: the keeper needs no OpenSSL
        file = config.data_dir / TLS_FOLDER / SERVER_FILE
        config = dataclasses.replace(config, tls_cert=file, tls_key=file)
    if not config.auth:
        return Startup(config, None, None)
    if config.token_file is not None:
        return Startup(config, read_token(config.token_file), config.token_file.absolute())
    return Startup(config, *load_or_create_token(config.data_dir))


class Listener(socket.socket):
    """A listening socket, and its port at the other addresses that its host's name means. Those refuse connections, so
    that clients of the name go on to the next address, and nobody else can listen where they call."""

    reserved: tuple[socket.socket, ...] = ()

    def close(self) -> None:
        super().close()
        for each in self.reserved:
            each.close()

    def __exit__(self, *exc: object) -> None:
        self.close()  # after `stop_listening`, too

    def stop_listening(self) -> None:
        """Leave the socket to the process that shares it. The other addresses stay reserved until `close`."""
        super().close()


def bind(host: str, port: int, option: str = "--http-port") -> Listener:
    """A listening socket. Unavailable, saying so, where the port is taken or the host is not this machine's."""
    tries = 1 if port else FREE_PORT_TRIES
    while True:
        tries -= 1
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            first, *others = sorted(dict.fromkeys(found), key=lambda each: each[0] != socket.AF_INET)
            # Said to be TCP, because asyncio sets TCP_NODELAY only on what says so, and accepted sockets say the same.
            listener = Listener(first[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(first[4])
                listener.listen(BACKLOG)
                free = listener.getsockname()[1]
                for family, _, _, _, address in others:
                    _reserve(listener, family, (address[0], free, *address[2:]))
            except BaseException:
                listener.close()
                raise
            return listener
        except OSError as error:
            if tries and error.errno == errno.EADDRINUSE:
                continue  # the port that was free at one address is taken at another
            reason = error.strerror or type(error).__name__
            raise Unavailable(
                f"cannot listen on {host}, port {port}: {reason}; give another {option} (0 picks a free one) or --host"
            ) from None


def _reserve(listener: Listener, family: int, address: tuple[Any, ...]) -> None:
    """Take the address, without SO_REUSEADDR, so that nobody can share it. OSError where another process has it."""
    try:
        other = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return  # a system without this family, where nobody else can listen either
    listener.reserved += (other,)
    try:
        if family == socket.AF_INET6:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:  # it is not this machine's
            raise


def bind_grpc(config: ServerConfig, before: str | None = None) -> Listener:
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
    waits for the file does not meet the one of the run before. StorageError where it is no file that may go, or its
    folder is not there: that is said here, before models are loaded, and not when the file is to be written."""
    if (path := config.ready_file) is not None:
        why = "" if path.parent.is_dir() else f"there is no folder {str(path.parent)!r}"
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            why = why or str(error.strerror)
        if why:
            raise StorageError(f"--ready-file {str(path)!r} cannot be written: {why}")


def url_of(config: ServerConfig, port: int) -> str:
    """The URL at which this machine reaches the service."""
    scheme = "http" if config.tls_cert is None else "https"
    return f"{scheme}://{host_bytes(local_host(config.host)).decode()}:{port}"


def elsewhere_url_of(config: ServerConfig, port: int) -> str:
    """The URL for callers on other machines: of this machine's name where the service listens at all addresses,
    and empty where it listens on loopback."""
    if is_loopback(config.host):
        return ""
    everywhere = config.host.strip("[]") in ("0.0.0.0", "::", "")
    return url_of(dataclasses.replace(config, host=socket.gethostname()) if everywhere else config, port)


def trusted_file(config: ServerConfig) -> str:
    """The PEM file by which clients on this machine know the service's certificate: its own authority, or itself.
    Empty without TLS."""
    if config.tls_cert is None:
        return ""
    file = config.tls_cert if config.tls == "off" else config.data_dir / TLS_FOLDER / CA_FILE
    return str(file.absolute())

"""The port for shares on a network: opened and closed while the service runs, and opened again by the next worker."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
from collections.abc import Awaitable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from workbench.config import ServerConfig
from workbench.errors import Conflict, InvalidInput, StorageError, Unsupported, WorkbenchError
from workbench.rendezvous.atomic_files import write_private
from workbench.server.http.app import App
from workbench.server.http.h1_connection import ConnectionLimits
from workbench.server.http.h1_server import H1Server
from workbench.server.network_port import GrpcForShares, OpenGrpc, OpenPort, PortTerms
from workbench.server.process.bind_address import is_loopback
from workbench.server.process.startup import CA_FILE, SERVER_FILE, TLS_FOLDER, bind, elsewhere_url_of, url_of
from workbench.server.self_signed import ensure_self_signed, fingerprint, keep_self_signed
from workbench.server.service import Service
from workbench.server.tls_context import CertificateFiles, ServerTls

LINGER_S: Final = 5.0

WITHOUT_TLS: Final = "tokens and rows travel unencrypted: anyone in between can read them, and can call with the token"

T = TypeVar("T")

log = logging.getLogger("workbench.server")


class SharePort:
    """Implements NetworkPort. Its callers are from other machines whatever their address: the owner's token and the
    control plane are refused."""

    def __init__(self, service: Service, app: App, open_grpc: OpenGrpc) -> None:
        self.opened: OpenPort | None = None
        self._service = service
        self._open_grpc = open_grpc
        self._gate = app.gate
        self._app = app.for_remote(False, any_host=True)
        self._file = port_file(service.config)
        self._elsewhere_url = service.elsewhere_url
        self._terms: PortTerms | None = None
        self._server: H1Server | None = None
        self._grpc: GrpcForShares | None = None
        self._serving: asyncio.Task[None] | None = None
        self._following: list[asyncio.Task[None]] = []
        self._one_at_a_time = asyncio.Lock()

    async def open(self, terms: PortTerms) -> OpenPort:
        async def open() -> OpenPort:
            return await self._open(terms)

        return await self._alone(open())

    async def close(self) -> None:
        async def close() -> None:
            try:
                await asyncio.to_thread(self._file.unlink, missing_ok=True)
            except OSError as error:
                raise StorageError(f"the port is open again after a restart, since {error.strerror}") from None
            finally:
                await self._stop()

        await self._alone(close())

    async def restore(self) -> None:
        """Open the port that was open when the worker before this one ended. What stands against it is logged."""
        try:
            terms = msgspec.json.decode(await asyncio.to_thread(self._file.read_bytes), type=PortTerms)
            await self.open(terms)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            log.error("the port for shares is not opened again: %s cannot be read: %s", self._file.name, error)
        except WorkbenchError as error:
            log.error("the port for shares is not opened again: %s", error.message)

    async def begin_drain(self) -> None:
        """Take no new connection, and make each answer the last of its connection."""
        if self._server is not None:
            self._server.leave()
            self._server.begin_drain()
        if self._grpc is not None:
            await self._grpc.leave(last=False)

    async def finish(self, linger_s: float) -> None:
        """End its connections, as H1Server.finish does; it is open again in the next worker."""
        if self._server is not None and self._grpc is not None:
            await asyncio.gather(self._server.finish(linger_s), self._grpc.stop(linger_s))

    async def stop(self) -> None:
        """As `finish`, for a worker that ends in order."""
        await self._alone(self._stop())

    # Below: how

    async def _open(self, terms: PortTerms) -> OpenPort:
        config = self._service.config
        if not self._gate.asks_for_token:
            raise Unsupported("this service asks for no token (--no-auth), so it is not opened to a network")
        if not is_loopback(config.host):
            raise Conflict(f"the service listens on {config.host} already: callers elsewhere use {self._elsewhere_url}")
        if self.opened is not None:
            if self._terms is not None and _filled(terms, self._terms.port, self._terms.grpc_port) == self._terms:
                return self.opened
            raise Conflict(
                f"the port for shares is open already, at {self.opened.url}, and not as it is asked for: close it "
                "first (%infer port --close)"
            )
        seen = _settings(config, terms)
        tls, ca_file = await self._tls(seen)
        listeners: list[socket.socket] = []
        try:
            for wished, flag in ((terms.port, "--port"), (terms.grpc_port, "--grpc-port")):
                listeners.append(await asyncio.to_thread(bind, terms.host, wished, flag))
            port, grpc_port = (each.getsockname()[1] for each in listeners)
            cert, key = seen.tls_cert, seen.tls_key
            grpc = await self._open_grpc(None if cert is None or key is None else (cert, key))
            kept = _filled(terms, port, grpc_port)
            text = msgspec.json.encode(kept).decode()
            self._terms = kept
            await asyncio.to_thread(write_private, self._file, text, durable=True)
        except BaseException:
            for each in listeners:
                each.close()
            raise
        listener, grpc_listener = listeners
        limits = config.limits
        self._server = server = H1Server(
            self._app,
            self._service.connections,
            self._service.unread,
            ConnectionLimits(limits.head_timeout_s, limits.body_timeout_s, limits.idle_timeout_s),
            None if tls is None else tls.context,
            self._app,
            lambda called, caller: True,
        )
        self._gate.on_replaced.append(server.token_replaced)
        self._gate.on_revoked.append(server.share_revoked)
        self._serving = asyncio.create_task(server.serve(listener, LINGER_S))
        self._grpc = grpc
        await grpc.start(grpc_listener)
        await asyncio.sleep(0)  # it listens from here on
        if tls is not None:
            self._following = [asyncio.create_task(tls.follow())]
            if seen.tls != "off":
                self._following.append(asyncio.create_task(keep_self_signed(_folder(config), terms.host)))
        url = elsewhere_url_of(seen, port) or url_of(seen, port)
        unsafe = tls is None and not is_loopback(terms.host)
        sha256 = await asyncio.to_thread(fingerprint, ca_file) if ca_file is not None else ""
        grpc_address = f"{url.rpartition(':')[0].partition('://')[2]}:{grpc_port}"
        warning = WITHOUT_TLS if unsafe else ""
        self.opened = OpenPort(url, terms.host, port, grpc_address, str(ca_file or ""), sha256, warning)
        self._service.elsewhere_url = url
        log.info("listening for shares", extra={"fields": {"url": url, "grpc": grpc_address}})
        if unsafe:
            log.warning("%s: %s", url, WITHOUT_TLS)
        return self.opened

    async def _tls(self, seen: ServerConfig) -> tuple[ServerTls | None, Path | None]:
        """What it is served with, and whom callers trust."""
        cert, key, ca_file = seen.tls_cert, seen.tls_key, seen.tls_cert
        if cert is None or key is None:
            return None, None
        if seen.tls != "off":
            await asyncio.to_thread(ensure_self_signed, _folder(seen), seen.host)
            ca_file = _folder(seen) / CA_FILE
        return await asyncio.to_thread(ServerTls, CertificateFiles(cert, key), ["http/1.1"]), ca_file

    async def _stop(self) -> None:
        server, serving, grpc = self._server, self._serving, self._grpc
        self._server = self._serving = self._grpc = self.opened = None
        self._service.elsewhere_url = self._elsewhere_url
        following, self._following = self._following, []
        for task in following:
            task.cancel()
        if server is not None and serving is not None:
            self._gate.on_replaced.remove(server.token_replaced)
            self._gate.on_revoked.remove(server.share_revoked)
            server.leave()
            server.stop(last=False)
            await serving
        if grpc is not None:
            await grpc.leave(last=False)
            await grpc.stop(LINGER_S)

    async def _alone(self, work: Awaitable[T]) -> T:
        """Not to be cancelled in the middle by a caller who leaves, nor beside another change."""

        async def in_turn() -> T:
            async with self._one_at_a_time:
                return await work

        return await asyncio.shield(asyncio.ensure_future(in_turn()))


def _filled(terms: PortTerms, port: int, grpc_port: int) -> PortTerms:
    """With the ports that were found free where any would do."""
    return msgspec.structs.replace(terms, port=terms.port or port, grpc_port=terms.grpc_port or grpc_port)


def port_file(config: ServerConfig) -> Path:
    """Where it is kept which port to open again."""
    return config.data_dir / (f"share-port-{config.state_key}.json" if config.state_key else "share-port.json")


def _folder(config: ServerConfig) -> Path:
    return config.data_dir / TLS_FOLDER


def _settings(config: ServerConfig, terms: PortTerms) -> ServerConfig:
    """The service's settings as they would be if it listened there. Raises InvalidInput."""
    own = terms.tls == "self-signed"
    given = bool(terms.tls_cert or terms.tls_key)
    if not terms.host or len(terms.host) > 253:
        raise InvalidInput("the port for shares needs a host to listen on, such as 0.0.0.0 for all networks")
    if own and given:
        raise InvalidInput("--tls self-signed and --tls-cert contradict each other; give one of them")
    if given and not (terms.tls_cert and terms.tls_key):
        raise InvalidInput("--tls-cert and --tls-key must be given together: a certificate's file, and that of its key")
    if not (own or given or terms.insecure or is_loopback(terms.host)):
        raise InvalidInput(
            f"--host {terms.host} lets other machines call, and without TLS anyone on the network in between can read "
            "tokens and rows: add --tls self-signed, or --tls-cert FILE and --tls-key FILE; --insecure "
            "where something else encrypts, and nothing else can reach the port"
        )
    server = _folder(config) / SERVER_FILE
    cert = Path(terms.tls_cert).absolute() if given else server if own else None
    key = Path(terms.tls_key).absolute() if given else cert
    return dataclasses.replace(
        config, host=terms.host, http_port=terms.port, tls=terms.tls, tls_cert=cert, tls_key=key, insecure=True
    )

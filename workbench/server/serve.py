"""The service as a process: bind, load, say that it is ready, serve until a signal, drain, go."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import uvicorn

from workbench.config import ServerConfig
from workbench.engine import Engine
from workbench.errors import InvalidInput, Unavailable, WorkbenchError
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore
from workbench.server.app import create_app
from workbench.server.auth import host_bytes, is_loopback
from workbench.server.connection import HttpConnection
from workbench.server.files import own_token, private_folder, read_token, write_ready_file
from workbench.server.service import VERSION, Service
from workbench.telemetry.logs import Logs
from workbench.telemetry.metrics import Metrics

OK, FAILED, MISUSE = 0, 1, 2

BACKLOG = 2048

KEEP_ALIVE_S = 75
"""Longer than clients keep an idle connection, so that it is they who close it and no request meets a closed one."""

LINGER_S = 5
"""After the engine has drained, what the last answers may take to be read."""

log = logging.getLogger("workbench.serve")


def serve(config: ServerConfig, notes: Sequence[str] = ()) -> int:
    """Run the service in this process until SIGTERM or SIGINT; the exit status.

    0 after a drain, 2 when a `load` failed, with the reason in the log and so on stderr. `notes` are logged at the
    start. Raises WorkbenchError for what stands against starting at all.
    """
    config, token, token_file = _prepared(config)
    listener = bind(config.host, config.http_port)
    logs = Logs(config.data_dir, config.log_format, [token] if token else [])
    try:
        for note in notes:
            log.info(note)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(config, token, token_file, listener, logs))
    finally:
        listener.close()
        logs.close()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Unavailable, saying so, where the port is taken or the host is not this machine's."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = sorted(found, key=lambda each: each[0] != socket.AF_INET)[0]
        # Said to be TCP, because asyncio sets TCP_NODELAY only on what says so, and accepted sockets say the same.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if sys.platform != "win32":  # where it would let two services share a port
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
            f"cannot listen on {host}, port {port}: {reason}; give another --http-port (0 picks a free one) or --host"
        ) from None


def url_of(host: str, port: int) -> str:
    """How this machine reaches a service bound to `host`; one bound to every interface is called on loopback."""
    named = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host.strip("[]"), host)
    return f"http://{host_bytes(named).decode()}:{port}"


def _prepared(config: ServerConfig) -> tuple[ServerConfig, str | None, Path | None]:
    """`config` with what was left open decided, the token, and the file that it lies in."""
    if not config.auth and not is_loopback(config.host):
        raise InvalidInput(
            f"--no-auth serves whoever reaches {config.host}; without a token only loopback (127.0.0.1) is allowed"
        )
    if not config.auth and config.token_file is not None:
        raise InvalidInput("--no-auth and --token-file contradict each other; give one of them")
    for folder in config.model_repositories:
        if not folder.is_dir():
            raise InvalidInput(f"--model-repository {str(folder)!r} is no folder")
    # Before anything is listening: whoever waits for the file must not meet the one of the run before.
    if config.ready_file is not None:
        config.ready_file.unlink(missing_ok=True)
    config = dataclasses.replace(config, data_dir=private_folder(config.data_dir))
    if not config.auth:
        return config, None, None
    if config.token_file is not None:
        return config, read_token(config.token_file), config.token_file.absolute()
    return config, *own_token(config.data_dir)


async def _serve(
    config: ServerConfig, token: str | None, token_file: Path | None, listener: socket.socket, logs: Logs
) -> int:
    metrics = Metrics()
    store = ModelStore(config.data_dir / "models")
    repositories = [LocalRepository(folder) for folder in config.model_repositories]
    engine = Engine(store, repositories=repositories, observer=metrics)
    metrics.watch(engine.statuses)
    url = url_of(config.host, listener.getsockname()[1])
    service = Service(engine, store, metrics, config, logs, url)
    server = _Server(
        uvicorn.Config(
            create_app(service, token),
            interface="asgi3",
            http=HttpConnection,
            proxy_headers=False,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=LINGER_S,
        )
    )
    stop = asyncio.Event()
    with _signals(stop.set):
        await engine.start()
        http = asyncio.create_task(server.serve(sockets=[listener]))
        log.info("listening", extra={"fields": {"url": url, "pid": service.pid, "version": VERSION}})
        if token is not None and not is_loopback(config.host):
            log.warning("the token travels unencrypted: put a proxy with TLS in front of a service that others reach")
        status = await _until_stopped(service, token_file, stop, http)
        service.draining.set()
        log.info("draining")
        await engine.close(config.drain_timeout_s)
        server.should_exit = True
        await http
        if config.ready_file is not None:
            config.ready_file.unlink(missing_ok=True)
        log.info("stopped")
        return status


async def _until_stopped(
    service: Service, token_file: Path | None, stop: asyncio.Event, http: asyncio.Task[None]
) -> int:
    stopped = asyncio.create_task(stop.wait())
    loading = asyncio.create_task(load_all(service))
    try:
        await asyncio.wait({loading, stopped, http}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
            service.starting = False
            _say_ready(service, token_file)
            await asyncio.wait({stopped, http}, return_when=asyncio.FIRST_COMPLETED)
        return OK if stopped.done() else FAILED
    except WorkbenchError as error:
        log.error(error.message)
        return MISUSE
    finally:
        for task in (stopped, loading):
            task.cancel()
        await asyncio.gather(stopped, loading, return_exceptions=True)


async def load_all(service: Service) -> None:
    """What the configuration asks for, one after another, so that no model is measured while another loads.

    Raises WorkbenchError for a `load` that fails. A model of a repository that fails is logged and stays Failed, and
    the others serve.
    """
    engine = service.engine
    for name, path in service.config.load:
        try:
            await engine.load(name, path)
        except WorkbenchError as error:
            raise type(error)(f"--load {name} failed: {error.message}") from error
    asked_for = {name for name, _ in service.config.load}
    available = await asyncio.to_thread(engine.available)
    for name in dict.fromkeys(name for name, _ in available if name not in asked_for):
        try:
            await engine.load(name)
        except WorkbenchError as error:
            log.error("model %s of the repository was not loaded: %s", name, error.message)


def _say_ready(service: Service, token_file: Path | None) -> None:
    if (path := service.config.ready_file) is not None:
        content = {
            "url": service.url,
            "grpc": None,
            "pid": service.pid,
            "version": VERSION,
            "token_file": str(token_file) if token_file else None,
        }
        write_ready_file(path, content)
    fields = {"url": service.url} | ({"token_file": str(token_file)} if token_file else {})
    log.info("ready", extra={"fields": fields})


class _Server(uvicorn.Server):
    """Without uvicorn's own signal handlers: they would close the door before the engine has drained, and end the
    process by the signal instead of with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first SIGTERM or SIGINT stops the service, a second one ends the process."""
    loop = asyncio.get_running_loop()
    asked = False

    def handle(number: int) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True
        stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    if sys.platform == "win32":
        before = {
            number: signal.signal(number, lambda number, _: loop.call_soon_threadsafe(handle, number))
            for number in numbers
        }
        yield
        for number, handler in before.items():
            signal.signal(number, handler)
    else:
        for number in numbers:
            loop.add_signal_handler(number, handle, number)
        yield
        for number in numbers:
            loop.remove_signal_handler(number)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one (not on Windows), else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory

"""The service as a process: load, say that it is ready, serve until it is told to stop, drain, go.

It runs as the worker of a supervisor (`process/supervisor.py`), which owns the listening sockets, or alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import faulthandler
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from workbench.config import ServerConfig
from workbench.core.run_marks import ModelKey, RunMarks
from workbench.engine import Engine
from workbench.errors import StorageError, WorkbenchError
from workbench.rendezvous.atomic_files import last_lines
from workbench.rendezvous.compatibility import API
from workbench.repository.desired_state import HARMFUL
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore
from workbench.repository.tree_listing import TreeReader
from workbench.sandbox.confinement import lessen_worker
from workbench.server.folder_events import FolderEvents
from workbench.server.folder_follower import FolderFollower
from workbench.server.grpc.port import GrpcPort, grpc_for_shares
from workbench.server.http.app import App, create_app
from workbench.server.http.h1_connection import ConnectionLimits
from workbench.server.http.h1_server import H1Server
from workbench.server.http.share_port import SharePort
from workbench.server.memory_release import MemoryRelease, tune_heap
from workbench.server.persistence import ModelPersistence
from workbench.server.process.bind_address import is_loopback, remote_test
from workbench.server.process.descriptors import most_connections, raise_descriptor_limit
from workbench.server.process.startup import (
    FAILED,
    MISUSE,
    OK,
    RECYCLE,
    TLS_FOLDER,
    bind,
    bind_grpc,
    elsewhere_url_of,
    forget_ready_file,
    prepare,
    trusted_file,
    url_of,
)
from workbench.server.process.token_files import has_content, write_ready_file
from workbench.server.process.worker_channel import RESTART, STOP, SupervisorChannel, WorkerReport
from workbench.server.python_functions import why_no_functions
from workbench.server.redis_answers import redis_answers
from workbench.server.repository_watch import RepositoryWatch
from workbench.server.self_signed import ensure_self_signed, keep_self_signed
from workbench.server.service import VERSION, Service, not_served
from workbench.server.tls_context import CertificateFiles, ServerTls
from workbench.server.token_rotation import TokenRotation
from workbench.telemetry.logs import Logs
from workbench.telemetry.metrics import Metrics
from workbench.telemetry.request_log import RequestLog

EARLIER_LINES = 200
"""Of the log, what a worker tells of those before it."""

LINGER_S = 5
"""After the engine has drained, what the last answers may take to be read."""

RECYCLE_S = 5.0
"""What requests to other models may take to end before a process with a stuck run goes; it goes as soon as they have.
Well within what new connections wait in the keeper's socket (keeper.HOLD_S)."""

INTERRUPT_S = 2.0
"""What a run that was told to end may take to do so, before the process is started anew for it."""

PULSE_S = 0.25
"""How often the event loop shows that it turns."""

log = logging.getLogger("workbench.serve")


def serve(config: ServerConfig, link: SupervisorChannel | None = None) -> int:
    """Run the service in this process until it is told to stop; the exit status.

    0 after a drain, 2 when a model failed and `exit_on_error` says so, with the reason in the log and so on stderr, 3
    when a run never ended.
    Raises WorkbenchError for what stands against starting at all.
    """
    tune_heap()
    prepared = prepare(config)
    config, token = prepared.config, prepared.token
    listener = bind(config.host, config.http_port) if link is None else link.listener
    grpc_listener = bind_grpc(config) if link is None or link.grpc_listener is None else link.grpc_listener
    if link is None:
        forget_ready_file(config)
    secrets = [token] if token else []
    if link is None:
        logs = Logs(config.data_dir, config.log_format, secrets)
    else:
        earlier = last_lines(Path(link.place.log_file), EARLIER_LINES)
        logs = Logs(None, config.log_format, secrets, earlier=earlier, mark=link.place.log_mark)
        _dump_stacks()
    config = _fitting(config)
    lessen_worker()
    store = ModelStore(config.data_dir / "models", config.max_store_bytes)
    persistence = ModelPersistence(config, store)
    try:
        persistence.open(*((link.place.quarantine, link.place.suspended) if link is not None else ()))
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            listeners = listener, grpc_listener
            return runner.run(_serve(config, token, prepared.token_file, listeners, logs, persistence, store, link))
    finally:
        persistence.close()
        listener.close()
        grpc_listener.close()
        logs.close()


def _fitting(config: ServerConfig) -> ServerConfig:
    """Raise the limit of open files, and have no more connections than leave some of them to all else."""
    limits = config.limits
    descriptors = raise_descriptor_limit(limits.max_connections)
    most = most_connections(limits.max_connections, descriptors)
    if most < limits.max_connections:
        log.warning(
            "%d connections at most, and not max_connections (%d): the process may open %d files (ulimit -n)",
            most,
            limits.max_connections,
            descriptors,
        )
    of_address = min(limits.max_connections_per_address, max(most // 2, 1))
    limits = dataclasses.replace(limits, max_connections=most, max_connections_per_address=of_address)
    return dataclasses.replace(config, limits=limits)


async def _serve(
    config: ServerConfig,
    token: str | None,
    token_file: Path | None,
    listeners: tuple[socket.socket, socket.socket],
    logs: Logs,
    persistence: ModelPersistence,
    store: ModelStore,
    link: SupervisorChannel | None,
) -> int:
    listener, grpc_listener = listeners
    tls, tls_folder = None, config.data_dir / TLS_FOLDER
    if config.tls == "self-signed":
        await asyncio.to_thread(ensure_self_signed, tls_folder, config.host)
    if config.tls_cert is not None and config.tls_key is not None:
        tls = ServerTls(CertificateFiles(config.tls_cert, config.tls_key), ["http/1.1"])
    metrics = Metrics(requests=RequestLog(config.log_requests, config.slow_request_s))
    repositories = [
        LocalRepository(folder, in_place=config.repository_in_place) for folder in config.model_repositories
    ]
    shared_answers = redis_answers(config)
    engine = Engine(
        store,
        repositories=repositories,
        observer=metrics,
        journal=persistence.state,
        trial=persistence.trial,
        limits=config.limits,
        why_no_code=why_no_functions(config),
        marks=_marks(link),
        shared_answers=shared_answers,
    )
    metrics.watch(engine.statuses, engine.loop_time, lambda: store.space.use, engine.routes_counted)
    url = url_of(config, listener.getsockname()[1])
    service = Service(engine, store, metrics, config, persistence, logs, url)
    service.elsewhere_url = elsewhere_url_of(config, listener.getsockname()[1])
    if link is not None:
        service.pid = link.place.keeper_pid
    app = create_app(service, token)
    service.rotation = rotation = TokenRotation(app.gate, token_file, logs.add_secret)
    if link is not None:
        rotation.on_rotated = link.report
    limits = config.limits
    server = H1Server(
        app,
        service.connections,
        service.unread,
        ConnectionLimits(limits.head_timeout_s, limits.body_timeout_s, limits.idle_timeout_s),
        None if tls is None else tls.context,
        app.for_remote(config.owner_remote),
        remote_test(config),
    )
    app.gate.on_replaced.append(server.token_replaced)
    app.gate.on_revoked.append(server.share_revoked)
    service.share_port = share_port = SharePort(service, app, grpc_for_shares(app.inference, app.gate))
    asked = _StopRequest()
    with _signals(asked.stop.set):
        await engine.start()
        metrics.start()
        pulse = asyncio.create_task(_pulse(service, server, asked, link))
        release = asyncio.create_task(_memory_release(service).run())
        following = [asyncio.create_task(tls.follow())] if tls is not None else []
        if config.tls == "self-signed":
            following.append(asyncio.create_task(keep_self_signed(tls_folder, config.host)))
        watch, events = None, None
        if config.repository_mode == "poll":
            watch, events = await _watched(service, repositories)
        await share_port.restore()
        loaded = asyncio.Event()
        hold_s = link.place.hold_s if link is not None else 0.0
        http = asyncio.create_task(_listen(server, listener, loaded, hold_s))
        port = GrpcPort(app.inference, app.gate, loaded, hold_s, grpc_listener)
        log.info("listening", extra={"fields": {"url": url, "pid": service.pid, "version": VERSION}})
        if token is not None and tls is None and not is_loopback(config.host):
            log.warning(
                "the token travels unencrypted: serve with --tls self-signed or --tls-cert, or behind a proxy with TLS"
            )
        if watch is not None:
            following.append(asyncio.create_task(watch.run(loaded)))
        following.append(asyncio.create_task(_tidy_routes(app, loaded)))
        status = await _until_stopped(service, token_file, asked, http, port, loaded, link, watch)
        if events is not None:
            events.close()
        if asked.next_worker:
            server.leave()
        server.begin_drain()
        await asyncio.gather(share_port.begin_drain(), port.leave(last=link is None or link.grpc_listener is None))
        service.draining.set()
        loaded.set()
        await service.rollouts.close()
        app.share_routing.close()
        if status == RECYCLE:
            await asyncio.gather(server.finish(RECYCLE_S), share_port.finish(RECYCLE_S), port.close(RECYCLE_S))
            await app.shares.keep_use()
            log.info("stopped, to be started anew")
            persistence.close()
            logs.close()
            os._exit(RECYCLE)  # a thread inside a run that never ends would keep any gentler end from ending
        log.info("draining")
        persistence.stop()
        await engine.close(config.drain_timeout_s)
        if shared_answers is not None:
            await shared_answers.close()
        server.stop(last=link is None or asked.end)
        await asyncio.gather(http, share_port.stop(), port.close(LINGER_S))
        pulse.cancel()
        release.cancel()
        for task in following:
            task.cancel()
        metrics.stop()
        await service.audit.flush()
        await app.shares.keep_use()
        if not asked.next_worker:
            try:
                forget_ready_file(config)
            except StorageError as error:
                log.error(error.message)
        log.info("stopped")
        return status


def _marks(link: SupervisorChannel | None) -> RunMarks:
    if link is None:
        return RunMarks()
    apart = {ModelKey(*model): left_s for *model, left_s in link.place.apart}
    return RunMarks(link.place.marks, apart)


class _StopRequest:
    """What the service was told to do. Belongs to the event loop."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.stuck = asyncio.Event()
        """A run takes longer than it may, and its callers have been told."""
        self.next_worker = False
        """Another worker follows, and takes the connections that come from now on."""
        self.end = False
        """The keeper said that it ends too. Where this process alone was sent a signal, another worker follows."""


async def _until_stopped(
    service: Service,
    token_file: Path | None,
    asked: _StopRequest,
    http: asyncio.Task[None],
    port: GrpcPort,
    loaded: asyncio.Event,
    link: SupervisorChannel | None,
    watch: RepositoryWatch | None,
) -> int:
    stopped = asyncio.create_task(asked.stop.wait())
    stuck = asyncio.create_task(asked.stuck.wait())
    loading = asyncio.create_task(load_all(service, watch))
    opening = asyncio.create_task(port.opened())
    try:
        ends = {loading, stopped, stuck, http}
        await asyncio.wait({opening, *ends}, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            opening.result()  # what stands against gRPC is said at once, not when all models have been loaded
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            failed = loading.result()
            if failed and service.config.exit_on_error and (link is None or link.place.may_give_up):
                log.error(
                    "the service ends, since %s failed; with --exit-on-error=false it serves the others",
                    ", ".join(failed),
                )
                return MISUSE
            if not port.optional:
                await opening
            await service.rollouts.restore()
            loaded.set()
            service.starting = False
            if link is not None:
                link.report()
            await opening
            _say_ready(service, token_file)
            if link is not None:
                link.report()
            await asyncio.wait({stopped, stuck, http}, return_when=asyncio.FIRST_COMPLETED)
        if asked.stuck.is_set():
            asked.next_worker = True
            return RECYCLE
        return OK if stopped.done() else FAILED
    except WorkbenchError as error:
        log.error(error.message)
        return MISUSE
    finally:
        tasks = (stopped, stuck, loading, opening)
        for task in tasks:
            task.cancel()
        if not asked.stuck.is_set():
            await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(server: H1Server, listener: socket.socket, loaded: asyncio.Event, hold_s: float) -> None:
    """Serve; but leave connections waiting for `hold_s` at most while models load."""
    if hold_s:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(hold_s):
                await loaded.wait()
    await server.serve(listener, LINGER_S)


async def _tidy_routes(app: App, loaded: asyncio.Event) -> None:
    """Forget how calls of shares were routed that ended while no worker ran."""
    await loaded.wait()
    await app.share_routing.tidy()


async def _pulse(service: Service, server: H1Server, asked: _StopRequest, link: SupervisorChannel | None) -> None:
    """Show the keeper that the loop turns, and see to runs that never end."""
    loop = asyncio.get_running_loop()
    engine, limit_s = service.engine, service.config.run_limit_s
    turned_at, run_s = time.monotonic(), 0.0

    def report() -> WorkerReport:
        return WorkerReport(
            ready=service.serving and server.started,
            accepting=server.started and not server.left,
            progress=service.persistence.progress,
            loop_s=time.monotonic() - turned_at,
            run_s=run_s,
            unused_s=time.monotonic() - service.used_at,
            version=VERSION,
            api=API,
            rotations=service.rotation.count if service.rotation is not None else 0,
            stuck=[list(each.model) for each in engine.given_up],
            stuck_callers=[each.caller for each in engine.given_up],
        )

    def told(word: bytes) -> None:
        asked.next_worker, asked.end = word == RESTART, word == STOP
        asked.stop.set()

    def told_from_thread(word: bytes) -> None:
        try:
            loop.call_soon_threadsafe(told, word)
        except RuntimeError:
            pass  # the loop is closed: this process is about to end anyway

    if link is not None:
        link.start(report, told_from_thread)
    while True:
        turned_at, run_s = time.monotonic(), engine.longest_run_s()
        if engine.changing or service.persistence.is_receiving:
            service.used_at = turned_at  # whoever waits for a load that takes its time may hold no lease
        if run_s > limit_s and (names := engine.interrupt_stuck(limit_s)):
            log.error("%s: a run did not end within run_limit_s (%g s), and is ended", ", ".join(names), limit_s)
        if link is not None and run_s > limit_s + INTERRUPT_S and (names := engine.give_up_stuck(limit_s)):
            log.error(
                "%s: a run cannot be ended after run_limit_s (%g s); its callers are told, and the service starts anew",
                ", ".join(names),
                limit_s,
            )
            asked.stuck.set()
            link.report()
        await asyncio.sleep(PULSE_S)


def _memory_release(service: Service) -> MemoryRelease:
    def work() -> tuple[int, bool]:
        return service.bodies.held, service.engine.changing or service.persistence.is_receiving

    return MemoryRelease(service.config.memory_release_s, work, service.engine.trim)


def _dump_stacks() -> None:
    """Have the stacks of all threads in the log, when the process dies inside native code or is about to be killed."""
    try:
        descriptor = os.dup(2)  # the log's, whatever becomes of sys.stderr
        faulthandler.enable(descriptor)
        faulthandler.register(signal.SIGUSR2, descriptor)
    except (OSError, AttributeError):
        pass


async def _watched(service: Service, repositories: Sequence[LocalRepository]) -> tuple[RepositoryWatch, FolderEvents]:
    """What follows the changes of the repositories from now on. It is still to be run."""
    engine, poll_s = service.engine, service.config.repository_poll_s

    async def record(action: str, name: str, detail: str) -> None:
        if not service.starting:  # what a start brings back is no new action
            await service.audit.done_by_service(action, name, detail)

    follower = FolderFollower(
        engine,
        repositories,
        allow_code=service.config.python_functions == "on",
        tidy=lambda: service.persistence.tidy(engine),
        record=record,
    )
    roots = [each.root for each in repositories]
    watch = RepositoryWatch(TreeReader(roots), follower.follow, poll_s)
    loop = asyncio.get_running_loop()
    events = FolderEvents(roots, lambda: loop.call_soon_threadsafe(watch.wake), poll_s)
    events.start()
    await watch.begin()
    return watch, events


async def load_all(service: Service, watch: RepositoryWatch | None = None) -> list[str]:
    """What was served before, then what the configuration asks for, one after another, so that no model is measured
    while another loads. What the control plane did to a model wins over where the configuration has it from.

    A model that fails is logged and stays Failed, and the others serve. Returns those of the configuration that did.
    """
    engine = service.engine
    failed: list[str] = []
    allow_code = service.config.python_functions == "on"

    async def load(name: str, path: Path | None, otherwise: str) -> None:
        try:
            await engine.load(name, path, persist=False, allow_code=allow_code, even_harmful=False)
        except WorkbenchError as error:
            log.error("%s: %s", otherwise, error.message)
            if not any(status.reason.startswith(HARMFUL) for status in engine.statuses(name)):
                failed.append(name)  # else it is known, and no reason to keep the others from being served
        except Exception:  # ours; the other models are to serve all the same
            log.exception(otherwise)
            failed.append(name)

    held = await service.persistence.restore(engine)
    for name, path in service.config.load:
        if name in held:
            log.warning("--load %s is passed over: the model was loaded anew since; unload it to have the flag's", name)
            continue
        await load(name, path, f"--load {name} failed")
    asked_for = held | {name for name, _ in service.config.load}
    if watch is not None:
        for change in watch.first:
            if change.name not in asked_for:
                await watch.load_first(change)
                if not_served(engine.statuses(change.name)):
                    failed.append(change.name)
    else:
        if service.config.repository_mode == "explicit":
            names = await asyncio.to_thread(service.persistence.state.asked)
        else:
            names = [name for name, _ in await asyncio.to_thread(engine.available)]
        for name in dict.fromkeys(name for name in names if name not in asked_for):
            await load(name, None, f"model {name} of the repository was not loaded")
    await service.persistence.tidy_start(engine)
    wanted = {*failed, *service.persistence.wanted}
    service.failed_at_start.update(name for name in wanted if not_served(engine.statuses(name)))
    return failed


def _say_ready(service: Service, token_file: Path | None) -> None:
    if not service.ready:
        log.error("not ready: %s failed at the start; the others are served", ", ".join(service.missing))
        forget_ready_file(service.config)  # of the worker before this one
        return
    if (path := service.config.ready_file) is not None:
        content = {
            "url": service.url,
            "grpc": service.grpc,
            "pid": service.pid,
            "version": VERSION,
            "token_file": str(token_file) if token_file else None,
            "ca_file": trusted_file(service.config) or None,
        }
        try:
            write_ready_file(path, content)
        except StorageError:
            if not has_content(path, content):  # as the worker before this one has left it
                raise
    fields = {"url": service.url, "grpc": service.grpc} | ({"token_file": str(token_file)} if token_file else {})
    if ca_file := trusted_file(service.config):
        fields["ca_file"] = ca_file
    log.info("ready", extra={"fields": fields})


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

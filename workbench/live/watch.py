"""Follows the user's one service: how it stands, which models it has, its figures; starts and ends it when asked.

Two tasks. One looks at the rendezvous a few times a second, which costs a small file, and tells of every change. The
other attaches to a service as soon as it answers, which one with many models to load does before it is Ready, and reads
its stream until that ends, which is how a death is noticed at once.

What happens to the service is no error here: it becomes the view, told to whoever listens, and one line in the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from logging import Logger
from typing import Any, Protocol, TypeVar

from workbench.client.client import AsyncClient
from workbench.client.shared_service import SharedService
from workbench.core.threads import in_thread
from workbench.errors import DeadlineExceeded, Unavailable, WorkbenchError
from workbench.live.tick import Tick, TickReader
from workbench.live.view import LocalIntents, Observation, ServiceReport, ServiceView, view
from workbench.rendezvous.service_record import ServiceRecord, ServiceState

LOOK_S = 0.25
"""Between two looks at the rendezvous while it matters: a service runs, or a page is open."""

IDLE_LOOK_S = 2.0
"""... and while neither is the case."""

HURRY_S = 0.02
HURRY_LOOKS = 25
"""After the stream broke off: so often, and so many times, since its keeper is about to say why."""

DEAF_S = 3.0
"""Silence of the stream after which the service is said to give no sign of life; ticks may be further apart."""

ANSWER_S = 5.0
"""What a question that the service answers from memory may take."""

AGAIN_S = 0.5
"""Before an attempt that failed is repeated."""

Status = dict[str, Any]
Answer = TypeVar("Answer")


class Listener(Protocol):
    """Told on the event loop; none of these may block or raise."""

    def service_changed(self, service: ServiceView) -> None: ...

    def models_changed(self, models: list[Status]) -> None: ...

    def ticked(self, tick: Tick) -> None: ...

    def worked(self) -> None:
        """A request was served, or a model is being loaded: said again and again while it lasts."""
        ...


class Listeners:
    """Several, told in this order."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def service_changed(self, service: ServiceView) -> None:
        for listener in self._listeners:
            listener.service_changed(service)

    def models_changed(self, models: list[Status]) -> None:
        for listener in self._listeners:
            listener.models_changed(models)

    def ticked(self, tick: Tick) -> None:
        for listener in self._listeners:
            listener.ticked(tick)

    def worked(self) -> None:
        for listener in self._listeners:
            listener.worked()


class Watch:
    """The service of `shared`, from `open` to `close`. Belongs to the event loop."""

    def __init__(
        self,
        shared: SharedService,
        listener: Listener,
        log: Logger,
        *,
        version: str,
        interval_s: float = 0.25,
        hold: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.shared = shared
        self.models: list[Status] = []
        """Of every version, as the service says it (docs/http.md, STATUS); [] where nothing runs."""
        self.attentive = False
        """Whether a page is open, so that changes should show soon."""
        self._listener = listener
        self._log = log
        self._version = version
        self._interval_s = interval_s
        self._hold = hold
        self._clock = clock
        self._seen = Observation(None)
        self._said = ServiceReport()
        self._gpus: tuple[str, ...] = ()
        self._starts = self._stops = self._jobs = 0
        """Under way."""
        self._failure = self._lost = ""
        self._heard_at: float | None = None
        """When the stream last said something; None while there is none."""
        self._client: AsyncClient | None = None
        self._at = ("", "")
        """Where the client goes: URL and token."""
        self._ticks = TickReader()
        self._hurry = 0
        self._poke = asyncio.Event()
        self._answers = asyncio.Event()
        self._one_change = asyncio.Lock()
        self._one_look = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.view = view(self._seen, self._said, LocalIntents(), version)

    async def open(self) -> None:
        """Begin to watch; a second call does nothing. Starts no service."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._keep_looking()), asyncio.create_task(self._keep_following())]

    async def close(self) -> None:
        """Stop watching and give the lease back; the service stays for whoever else needs it."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
        await in_thread(self.shared.release)

    def look_now(self) -> None:
        """Rather than when it is next due."""
        self._poke.set()

    @property
    def running(self) -> bool:
        """Whether there is a service, in whatever state."""
        return self._seen.record is not None

    @contextmanager
    def job(self) -> Iterator[None]:
        """Something is being done for as long as the context is not left."""
        self._jobs += 1
        try:
            yield
        finally:
            self._jobs -= 1

    # Asked for

    async def client(self) -> AsyncClient:
        """A client of the service that runs. Unavailable with the reason where it is not Ready."""
        await self._look()
        record = self._seen.ready
        if record is None or self.view.state is not ServiceState.READY:
            reason = f": {self.view.reason}" if self.view.reason else ""
            raise Unavailable(f"the service is {self.view.state.value}{reason}")
        return await self._connected(record)

    async def start(self) -> None:
        """Have a service, Ready: the one that runs, or a new one. Raises what `SharedService.ensure` does."""
        await self._change(self.shared.ensure)

    async def restart(self) -> None:
        """Another process, which serves the same models, after what is under way is done."""
        await self._change(self.shared.restart)

    async def stop(self) -> None:
        """End it after what is under way is done, and give the lease back. A start under way gives up."""
        self._stops += 1
        self._tell()
        try:
            await in_thread(self.shared.stop)
            async with self._one_change:
                await in_thread(self.shared.stop)  # what had been begun in between
                await in_thread(self.shared.release)
                self._failure = ""
        finally:
            self._stops -= 1
            await self._look()

    async def _change(self, change: Callable[[], object]) -> None:
        self._starts += 1
        self._tell()
        try:
            async with self._one_change:
                self._failure = self._lost = ""
                try:
                    await in_thread(change)
                except WorkbenchError as error:
                    self._failure = error.message
                    raise
                finally:
                    if not self._hold:
                        await in_thread(self.shared.release)
        finally:
            self._starts -= 1
            await self._look()

    # Looking

    async def _keep_looking(self) -> None:
        complained = False
        while True:
            try:
                await self._look()
                complained = False
            except Exception:  # no thread to be had, say: that may pass
                if not complained:
                    self._log.exception("looking for the service failed; it is tried again")
                complained = True
            wait_s = LOOK_S if self.running or self._starts or self.attentive else IDLE_LOOK_S
            if self._hurry:
                self._hurry -= 1
                wait_s = HURRY_S
            # Not wait_for: in Python 3.11 that swallows a cancellation which comes together with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._poke.wait()
            self._poke.clear()

    async def _look(self) -> None:
        async with self._one_look:  # so that what was found first is not told last
            before = self._seen.record
            try:
                self._seen = await in_thread(lambda: look(self.shared, before))
            except WorkbenchError as error:  # the folder cannot be read, or a newer version has written there
                self._seen = Observation(None, ended=(error.message, 0.0))
        record = self._seen.record
        if record is None or record.state is ServiceState.FAILED:
            self._said = ServiceReport()
            self._take_in([])
        if record is not None:
            self._failure = ""
        if before is not None and record is None and self._starts:
            self._lost = self._seen.ended[0]
        elif record is not None and record.state is not ServiceState.STARTING:
            self._lost = ""
        self._tell()
        if self._seen.answers is not None and self.view.state is not ServiceState.FAILED:
            self._answers.set()
        else:
            self._answers.clear()
        if self._starts or self._jobs or any(status["state"] in ("Loading", "Warming") for status in self.models):
            self._listener.worked()

    def _tell(self) -> None:
        asked = LocalIntents(self._starts > 0, self._stops > 0, self._failure, self._lost)
        if self._seen.ready is None and self._heard_at is not None:
            self._heard_at = self._clock()  # while it starts it may have nothing to say
        silent_s = self._clock() - self._heard_at if self._heard_at is not None else 0.0
        now = view(self._seen, self._said, asked, self._version, deaf=silent_s > max(DEAF_S, 3 * self._interval_s))
        before, self.view = self.view, now
        if now != before:
            still_nothing = now.state is before.state is ServiceState.STOPPED
            if (now.state, now.reason) != (before.state, before.reason) and not still_nothing:
                self._log.info("the service is %s%s", now.state.value, f": {now.reason}" if now.reason else "")
            self._listener.service_changed(now)

    def _take_in(self, models: list[Status]) -> None:
        changed = [_lasting(status) for status in models] != [_lasting(status) for status in self.models]
        self.models = models
        if changed:
            self._listener.models_changed(models)
            if models:  # a load may begin and end between two looks
                self._listener.worked()

    # Following

    async def _keep_following(self) -> None:
        while True:
            await self._answers.wait()
            record = self._seen.answers
            if record is None:  # it has ended since
                self._answers.clear()
                continue
            try:
                try:
                    await self._follow(record)
                except WorkbenchError as error:
                    self._log.debug("the stream ended: %s", error.message)
                self._hurry = HURRY_LOOKS
                self.look_now()
                await self._look()
            except Exception:
                self._log.exception("following the service failed; it is tried again")
            if self._answers.is_set():
                await asyncio.sleep(AGAIN_S)

    async def _follow(self, record: ServiceRecord) -> None:
        """Read the stream of one run of the service to its end."""
        if self._hold:
            with suppress(WorkbenchError):  # a full disk: then it stays for as long as others want it to
                await in_thread(self.shared.hold)
        client = await self._connected(record)
        wanted = asyncio.Event()
        asking = asyncio.create_task(self._keep_asking(client, wanted))
        try:
            await self._read(client, wanted)
        finally:
            self._heard_at = None
            self._ticks.interrupted()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _read(self, client: AsyncClient, wanted: asyncio.Event) -> None:
        known: object = None
        self._heard_at = self._clock()
        stream = client.snapshots(self._interval_s, changes=True)
        try:
            async for line in stream:
                self._heard_at = self._clock()
                if "models" not in line:  # that something has changed
                    wanted.set()
                    continue
                self._gpus = tuple(gpu["name"] for gpu in line.get("machine", {}).get("gpus", ()))
                if (now := _standing(line)) != known:
                    known = now
                    wanted.set()
                if line["interval_s"] > self._interval_s / 2:  # the first one covers no time
                    tick = self._ticks.take(line)
                    self._listener.ticked(tick)
                    if tick.busy:
                        self._listener.worked()
        finally:
            await stream.aclose()

    async def _keep_asking(self, client: AsyncClient, wanted: asyncio.Event) -> None:
        """Ask for the models whenever it is `wanted`."""
        while True:
            await wanted.wait()
            wanted.clear()
            try:
                said = await answered(client.service())
            except WorkbenchError:
                await asyncio.sleep(AGAIN_S)
                wanted.set()
                continue
            self._said = ServiceReport(tuple(said.get("devices", ())), self._gpus, tuple(said.get("notes", ())))
            self._tell()
            self._take_in(list(said["models"]))

    async def _connected(self, record: ServiceRecord) -> AsyncClient:
        """The one client, which goes where the service is now."""
        client, at = self._client, (record.url, record.token)
        if client is None or self._at != at:
            fresh = AsyncClient(record.url, record.token or None)
            fresh.gone = lambda: self.view.reason
            self._client, self._at = fresh, at
            if client is not None:
                await client.close()
            client = fresh
        return client


def look(shared: SharedService, before: ServiceRecord | None) -> Observation:
    """What is published now. Where a record is gone though the keeper that wrote it lives, it still holds: the keeper
    writes it again."""
    record = shared.record()
    if record is None and before is not None and before.keeper.alive:
        record = before
    if record is None:
        return Observation(None, ended=shared.ended())
    return Observation(record, worker_lives=record.worker is not None and record.worker.alive)


async def answered(asked: Awaitable[Answer]) -> Answer:
    """What the service answers from memory; DeadlineExceeded where it does not soon."""
    try:
        async with asyncio.timeout(ANSWER_S):
            return await asked
    except TimeoutError:
        raise DeadlineExceeded(f"the service did not answer within {ANSWER_S:g} s") from None


def _lasting(status: Status) -> Status:
    """Without what merely counts up and down."""
    return {name: value for name, value in status.items() if name != "queued"}


def _standing(snapshot: Mapping[str, Any]) -> object:
    """What in a snapshot says that a status may have changed; a service of an older version counts no changes."""
    models = [(entry["name"], entry["version"], entry["state"], entry["routed"]) for entry in snapshot["models"]]
    return snapshot.get("changed"), models

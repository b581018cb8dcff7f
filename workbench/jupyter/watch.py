"""Follows the user's one service: how it stands, which models it has, its figures; starts and ends it when asked.

Two tasks. One looks at the rendezvous a few times a second, which costs a small file, and tells of every change. The
other attaches to a service that is Ready and reads its stream until that ends, which is how a death is noticed at once.

Nothing here raises into Jupyter's log: what happens to the service is its state, told to whoever listens.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from logging import Logger
from typing import Any, Protocol

from workbench.client.client import AsyncClient
from workbench.client.launch import SharedService
from workbench.errors import DeadlineExceeded, Unavailable, Unsupported, WorkbenchError
from workbench.jupyter.figures import Tick, Ticks
from workbench.jupyter.threads import in_thread
from workbench.jupyter.view import Said, Seen, ServiceView, view
from workbench.rendezvous.record import ServiceRecord, ServiceState
from workbench.rendezvous.versions import check_versions

LOOK_S = 0.25
"""Between two looks at the rendezvous while it matters: a service runs, or is asked for."""

IDLE_LOOK_S = 2.0
"""... and while nothing runs and no page is open."""

HURRY_S = 0.02
HURRY_LOOKS = 25
"""After the stream broke off: so often, and so many times, since its keeper is about to say why."""

DEAF_S = 3.0
"""Silence of the stream after which the service is said to give no sign of life."""

ANSWER_S = 5.0
"""What a question that the service answers from memory may take."""

AGAIN_S = 0.5
"""Before an attempt that failed is repeated."""

Status = dict[str, Any]


class Listener(Protocol):
    """Told on the event loop; none of these may block or raise."""

    def service_changed(self, service: ServiceView) -> None: ...

    def models_changed(self, models: list[Status]) -> None: ...

    def ticked(self, tick: Tick) -> None: ...


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
        self.view = view(Seen(None), Said())
        self.models: list[Status] = []
        """Of every version, as the service says it (docs/http.md, STATUS); [] where nothing runs."""
        self.watched = False
        """Whether a page is open, so that changes should show soon; see `hurry`."""
        self._listener = listener
        self._log = log
        self._version = version
        self._interval_s = interval_s
        self._hold = hold
        self._clock = clock
        self._seen = Seen(None)
        self._said = Said()
        self._client: AsyncClient | None = None
        self._at = ("", "")
        self._ticks = Ticks()
        self._heard_at: float | None = None
        """When the stream last said something; None while there is none."""
        self._asked = 0
        """Starts and restarts under way."""
        self._jobs = 0
        self._failure = self._warning = ""
        self._hurry = 0
        self._poke = asyncio.Event()
        self._looked = asyncio.Condition()
        self._ask = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

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

    def hurry(self) -> None:
        """Look again at once."""
        self._poke.set()

    @property
    def working(self) -> bool:
        """Whether a model is being loaded, or the service started."""
        return bool(self._asked or self._jobs) or any(
            status["state"] in ("Loading", "Warming") for status in self.models
        )

    @property
    def running(self) -> bool:
        """Whether there is a service, in whatever state."""
        return self._seen.record is not None

    @contextmanager
    def working_on(self) -> Iterator[None]:
        """Something is under way for as long as the context is not left."""
        self._jobs += 1
        try:
            yield
        finally:
            self._jobs -= 1

    # Asked for

    async def client(self) -> AsyncClient:
        """A client of the service that runs. Unavailable with the reason where it is not Ready."""
        await self._look()
        record = self._attachable()
        if record is None:
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
        """End it after what is under way is done, and give the lease back."""
        async with self._ask:
            await in_thread(self.shared.stop)
            await in_thread(self.shared.release)
            self._failure = ""
            await self._look()

    async def refresh(self) -> None:
        """Ask the service for its models now rather than when it tells of a change."""
        with suppress(WorkbenchError):
            await self._ask_status(await self.client())

    async def _change(self, change: Callable[[], object]) -> None:
        self._asked += 1
        self._tell()
        try:
            async with self._ask:
                self._failure = ""
                await in_thread(change)
        except WorkbenchError as error:
            self._failure = error.message
            raise
        finally:
            self._asked -= 1
            await self._look()

    # Looking

    async def _keep_looking(self) -> None:
        while True:
            await self._look()
            if self._hurry:
                self._hurry -= 1
                wait_s = HURRY_S
            else:
                busy = self._seen.record is not None or self._asked or self.watched
                wait_s = LOOK_S if busy else IDLE_LOOK_S
            with suppress(TimeoutError):
                await asyncio.wait_for(self._poke.wait(), wait_s)
            self._poke.clear()

    async def _look(self) -> None:
        before = self._seen.record
        try:
            self._seen = await in_thread(lambda: look(self.shared, before))
        except WorkbenchError as error:
            self._seen = Seen(None, ended=(error.message, 0.0))
        if self._seen.record is not None and self._seen.record.worker != (before and before.worker):
            self._failure = ""
        if self._seen.record is None:
            self._said = Said()
            self._told_models([])
        self._tell()
        async with self._looked:
            self._looked.notify_all()

    def _tell(self) -> None:
        silent = self._heard_at is not None and self._clock() - self._heard_at > max(DEAF_S, 4 * self._interval_s)
        now = view(
            self._seen, self._said, starting=self._asked > 0, failure=self._failure, deaf=silent, warning=self._warning
        )
        if now != self.view:
            if (now.state, now.reason) != (self.view.state, self.view.reason):
                why = f": {now.reason}" if now.reason else ""
                self._log.info("the service is %s%s", now.state.value, why)
            self.view = now
            self._listener.service_changed(now)

    def _told_models(self, models: list[Status]) -> None:
        """Take in the models; what merely counts up in them is no change."""
        changed = [_lasting(status) for status in models] != [_lasting(status) for status in self.models]
        self.models = models
        if changed:
            self._listener.models_changed(models)

    # Following

    async def _keep_following(self) -> None:
        while True:
            async with self._looked:
                while (record := self._attachable()) is None:
                    await self._looked.wait()
            try:
                await self._follow(record)
            except Unsupported as error:
                self._failure = self._warning = error.message
                self._tell()
                await asyncio.sleep(IDLE_LOOK_S)
            except WorkbenchError as error:
                self._log.debug("the stream ended: %s", error.message)
                await asyncio.sleep(0 if self._hurry else AGAIN_S)
            except Exception:
                self._log.exception("following the service failed; it is tried again")
                await asyncio.sleep(IDLE_LOOK_S)

    def _attachable(self) -> ServiceRecord | None:
        record = self._seen.record
        return record if record is not None and record.state is ServiceState.READY and self._seen.worker_lives else None

    async def _follow(self, record: ServiceRecord) -> None:
        """Read the stream of one run of the service to its end."""
        self._warning = check_versions(self._version, record.version, record.api)
        if self._hold:
            await in_thread(self.shared.ensure)  # Ready, so it starts nothing, and takes the lease
        client = await self._connected(record)
        wanted = asyncio.Event()
        asking = asyncio.create_task(self._keep_asking(client, wanted))
        try:
            await self._read(client, wanted)
        finally:
            self._heard_at = None
            self._ticks.interrupted()
            self._hurry = HURRY_LOOKS
            self.hurry()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

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

    async def _read(self, client: AsyncClient, wanted: asyncio.Event) -> None:
        known: object = None
        self._heard_at = self._clock()
        snapshots = client.snapshots(self._interval_s)
        try:
            async for snapshot in snapshots:
                was_deaf = self._clock() - self._heard_at > DEAF_S
                self._heard_at = self._clock()
                if was_deaf:
                    self._tell()
                if (now := _standing(snapshot)) != known:
                    known = now
                    wanted.set()
                if snapshot["interval_s"] > self._interval_s / 2:  # the first one covers no time
                    self._listener.ticked(self._ticks.take(snapshot))
        finally:
            await snapshots.aclose()

    async def _keep_asking(self, client: AsyncClient, wanted: asyncio.Event) -> None:
        """Ask for the models whenever `wanted`."""
        while True:
            await wanted.wait()
            wanted.clear()
            try:
                await self._ask_status(client)
            except WorkbenchError:
                await asyncio.sleep(AGAIN_S)
                wanted.set()

    async def _ask_status(self, client: AsyncClient) -> None:
        said = await answered(client.service())
        self._said = Said(tuple(said.get("devices", ())), tuple(said.get("notes", ())))
        self._tell()
        self._told_models(list(said["models"]))


def look(shared: SharedService, before: ServiceRecord | None) -> Seen:
    """What is published now. A record that is gone, though the keeper that wrote it lives, still holds: the keeper
    writes it again."""
    record = shared.record()
    if record is None and before is not None and before.keeper.alive:
        record = before
    if record is None:
        return Seen(None, ended=shared.ended())
    return Seen(record, worker_lives=record.worker is not None and record.worker.alive)


async def answered(asked: Any) -> Any:
    """What the service answers from memory; DeadlineExceeded where it does not soon."""
    try:
        async with asyncio.timeout(ANSWER_S):
            return await asked
    except TimeoutError:
        raise DeadlineExceeded(f"the service did not answer within {ANSWER_S:g} s") from None


def _lasting(status: Status) -> Status:
    return {name: value for name, value in status.items() if name != "queued"}


def _standing(snapshot: Mapping[str, Any]) -> object:
    """What in a snapshot says that a status may have changed."""
    return [(entry["name"], entry["version"], entry["state"], entry["routed"]) for entry in snapshot["models"]]

"""Follows the user's shared service: its state, models and figures; starts and stops it on request.

Two tasks run. One reads the rendezvous, a small file, a few times a second and publishes each change. The other
connects to the service as soon as it answers, even while it still loads models, and reads its stream to the end; so the
death of a service is noticed at once.

Failures of the service are not errors here: they change the view, which listeners get, and add a line to the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from logging import Logger
from typing import Any, Protocol, TypeVar

from workbench.client.client import AsyncClient
from workbench.client.share_results import SharedAccess
from workbench.client.shared_service import SharedService
from workbench.core.rollout_view import RolloutView
from workbench.core.threads import in_thread
from workbench.errors import DeadlineExceeded, Unavailable, WorkbenchError
from workbench.live.catching_up import CatchingUp
from workbench.live.tick import Tick, TickReader
from workbench.live.view import LocalIntents, Observation, ServiceReport, ServiceView, view
from workbench.rendezvous.process_identity import ProcessKey
from workbench.rendezvous.service_record import ServiceRecord, ServiceState

LOOK_S = 0.25
"""Seconds between two looks at the rendezvous while a service runs or a page is open."""

IDLE_LOOK_S = 2.0
"""Seconds between two looks otherwise."""

HURRY_S = 0.02
HURRY_LOOKS = 25
"""Interval and number of looks after the stream broke off, since the supervisor is about to publish the reason."""

SILENT_S = 3.0
"""Seconds without a line of the stream after which the service counts as silent; more if ticks are further apart."""

ANSWER_S = 5.0
"""Time limit of a request that the service answers from memory."""

AGAIN_S = 0.5
"""Seconds before a failed attempt is repeated."""

Status = dict[str, Any]
Answer = TypeVar("Answer")


class Listener(Protocol):
    """Called on the event loop; no method may block or raise."""

    def service_changed(self, service: ServiceView) -> None: ...

    def models_changed(self, models: list[Status]) -> None: ...

    def share_called(self, share: SharedAccess) -> None:
        """Called once, at the first inference with a share's token."""
        ...

    def rollout_changed(self, rollout: RolloutView) -> None:
        """Called when a rollout begins, goes a step on, halts, goes on, or ends."""
        ...

    def ticked(self, tick: Tick) -> None: ...

    def caught_up(self, ticks: Sequence[Tick]) -> None:
        """Called before a tick with those of the time that was not followed, as the service kept them."""
        ...

    def worked(self) -> None:
        """Called repeatedly while requests are served or a model is loaded."""
        ...


class Listeners:
    """Calls several listeners in order."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def service_changed(self, service: ServiceView) -> None:
        for listener in self._listeners:
            listener.service_changed(service)

    def models_changed(self, models: list[Status]) -> None:
        for listener in self._listeners:
            listener.models_changed(models)

    def share_called(self, share: SharedAccess) -> None:
        for listener in self._listeners:
            listener.share_called(share)

    def rollout_changed(self, rollout: RolloutView) -> None:
        for listener in self._listeners:
            listener.rollout_changed(rollout)

    def ticked(self, tick: Tick) -> None:
        for listener in self._listeners:
            listener.ticked(tick)

    def caught_up(self, ticks: Sequence[Tick]) -> None:
        for listener in self._listeners:
            listener.caught_up(ticks)

    def worked(self) -> None:
        for listener in self._listeners:
            listener.worked()


class Watch:
    """Follows the service of `shared` from `open` to `close`. Used on the event loop only."""

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
        """The status of every version (docs/http.md, STATUS); empty if no service runs."""
        self.attentive = False
        """Whether a page is open, so that changes are looked for often."""
        self._listener = listener
        self._log = log
        self._version = version
        self._interval_s = interval_s
        self._hold = hold
        self._clock = clock
        self._observation = Observation(None)
        self._report = ServiceReport()
        self._gpus: tuple[str, ...] = ()
        self._starts = self._stops = self._jobs = 0
        """Numbers of operations in progress."""
        self._failure = self._lost = ""
        self._called: set[str] | None = None
        """The shares that were called; None until they were asked for."""
        self._rollouts: dict[str, tuple[float, float, str]] | None = None
        """When the last rollout of each model began and changed, and its status; None until they were asked for."""
        self._heard_at: float | None = None
        """When the last line of the stream came; None while there is no stream."""
        self._client: AsyncClient | None = None
        self._at: tuple[str, ProcessKey | None, str] = "", None, ""
        """The client's URL, keeper and token."""
        self._ticks = TickReader()
        self._catching_up = CatchingUp(self._ticks)
        self._hurry = 0
        self._poke = asyncio.Event()
        self._answers = asyncio.Event()
        self._one_change = asyncio.Lock()
        self._one_look = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.view = view(self._observation, self._report, LocalIntents(), version)

    async def open(self) -> None:
        """Start watching. Starts no service; a second call does nothing."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._keep_looking()), asyncio.create_task(self._keep_following())]

    async def close(self) -> None:
        """Stop watching and release the lease; the service keeps running for its other users."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
        await in_thread(self.shared.release)

    def look_now(self) -> None:
        """Look at the rendezvous now."""
        self._poke.set()

    @property
    def running(self) -> bool:
        """Whether there is a service, in any state."""
        return self._observation.record is not None

    @property
    def ready(self) -> ServiceRecord | None:
        """The service as it was last seen, if it takes requests; a look takes longer than a small inference."""
        return self._observation.ready if self.view.state is ServiceState.READY else None

    @contextmanager
    def job(self) -> Iterator[None]:
        """Count as work in progress until the context is left."""
        self._jobs += 1
        try:
            yield
        finally:
            self._jobs -= 1

    # Requests

    async def client(self) -> AsyncClient:
        """Return a client of the running service. Raises Unavailable with the reason if it is not Ready."""
        await self._look()
        record = self._observation.ready
        if record is None or self.view.state is not ServiceState.READY:
            reason = f": {self.view.reason}" if self.view.reason else ""
            raise Unavailable(f"the service is {self.view.state.value}{reason}")
        return await self._connected(record)

    async def start(self) -> None:
        """Find or start the service, and wait until it is Ready. Raises what `SharedService.ensure` does."""
        await self._change(self.shared.ensure)

    async def restart(self) -> None:
        """Replace the service's process after the requests in progress; the new one serves the same models."""
        await self._change(self.shared.restart)

    async def stop(self) -> None:
        """End the service after the requests in progress, and release the lease. A start in progress gives up."""
        self._stops += 1
        self._publish()
        try:
            await in_thread(self.shared.stop)
            async with self._one_change:
                await in_thread(self.shared.stop)  # one that was started in between
                await in_thread(self.shared.release)
                self._failure = ""
        finally:
            self._stops -= 1
            await self._look()

    async def _change(self, change: Callable[[], object]) -> None:
        self._starts += 1
        self._publish()
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
            except Exception:  # for example, no thread could be started: that may pass
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
        async with self._one_look:  # so that an older result is never published after a newer one
            before = self._observation.record
            try:
                self._observation = await in_thread(lambda: observe(self.shared, before))
            except WorkbenchError as error:  # the folder cannot be read, or a newer version has written there
                self._observation = Observation(None, ended=(error.message, 0.0))
        record = self._observation.record
        if record is None or record.state is ServiceState.FAILED:
            self._report = ServiceReport()
            self._update_models([])
        if record is not None:
            self._failure = ""
        if before is not None and record is None and self._starts:
            self._lost = self._observation.ended[0]
        elif record is not None and record.state is not ServiceState.STARTING:
            self._lost = ""
        self._publish()
        if self._observation.answers is not None and self.view.state is not ServiceState.FAILED:
            self._answers.set()
        else:
            self._answers.clear()
        if self._starts or self._jobs or any(status["state"] in ("Loading", "Warming") for status in self.models):
            self._listener.worked()

    def _publish(self) -> None:
        asked = LocalIntents(self._starts > 0, self._stops > 0, self._failure, self._lost)
        if self._observation.ready is None and self._heard_at is not None:
            self._heard_at = self._clock()  # while it starts it may send nothing
        silent_s = self._clock() - self._heard_at if self._heard_at is not None else 0.0
        silent = silent_s > max(SILENT_S, 3 * self._interval_s)
        now = view(self._observation, self._report, asked, self._version, silent=silent)
        before, self.view = self.view, now
        if now != before:
            still_nothing = now.state is before.state is ServiceState.STOPPED
            if (now.state, now.reason) != (before.state, before.reason) and not still_nothing:
                self._log.info("the service is %s%s", now.state.value, f": {now.reason}" if now.reason else "")
            self._listener.service_changed(now)

    def _update_models(self, models: list[Status]) -> None:
        changed = [_lasting(status) for status in models] != [_lasting(status) for status in self.models]
        self.models = models
        if changed:
            self._listener.models_changed(models)
            if models:  # a load may begin and end between two looks
                self._listener.worked()

    def _update_shares(self, shares: Sequence[SharedAccess]) -> None:
        called = {share.id for share in shares if share.first_call_at is not None}
        before, self._called = self._called, called
        for share in shares:
            if before is not None and share.id in called - before:
                self._listener.share_called(share)

    def _update_rollouts(self, rollouts: Sequence[RolloutView]) -> None:
        now = {each.model: (each.began_at, each.changed_at, each.status) for each in rollouts}
        before, self._rollouts = self._rollouts, now
        for rollout in rollouts:
            if before is not None and before.get(rollout.model) != now[rollout.model]:
                self._listener.rollout_changed(rollout)

    # The stream

    async def _keep_following(self) -> None:
        while True:
            await self._answers.wait()
            record = self._observation.answers
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
            with suppress(WorkbenchError):  # a full disk: then others' leases decide how long it runs
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
        stream = client.snapshots(self._interval_s, changes=True, past_s=self._catching_up.missed_s())
        try:
            async for line in stream:
                self._heard_at = self._clock()
                if self._catching_up.takes(line):
                    continue
                if missed := self._catching_up.missed():
                    self._listener.caught_up(missed)
                if "models" not in line:  # a line that only says that something has changed
                    wanted.set()
                    continue
                self._gpus = tuple(gpu["name"] for gpu in line.get("machine", {}).get("gpus", ()))
                if (now := _standing(line)) != known:
                    known = now
                    wanted.set()
                if line["interval_s"] > self._interval_s / 2:  # the first one covers no time
                    tick = self._catching_up.present(line)
                    self._listener.ticked(tick)
                    if tick.busy:
                        self._listener.worked()
        finally:
            await stream.aclose()

    async def _keep_asking(self, client: AsyncClient, wanted: asyncio.Event) -> None:
        """Fetch the models whenever `wanted` is set."""
        while True:
            await wanted.wait()
            wanted.clear()
            try:
                said = await answered(client.service())
            except WorkbenchError:
                await asyncio.sleep(AGAIN_S)
                wanted.set()
                continue
            self._report = ServiceReport(tuple(said.get("devices", ())), self._gpus, tuple(said.get("notes", ())))
            self._publish()
            self._update_models(list(said["models"]))
            with suppress(WorkbenchError):  # a service of an older version has none
                self._update_shares(await answered(client.shares()))
            with suppress(WorkbenchError):  # likewise
                self._update_rollouts(await answered(client.rollouts()))

    async def _connected(self, record: ServiceRecord) -> AsyncClient:
        """Return the client of this service's address, with its token; replace the one for an earlier address."""
        client, before, at = self._client, self._at, (record.url, record.keeper, record.token)
        if client is not None and before[:2] == at[:2]:
            if before != at:
                client.use_token(record.token or None)  # calls under way go on
                self._at = at
        else:
            fresh = AsyncClient(
                record.url,
                record.token or None,
                token_file=record.token_file,
                ca_file=record.ca_file,
                own=True,
                keeper=record.keeper,
            )
            fresh.transport.gone = lambda: self.view.reason
            self._client, self._at = fresh, at
            if client is not None:
                await client.close()
            client = fresh
        return client


def observe(shared: SharedService, before: ServiceRecord | None) -> Observation:
    """Read the rendezvous. If the record is gone but its supervisor lives, it still holds: the supervisor writes it
    again."""
    record = shared.record()
    if record is None and before is not None and before.keeper.alive:
        record = before
    if record is None:
        return Observation(None, ended=shared.ended())
    return Observation(record, worker_lives=record.worker is not None and record.worker.alive)


async def answered(asked: Awaitable[Answer]) -> Answer:
    """Await an answer that the service has in memory. Raises DeadlineExceeded after ANSWER_S."""
    try:
        async with asyncio.timeout(ANSWER_S):
            return await asked
    except TimeoutError:
        raise DeadlineExceeded(f"the service did not answer within {ANSWER_S:g} s") from None


def _lasting(status: Status) -> Status:
    """Return the status without its figures, which change all the time."""
    return {name: value for name, value in status.items() if name not in ("queued", "sequences", "cache")}


def _standing(snapshot: Mapping[str, Any]) -> object:
    """Return the parts of a snapshot that show a change of status; an older service sends no count of changes."""
    models = [(entry["name"], entry["version"], entry["state"], entry["routed"]) for entry in snapshot["models"]]
    return snapshot.get("changed"), models

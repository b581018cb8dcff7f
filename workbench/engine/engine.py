"""The engine: a control plane that loads, swaps and unloads, and a path for requests that it never stands on."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

from workbench.config import LIVE_SETTINGS, ModelConfig, model_config
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.model import DesiredModel, ModelState, ModelStatus, check_model_name, check_model_version
from workbench.core.ports import Journal, Observer
from workbench.engine.deployment import Deployment, SessionOpener, Trial
from workbench.engine.null import NullJournal, NullObserver
from workbench.engine.router import RoutingTable
from workbench.engine.sources import Source, Sources, source_of
from workbench.errors import Conflict, ModelError, ModelNotFound, StorageError, Unavailable
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore, StoredModel
from workbench.runtimes.registry import open_session as open_registered

DRAIN_TIMEOUT_S = 30.0

Settings: TypeAlias = ModelConfig | Mapping[str, object] | None
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a change to a model came to."""

    status: ModelStatus
    unchanged: bool
    """True: the same model with the same settings serves already, so nothing was done."""
    previous: str | None
    """The version that was routed before; None where there was none, or nothing changed."""
    seconds: float


class Engine:
    """Models by name and version. Every method belongs to the event loop that `start` was called on.

    Changes to one model are made one after another; changes to different models do not wait for each other, and
    requests wait for none of them.
    """

    def __init__(
        self,
        store: ModelStore,
        *,
        repositories: Sequence[LocalRepository] = (),
        observer: Observer | None = None,
        journal: Journal | None = None,
        trial: Trial | None = None,
        open_session: SessionOpener = open_registered,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self._sources = Sources(store, repositories)
        self._observer = observer or NullObserver()
        self._journal = journal or NullJournal()
        self._trial = trial
        self._open_session = open_session
        self._table = RoutingTable()
        self._versions: dict[str, dict[str, Deployment]] = {}
        self._routed: dict[str, Deployment] = {}
        self._failed: dict[tuple[str, str], ModelStatus] = {}
        self._lasting: set[str] = set()
        """The models whose routed version the journal holds."""
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._leaving: set[asyncio.Task[None]] = set()
        self._started = self._closing = False

    # Requests

    async def infer(self, request: InferRequest) -> InferResponse:
        """One answer or one error. Cancelling the awaiting task drops the request where it has not yet been run.

        Raises ModelNotFound, Unavailable, InvalidInput, QueueFull, DeadlineExceeded, Cancelled, ExecutionError.
        """
        return await self._table.choose(request.model, request.version).submit(request)

    # Life

    @property
    def ready(self) -> bool:
        """True while requests are taken."""
        return self._started and not self._closing

    async def start(self) -> None:
        self._started = True

    async def close(self, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Refuse what comes, finish what was accepted, give everything back."""
        self._closing = True
        deployments = [each for versions in self._versions.values() for each in versions.values()]
        await asyncio.gather(*(self._retire(each, drain_timeout_s) for each in deployments), *self._leaving)
        self._versions.clear()
        self._routed.clear()
        self._publish()

    # Control

    async def load(
        self,
        name: str,
        source: Path | bytes | None = None,
        config: Settings = None,
        *,
        force: bool = False,
        lasting: bool = True,
    ) -> LoadResult:
        """Load, warm and route to a model; the version before it drains, and no request fails because of it.

        `source` is an ONNX file, a model's folder (NAME itself: VERSION/model.onnx, the highest version is taken, or
        model.onnx), the file's bytes, all copied into the store, or None: from the repositories, served in place.
        `config` is laid over the folder's model.toml. Where the same digest serves already nothing is loaded again.
        The journal is told before this returns, but for what the repositories hold, and unless `lasting` is False.
        Raises Conflict where inputs or outputs would change, unless `force`; StorageError where the disk is full, and
        what served goes on.
        """
        check_model_name(name)
        began = self.clock()
        async with self._changing(name):
            try:
                found = await self._in_thread(lambda: self._sources.find(name, source))
            except ModelError as error:
                self._note_failure(name, error)
                raise
            settings = _overlaid(found.config, config)
            current = self._routed.get(name)
            if (
                current is not None
                and current.source.digest == found.source.digest
                and found.version in (None, current.version)
            ):
                keep = not config and found.version is None
                return await self._reconfigured(current, current.config if keep else settings, began)
            lasting = lasting and source is not None
            version = found.version or self._next_version(name)
            deployment = await self._opened(name, version, found.source, settings, lasting=lasting)
            try:
                _check_same_signature(current, deployment, force)
                return await self._take_in(deployment, began, lasting=lasting)
            except (Conflict, StorageError):
                self._forget(deployment)
                await self._retire(deployment, DRAIN_TIMEOUT_S)
                await self._settle(name, lasting)
                raise

    async def stage(self, name: str, stored: StoredModel, config: Settings = None) -> LoadResult:
        """Load and warm a new version that nothing is routed to; it answers requests which name it.

        `commit` or `discard` it. Where the same digest is routed already: unchanged, and nothing is staged.
        """
        check_model_name(name)
        began = self.clock()
        async with self._changing(name):
            settings = _overlaid(ModelConfig(), config)
            current = self._routed.get(name)
            if current is not None and current.source.digest == stored.digest:
                return await self._reconfigured(current, settings if config else current.config, began)
            version = self._next_version(name)
            deployment = await self._opened(name, version, source_of(stored), settings, lasting=True)
            await self._settle(name, True)
            previous = current.version if current else None
            return LoadResult(deployment.status(), False, previous, self.clock() - began)

    async def commit(self, name: str, version: str, *, force: bool = False) -> LoadResult:
        """Route to a staged version; the one before drains. Conflict where the signature changed, unless `force`."""
        began = self.clock()
        async with self._changing(name):
            deployment = self._version(name, version)
            current = self._routed.get(name)
            if deployment is current:
                return LoadResult(deployment.status(), True, None, self.clock() - began)
            _check_same_signature(current, deployment, force)
            return await self._take_in(deployment, began, lasting=True)

    async def restore(self, model: DesiredModel, *, suspect: bool = False) -> LoadResult:
        """Serve again what served before this process began: the same file, version and settings, routed.

        A `suspect` is tried out first, whatever came of earlier trials. Where it fails it is listed as Failed, and
        stays desired. Raises ModelError.
        """
        name = check_model_name(model.name)
        began = self.clock()
        async with self._changing(name):
            try:
                source = await self._in_thread(lambda: self._sources.stored(model))
                deployment = await self._opened(
                    name, model.version, source, model.config, lasting=False, again=suspect, restored=model
                )
            except ModelError as error:
                if (name, model.version) not in self._failed:
                    self.quarantine(model, error.message)
                raise
            finally:
                # Alive, so nothing is suspected of it. Where this cannot be noted the model serves all the same.
                with suppress(StorageError):
                    await self._in_thread(lambda: self._journal.serving(model))
            self._lasting.add(name)
            return self._swap_in(deployment, began)

    def quarantine(self, model: DesiredModel, reason: str) -> None:
        """List a model as Failed without loading it; a load under its name clears that."""
        status = ModelStatus(
            model.name, model.version, ModelState.FAILED, reason=reason, config=model.config, digest=model.digest
        )
        self._failed[model.name, model.version] = status
        self._publish()
        self._observer.model_changed(status)

    async def discard(self, name: str, version: str) -> None:
        """Drop a staged version. Conflict for the one that is routed to."""
        async with self._changing(name):
            deployment = self._version(name, version)
            if deployment is self._routed.get(name):
                raise Conflict(f"version {version} of model {name!r} serves; unload the model instead")
            self._forget(deployment)
            await self._retire(deployment, DRAIN_TIMEOUT_S)

    async def unload(self, name: str) -> None:
        """Drain and drop every version. ModelNotFound where none is loaded or failed."""
        check_model_name(name)
        async with self._changing(name):
            deployments = list(self._versions.get(name, {}).values())
            if not deployments and all(failed != name for failed, _ in self._failed):
                raise ModelNotFound(f"Request for unknown model: {name!r} is not loaded, so it cannot be unloaded")

            def drop() -> None:
                self._lasting.discard(name)
                self._drop_failed(name)
                self._publish()
                for deployment in deployments:
                    self._forget(deployment)

            await self._noted(lambda: self._journal.unloaded(name), drop)
            await asyncio.gather(*(self._retire(each, DRAIN_TIMEOUT_S) for each in deployments))

    async def configure(self, name: str, settings: Mapping[str, object]) -> LoadResult:
        """Change settings of the routed version: live where that is possible, else by a reload off the path."""
        check_model_name(name)
        began = self.clock()
        async with self._changing(name):
            current = self._table.choose(name, None)
            return await self._reconfigured(current, model_config(settings, current.config), began)

    def give_up_stuck(self, limit_s: float) -> list[str]:
        """The models with a run that has taken longer than `limit_s`; their callers are answered, and only the end of
        the process gives back what the run holds."""
        stuck = []
        for deployment in self._deployments():
            if (ran_s := deployment.longest_run_s()) > limit_s and deployment.state is not ModelState.FAILED:
                deployment.give_up(
                    f"a run of model {deployment.name!r} did not end within {ran_s:.0f} s (run_limit_s is "
                    f"{limit_s:g}), so the service is started anew"
                )
                stuck.append(deployment.name)
        return stuck

    # What there is

    def longest_run_s(self) -> float:
        """For how long the oldest run under way has been inside its runtime; 0 where none is."""
        return max((deployment.longest_run_s() for deployment in self._deployments()), default=0.0)

    def status(self, name: str, version: str | None = None) -> ModelStatus:
        """Of the routed version, or of the one named. ModelNotFound."""
        found = [status for status in self.statuses(name) if version in (None, status.version)]
        if not found:
            self._table.choose(name, version)  # raises, saying what there is
            raise ModelNotFound(f"Request for unknown model: {name!r} is not found")
        return next((status for status in found if status.routed), found[-1])

    def statuses(self, name: str | None = None) -> list[ModelStatus]:
        """Every version that is known, loading and Failed ones included, by name and version."""
        found = [each.status() for versions in self._versions.values() for each in versions.values()]
        found += self._failed.values()
        chosen = (status for status in found if name in (None, status.name))
        return sorted(chosen, key=lambda status: (status.name, int(status.version)))

    def available(self) -> list[tuple[str, str]]:
        """(name, version) of what lies in the repositories, loaded or not. Reads folders."""
        return self._sources.available()

    @property
    def changing(self) -> bool:
        """True while any model is being loaded, changed or unloaded."""
        return any(lock.locked() for lock in self._locks.values())

    # Below: how

    def _deployments(self) -> list[Deployment]:
        return [each for versions in self._versions.values() for each in versions.values()]

    def _changing(self, name: str) -> asyncio.Lock:
        if not self._started or self._closing:
            raise Unavailable("the service is shutting down" if self._closing else "the engine was not started")
        return self._locks[name]

    async def _reconfigured(self, current: Deployment, config: ModelConfig, began: float) -> LoadResult:
        changed = [
            f.name for f in dataclasses.fields(config) if getattr(config, f.name) != getattr(current.config, f.name)
        ]
        if not changed:
            return LoadResult(current.status(), True, None, self.clock() - began)
        live = set(changed) <= set(LIVE_SETTINGS) and (current.takes_more_runners or "instances" not in changed)
        name = current.name
        lasting = name in self._lasting
        if live:
            desired = DesiredModel(name, current.version, current.source.digest, config)
            await self._noted(
                lambda: self._journal.serving(desired) if lasting else None, lambda: current.configure(config)
            )
            return LoadResult(current.status(), False, None, self.clock() - began)
        deployment = await self._opened(name, current.version, current.source, config, lasting=lasting)
        try:
            return await self._take_in(deployment, began, lasting=lasting)
        except StorageError:
            await self._retire(deployment, DRAIN_TIMEOUT_S)
            await self._settle(name, lasting)
            raise

    async def _opened(
        self,
        name: str,
        version: str,
        source: Source,
        config: ModelConfig,
        *,
        lasting: bool,
        again: bool = False,
        restored: DesiredModel | None = None,
    ) -> Deployment:
        """A deployment that is Ready and not routed; `lasting`: the journal holds an attempt, which is to be settled.
        With `restored` the attempt is one to restore."""

        def prepare() -> None:
            if self._trial is not None:
                self._trial(source, config, again=again)
            # Only now: whatever ends the process during the trial, it was not this model.
            if lasting:
                self._journal.attempting(DesiredModel(name, version, source.digest, config))
            elif restored is not None:
                with suppress(StorageError):
                    self._journal.restoring(restored)

        deployment = Deployment(
            name, version, source, config, observer=self._observer, open_session=self._open_session, clock=self.clock
        )
        replaced = self._versions.get(name, {}).get(version)
        if replaced is None:  # shows as Loading; one that is replaced in place goes on showing itself
            self._versions.setdefault(name, {})[version] = deployment
            self._publish()
        try:
            await deployment.open(prepare)
            if self._closing:
                raise Unavailable("the service is shutting down")
        except BaseException as error:
            if replaced is None:
                # A disk that is full is no fault of the model's.
                if deployment.state is ModelState.FAILED and not isinstance(error, StorageError):
                    self._failed[name, version] = deployment.status()
                self._forget(deployment)
            await deployment.close()
            await self._settle(name, lasting)
            raise
        return deployment

    async def _take_in(self, deployment: Deployment, began: float, *, lasting: bool) -> LoadResult:
        """Note it, then route to it. StorageError, and then nothing has changed."""
        name = deployment.name
        desired = DesiredModel(name, deployment.version, deployment.source.digest, deployment.config)

        def note() -> None:
            if lasting:
                self._journal.serving(desired)
            elif name in self._lasting:
                self._journal.unloaded(name)

        def swap() -> LoadResult:
            (self._lasting.add if lasting else self._lasting.discard)(name)
            return self._swap_in(deployment, began)

        return await self._noted(note, swap)

    async def _noted(self, note: Callable[[], None], act: Callable[[], Result]) -> Result:
        """`note` on a thread, then `act` here. Where `note` raises there is no `act`; a caller who is cancelled in
        between gets both, since one without the other would be found out after a restart."""
        noting = asyncio.get_running_loop().run_in_executor(None, note)
        try:
            await asyncio.shield(noting)
        except asyncio.CancelledError:
            await asyncio.wait([noting])
            noting.result()
            act()
            raise
        return act()

    async def _settle(self, name: str, lasting: bool) -> None:
        # Where this cannot be noted, a process that dies will be found to have died of this attempt: one load more.
        if lasting:
            with suppress(StorageError):
                await self._in_thread(lambda: self._journal.settled(name))

    def _swap_in(self, deployment: Deployment, began: float) -> LoadResult:
        name = deployment.name
        before = self._routed.get(name)
        versions = self._versions.setdefault(name, {})
        versions[deployment.version] = deployment
        self._routed[name] = deployment
        if before is not None and versions.get(before.version) is before:
            del versions[before.version]
        self._drop_failed(name)
        self._publish()
        deployment.route(True)
        if before is not None:
            before.route(False)
            task = asyncio.ensure_future(self._retire(before, DRAIN_TIMEOUT_S))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        return LoadResult(deployment.status(), False, before.version if before else None, self.clock() - began)

    async def _retire(self, deployment: Deployment, timeout_s: float) -> None:
        await deployment.drain(timeout_s)
        await deployment.close()

    def _publish(self) -> None:
        """The one assignment by which the path learns of a change."""
        deployments = [each for versions in self._versions.values() for each in versions.values()]
        failed = {name: status.reason for (name, _), status in self._failed.items()}
        self._table = RoutingTable(deployments, self._routed, failed)

    def _forget(self, deployment: Deployment) -> None:
        versions = self._versions.get(deployment.name, {})
        if versions.get(deployment.version) is deployment:
            del versions[deployment.version]
        if not versions:
            self._versions.pop(deployment.name, None)
        if self._routed.get(deployment.name) is deployment:
            del self._routed[deployment.name]
        self._publish()

    def _version(self, name: str, version: str) -> Deployment:
        check_model_name(name)
        check_model_version(version)
        try:
            return self._versions[name][version]
        except KeyError:
            raise ModelNotFound(
                f"Request for unknown model: {name!r} has no version {version} that is loaded"
            ) from None

    def _next_version(self, name: str) -> str:
        known = [*self._versions.get(name, {}), *self._sources.versions(name)]
        return str(max(map(int, known), default=0) + 1)

    def _note_failure(self, name: str, error: ModelError) -> None:
        version = self._next_version(name)
        status = ModelStatus(name, version, ModelState.FAILED, reason=error.message)
        self._failed[name, version] = status
        self._publish()
        self._observer.model_changed(status)

    def _drop_failed(self, name: str) -> bool:
        keys = [key for key in self._failed if key[0] == name]
        for key in keys:
            self._observer.model_changed(dataclasses.replace(self._failed.pop(key), state=ModelState.GONE))
        return bool(keys)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(None, work)


def _check_same_signature(current: Deployment | None, new: Deployment, force: bool) -> None:
    if current is None or force or current.signature is None or new.signature is None:
        return
    if difference := current.signature.difference(new.signature):
        raise Conflict(
            f"the new model of {new.name!r} has other inputs or outputs than version {current.version}, which serves: "
            f"{difference}. Its callers would break; force=True (--force) replaces it all the same"
        )


def _overlaid(base: ModelConfig, config: Settings) -> ModelConfig:
    return config if isinstance(config, ModelConfig) else model_config(config or {}, base)

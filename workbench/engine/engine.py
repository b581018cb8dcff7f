"""The engine: a control plane that loads, swaps and unloads, and a path for requests that it never stands on."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from workbench.config import MAX_MODEL_TENSORS, Limits, ModelConfig, model_config
from workbench.core.description import Description
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.model import DesiredModel, ModelState, ModelStatus, check_model_name
from workbench.core.ports import Journal, Observer, Outcome, SharedAnswers
from workbench.core.provenance import Provenance
from workbench.core.run_marks import Culprit, ModelKey, RunMarks
from workbench.core.threads import in_thread
from workbench.core.version_plan import VersionPlan
from workbench.engine.arbiter import Arbiters
from workbench.engine.deployment import Deployment, Trial
from workbench.engine.inline_execution import LoopShare
from workbench.engine.memory_footprint import Footprints
from workbench.engine.model_changes import (
    DRAIN_TIMEOUT_S,
    LoadResult,
    ModelChanges,
    check_same_signature,
    ended,
    take_policy_of,
)
from workbench.engine.noop import NoopJournal, NoopObserver
from workbench.engine.pipeline_deployment import PipelineDeployment
from workbench.engine.request_queue import Completion
from workbench.engine.routing_control import RoutingControl
from workbench.engine.served import Served
from workbench.engine.sources import Found, ModelSource, Sources, source_of
from workbench.engine.version_control import VersionControl
from workbench.errors import (
    Conflict,
    Draining,
    InvalidInput,
    ModelError,
    ModelNotFound,
    StorageError,
    Unavailable,
    WorkbenchError,
)
from workbench.repository.desired_state import HARMFUL
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore, StoredModel
from workbench.runtimes.registry import Opener
from workbench.runtimes.registry import open_session as open_registered

CODE_IN_A_FILE = (
    "it is a Python function, and to load it is to run its code as the service's user. "
    "If you trust whoever made it, say so: %infer load NAME FILE --allow-code, "
    "wb.load(NAME, FILE, allow_code=True), or allow_code in the request"
)

CODE_IN_A_REPOSITORY = (
    "it is a Python function, and those of a model repository or of --load are run only by a service that was started "
    "with --python-functions on; or load its file by path: %infer load NAME FILE --allow-code"
)

CLOSE_TIMEOUT_S = 5.0
"""Seconds for sessions to give back their memory when the engine closes; then the end of the process does."""

Settings: TypeAlias = ModelConfig | Mapping[str, object] | None


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
        open_session: Opener = open_registered,
        clock: Callable[[], float] = time.monotonic,
        limits: Limits | None = None,
        why_no_code: str = "",
        marks: RunMarks | None = None,
        shared_answers: SharedAnswers | None = None,
    ) -> None:
        """`limits` are those of requests that come from outside; a model that no request can call is told by them.
        `why_no_code`: the reason why no model that is code is run, whatever its load says; empty: there is none.
        `marks` are where runs are noted for the supervisor, which reads them when this process has died.
        `shared_answers` are the second level of the models' result caches."""
        self.clock = clock
        self._limits = limits or Limits()
        self._sources = Sources(store, repositories)
        self._observer = observer or NoopObserver()
        self._journal = journal or NoopJournal()
        self._open_session = open_session
        self._arbiters = Arbiters()
        self._footprints = Footprints()
        self._marks = marks or RunMarks()
        self._shared_answers = shared_answers
        self._changes = ModelChanges(
            self._sources,
            self._made,
            observer=self._observer,
            journal=self._journal,
            trial=trial,
            why_no_code=why_no_code,
            clock=clock,
        )
        self._deployments = self._changes.deployments
        self.versions = VersionControl(self._changes)
        """Changes of what a name stands for beside its routed version."""
        self.routing = RoutingControl(self._changes)
        """Changes of which versions get its calls, or copies of them."""
        self.given_up: list[Culprit] = []
        """What served until a run did not end (`give_up_stuck`)."""
        self.loop_time = LoopShare()
        """What runs on the event loop's own thread have cost it, of all models since the start."""

    # Requests

    async def infer(self, request: InferRequest) -> InferResponse:
        """One answer or one error. Cancelling the awaiting task drops the request where it has not yet been run.

        Raises ModelNotFound, Unavailable, InvalidInput, QueueFull, DeadlineExceeded, Cancelled, ExecutionError.
        """
        future = asyncio.get_running_loop().create_future()
        self.submit(request, future)
        response: InferResponse = await future
        return response

    def submit(self, request: InferRequest, promise: Completion) -> None:
        """As `infer`, for callers that have no task to await it in. What is wrong with the request itself is raised at
        once, and then it was not accepted; the promise, which may be kept before this returns, has the rest."""
        try:
            deployment = self._deployments.table.target(request.model, request.version)
        except Unavailable:  # of a model that is known, so it is counted as others are
            known = self.status(request.model, request.version)
            self._observer.request_done(known.name, known.version, Outcome.REJECTED, None)
            raise
        except ModelNotFound:
            if self._changes.closing:  # and so no model is routed to any more
                raise Draining("the service is shutting down") from None
            raise
        deployment.submit(request, promise)

    def is_remembered(self, name: str) -> bool:
        """Whether the journal holds the model, so that it comes back after a restart whatever the repositories hold."""
        return name in self._changes.persisted

    # Life

    @property
    def ready(self) -> bool:
        """True while requests are taken."""
        return self._changes.started and not self._changes.closing

    async def start(self) -> None:
        self._changes.started = True

    async def close(self, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Refuse what comes, finish what was accepted, give everything back."""
        self._changes.closing = True
        self._deployments.clear()
        until = self.clock() + drain_timeout_s
        # Pipelines first: the stages of what they accepted still need the others.
        if pipelines := [
            self._changes.retire(each, drain_timeout_s)
            for each in self._ready()
            if isinstance(each, PipelineDeployment)
        ]:
            await asyncio.wait(pipelines, timeout=drain_timeout_s)
        drain_timeout_s = max(0.0, until - self.clock())
        for deployment in self._ready():  # what loads sees that all is closing, and ends itself
            self._changes.retire(deployment, drain_timeout_s)
        if self._changes.leaving:
            await asyncio.wait(self._changes.leaving.values(), timeout=drain_timeout_s)
        for deployment in self._deployments.living:
            deployment.abandon()
        if self._changes.leaving:
            await asyncio.wait(self._changes.leaving.values(), timeout=CLOSE_TIMEOUT_S)

    # Control

    async def load(
        self,
        name: str,
        source: Path | bytes | None = None,
        config: Settings = None,
        *,
        force: bool = False,
        persist: bool = True,
        allow_code: bool = False,
        even_harmful: bool = True,
        route: bool = True,
        among: Collection[str] = (),
        anew: Collection[str] = (),
    ) -> LoadResult:
        """Load, warm and route to a model; the version before it drains, and no request fails because of it.

        `source` is an ONNX file, a model's folder (NAME itself: VERSION/model.onnx, the highest version is taken, or
        model.onnx), the file's bytes, or None: from the repositories, or else the stored file of what Failed under this
        name. All are copied into the store, but for a repository that is served in place.
        `config` is laid over the folder's model.toml. Where the same digest serves already nothing is loaded again.
        The journal is told before this returns, but for what the repositories hold, and unless `persist` is False.
        A model that is its author's code is refused unless `allow_code`; one that is quarantined for its runs, unless
        `even_harmful`. Without `route` it is a version beside the routed one, for requests that name it.
        Which versions of a folder are loaded, and which stay when another is routed to, says its setting `versions`.
        From the repositories no versions but `among` are taken, if any are given, and those of `anew` are loaded again
        where their files are others by now.
        Raises Conflict where inputs or outputs would change, unless `force`; StorageError where the disk is full, and
        what served goes on.
        """
        check_model_name(name)
        if source is None:
            stored = next((status for status in self._deployments.failures(name) if status.digest), None)
            if route and stored is not None and not await in_thread(lambda: self._sources.versions(name)):
                settings = _overlaid(stored.config, config)
                return await self.restore(DesiredModel(name, stored.version, stored.digest, settings), suspect=True)
            await self._load_stages(name, (), allow_code)
        options = {"force": force, "persist": persist, "allow_code": allow_code, "even_harmful": even_harmful}
        return await self._load(name, source, config, **options, route=route, among=among, anew=anew)

    async def _load(
        self,
        name: str,
        source: Path | bytes | None,
        config: Settings,
        *,
        force: bool,
        persist: bool,
        allow_code: bool,
        even_harmful: bool = True,
        route: bool = True,
        among: Collection[str] = (),
        anew: Collection[str] = (),
    ) -> LoadResult:
        began = self.clock()
        async with self._changes.changing(name):
            try:
                found = await in_thread(lambda: self._sources.find(name, source, among))
            except (ModelError, InvalidInput) as error:
                # A path that is wrong is no model that failed, unless it is to be served at each start.
                if isinstance(error, ModelError) or source is None or not persist:
                    self._changes.note_failure(name, error, source, asked=persist and source is not None, among=among)
                raise
            current = self._deployments.routed(name)
            for status in self._deployments.failures(name) if not even_harmful else ():
                if status.digest == found.source.digest and status.reason.startswith(HARMFUL):
                    raise ModelError(status.reason)
            base = found.config or (current.config if current is not None else found.source.own_config)
            settings = _overlaid(base, config)
            if not route and (same := self.versions.same(name, source=found.source)) is not None:
                return LoadResult(same.status(), True, None, self.clock() - began)
            same_file = current is not None and current.source.digest == found.source.digest
            if (
                current is not None
                and (same_file or (found.config is None and current.source.is_same_model(found.source)))
                and current.source.described.same_sequences(found.source.described)
                and found.version in (None, current.version)
            ):
                if not same_file:  # but for metadata, as a file that is exported anew
                    self._changes.left_over.add(found.source.digest)
                if found.config is not None:  # from a folder, which may say otherwise than it did
                    current.describe(found.source.described)
                result = await self._changes.reconfigured(current, settings, began)
                persist = name in self._changes.persisted
                await self.versions.load_others(name, found, settings, persist=persist, anew=anew)
                return result
            persist = persist and source is not None
            version = found.version or self._changes.next_version(name)
            refusal = "" if allow_code else CODE_IN_A_FILE if persist else CODE_IN_A_REPOSITORY
            if not route:
                self.versions.check_free(name, version)
            deployment = await self._changes.opened(
                name, version, found.source, settings, persist=persist, code_refusal=refusal
            )
            try:
                if not route:
                    return await self.versions.hold(deployment, began)
                check_same_signature(current, deployment, force)
                result = await self._changes.take_in(deployment, began, persist=persist)
            except (Conflict, StorageError):
                await ended(self._changes.retire(deployment))
                await self._changes.settle(name, persist)
                raise
            await self.versions.load_others(name, found, settings, persist=persist, code_refusal=refusal, anew=anew)
            return result

    async def stage(
        self,
        name: str,
        model: StoredModel | Path,
        config: Settings = None,
        *,
        allow_code: bool = False,
        keep_s: float | None = None,
        route: bool = True,
    ) -> LoadResult:
        """Load and warm a new version that nothing is routed to; it answers requests which name it. A path is a file
        or a folder as for `load`, and so is `allow_code`.

        `commit` or `discard` it; after `keep_s` seconds it is discarded where its caller did neither, as one that was
        killed. Where the same digest is routed already, or is loaded without `route`: unchanged, and nothing is staged.
        """
        check_model_name(name)
        began = self.clock()
        async with self._changes.changing(name):
            if isinstance(model, Path):
                found = await in_thread(lambda: self._sources.find(name, model))
            else:
                found = Found(source_of(model))
            source = found.source
            current = self._deployments.routed(name)
            base = found.config or (current.config if current is not None else source.own_config)
            settings = _overlaid(base, config)
            if not route and (same := self.versions.same(name, source=source)) is not None:
                return LoadResult(same.status(), True, None, self.clock() - began)
            if current is not None and current.source.is_same_model(source):
                return await self._changes.reconfigured(current, settings, began)
            version = self._changes.next_version(name)
            refusal = "" if allow_code else CODE_IN_A_FILE
            deployment = await self._changes.opened(name, version, source, settings, persist=True, code_refusal=refusal)
            await self._changes.settle(name, True)
            if keep_s is not None:
                asyncio.get_running_loop().call_later(keep_s, self._drop_uncommitted, deployment)
            previous = current.version if current else None
            return LoadResult(deployment.status(), False, previous, self.clock() - began)

    async def commit(
        self,
        name: str,
        version: str,
        *,
        force: bool = False,
        provenance: Provenance | None = None,
        route: bool = True,
    ) -> LoadResult:
        """Route to a staged version; the one before drains. Conflict where the signature changed, unless `force`.
        Without `route` it stays beside the routed one, for requests that name it.

        `provenance` is kept with the version and told in its status, also after a restart."""
        began = self.clock()
        async with self._changes.changing(name):
            deployment = self._changes.version(name, version)
            current = self._deployments.routed(name)
            if deployment is current:
                return LoadResult(deployment.status(), True, None, self.clock() - began)
            if route:
                check_same_signature(current, deployment, force)
            if provenance is not None:
                source = deployment.source
                deployment.describe(await in_thread(lambda: self._sources.keep_provenance(name, source, provenance)))
            if not route:
                return await self.versions.hold(deployment, began)
            if deployment.version in self.versions.plan(name).beside:
                take_policy_of(current, deployment)
            return await self._changes.take_in(deployment, began, persist=not deployment.source.in_place)

    async def restore(self, model: DesiredModel, *, suspect: bool = False) -> LoadResult:
        """Serve again what served before this process began: the same file, version and settings, routed.

        A `suspect` is tried out first, whatever came of earlier trials. Where it fails it is listed as Failed, and
        stays desired. Raises ModelError.
        """
        name = check_model_name(model.name)
        began = self.clock()
        async with self._changes.changing(name):
            current = self._deployments.routed(name)
            if current is not None and name in self._changes.persisted:  # somebody was faster: theirs is the later word
                return LoadResult(current.status(), True, None, self.clock() - began)
            try:
                source = await in_thread(lambda: self._sources.stored(model))
                deployment = await self._changes.opened(
                    name, model.version, source, model.config, persist=False, again=suspect, restored=model
                )
            except ModelError as error:
                if not self._deployments.failed(name):
                    self.quarantine(model, error.message)
                raise
            finally:
                # Alive, so nothing is suspected of it. Where this cannot be noted the model serves all the same.
                with suppress(StorageError):
                    await in_thread(lambda: self._journal.serving(model))
            self._changes.persisted.add(name)
            return self._changes.swap_in(deployment, began)

    def quarantine(self, model: DesiredModel, reason: str) -> None:
        """List a model as Failed without loading it; a load under its name clears that."""
        status = ModelStatus(
            model.name, model.version, ModelState.FAILED, reason=reason, config=model.config, digest=model.digest
        )
        self._deployments.fail(status)
        self._observer.model_changed(status)

    async def discard(self, name: str, version: str) -> None:
        """Drop a staged version. Conflict for the one that is routed to."""
        async with self._changes.changing(name):
            deployment = self._changes.version(name, version)
            if deployment is self._deployments.routed(name):
                raise Conflict(f"version {version} of model {name!r} serves; unload the model instead")
            await ended(self._changes.retire(deployment))

    async def unload(self, name: str, version: str | None = None) -> None:
        """Drain and drop every version, or one that is not routed to. ModelNotFound where it is neither loaded nor
        failed, Conflict for the routed one while there are others."""
        check_model_name(name)
        if version is not None:
            await self.versions.unload(name, version)
            return
        async with self._changes.changing(name, even_lent=True):
            deployments = self._deployments.of(name)
            if not deployments and not self._deployments.failed(name):
                raise ModelNotFound(f"Request for unknown model: {name!r} is not loaded, so it cannot be unloaded")

            def drop() -> list[asyncio.Task[None]]:
                self._changes.persisted.discard(name)
                self._deployments.arrange(name, VersionPlan())
                self._changes.drop_failed(name)
                return [self._changes.retire(each) for each in deployments]

            await ended(*await self._changes.noted(lambda: self._journal.unloaded(name), drop))

    async def configure(self, name: str, settings: Mapping[str, object]) -> LoadResult:
        """Change settings of the routed version: live where that is possible, else by a reload off the path."""
        check_model_name(name)
        began = self.clock()
        async with self._changes.changing(name):
            current = self._deployments.table.choose(name, None)
            return await self._changes.reconfigured(current, model_config(settings, current.config), began)

    @asynccontextmanager
    async def lend(self, name: str, settings: Mapping[str, object]) -> AsyncIterator[ModelStatus]:
        """`settings` in force for as long as the context lasts, and noted nowhere: after it, and after a restart of the
        service, those from before hold. Meanwhile the model can be unloaded, but not changed otherwise: Conflict.

        Only live settings can be lent. Raises InvalidInput, Conflict, ModelNotFound.
        """
        check_model_name(name)
        async with self._changes.changing(name):
            current = self._deployments.table.choose(name, None)
            before = current.config
            lent = model_config(settings, before)
            changed = [f.name for f in dataclasses.fields(lent) if getattr(lent, f.name) != getattr(before, f.name)]
            if fixed := [each for each in changed if not current.takes_live(each)]:
                raise InvalidInput(f"{', '.join(fixed)} cannot change without a reload, so it cannot be lent")
            self._changes.lent.add(name)
            current.configure(lent)
        try:
            yield current.status()
        finally:
            # No await from here on, so that a cancelled caller gives them back too.
            self._changes.lent.discard(name)
            if current.state is ModelState.READY:
                current.configure(before)

    def interrupt_stuck(self, limit_s: float) -> list[str]:
        """Have runs end that have taken longer than `limit_s`, where the runtime can end them; their models, each named
        once a run. Their callers get DeadlineExceeded, and the models go on."""
        return [deployment.name for deployment in self._deployments.living if deployment.interrupt(limit_s)]

    def give_up_stuck(self, limit_s: float) -> list[str]:
        """The models with a run that has taken longer than `limit_s`; their callers are answered, and only the end of
        the process gives back what the run holds."""
        stuck = []
        for deployment in self._deployments.living:
            if (ran_s := deployment.longest_run_s()) > limit_s and deployment.state is not ModelState.FAILED:
                if deployment.state is not ModelState.WARMING:
                    model = ModelKey(deployment.name, deployment.version, deployment.source.digest)
                    self.given_up.append(Culprit(model, deployment.stuck_caller(limit_s)))
                deployment.give_up(
                    f"a run of model {deployment.name!r} did not end within {ran_s:.0f} s (run_limit_s is "
                    f"{limit_s:g}), so the service is started anew"
                )
                stuck.append(deployment.name)
        return stuck

    def trim(self) -> None:
        """Have the runtimes give back memory that they keep for later runs. Blocks; from any thread."""
        for deployment in self._deployments.living:
            deployment.trim()

    # What there is

    def longest_run_s(self) -> float:
        """For how long the oldest run under way has been inside its runtime; 0 where none is."""
        return max((deployment.longest_run_s() for deployment in self._deployments.living), default=0.0)

    def status(self, name: str, version: str | None = None) -> ModelStatus:
        """Of the routed version, or of the one named, also by a label. ModelNotFound."""
        version = self._deployments.meant(name, version)
        found = [status for status in self.statuses(name) if version in (None, status.version)]
        if not found:
            self._deployments.table.choose(name, version)  # raises, saying what there is
            raise ModelNotFound(f"Request for unknown model: {name!r} is not found")
        return next((status for status in found if status.routed), found[-1])

    def describe(self, name: str, version: str | None = None) -> Description:
        """Of the routed version, or of the one named; of one that Failed only its status. ModelNotFound."""
        status = self.status(name, version)
        deployment = self._deployments.get(name, status.version)
        if deployment is None or status.state is ModelState.FAILED:
            return Description(status)
        return dataclasses.replace(deployment.description(), status=status)

    def classes_of(self, epoch: str) -> tuple[bool, Mapping[str, Sequence[str]]]:
        """Whether the load named by `epoch`, which may be draining, is batched; and output -> what its elements are
        called, of those that have such names."""
        for deployment in self._deployments.living:
            if deployment.epoch == epoch:
                return deployment.max_batch_size > 0, deployment.labels
        return False, {}

    def tensors_of(self, name: str, version: str | None) -> int:
        """The inputs of a serving model, or its outputs where those are more; 0 where it is not known. Any thread may
        ask."""
        try:
            signature = self._deployments.table.choose(name, version).signature
        except WorkbenchError:
            return 0
        found = max(len(signature.inputs), len(signature.outputs)) if signature is not None else 0
        return min(found, MAX_MODEL_TENSORS)

    def rows_of(self, request: InferRequest) -> int:
        """The rows of a request for a batched model that serves; 1 for another one, and where it has none."""
        try:
            batched = self._deployments.table.choose(request.model, request.version).max_batch_size > 0
        except WorkbenchError:
            return 1
        if not batched:
            return 1
        return max((len(array) for array in request.inputs.values() if array.ndim), default=1) or 1

    def source(self, name: str, version: str | None = None) -> ModelSource:
        """The files of the routed version, or of the one named. ModelNotFound, Unavailable."""
        return self._deployments.table.choose(name, version).source

    def note(self, name: str, notes: Sequence[str]) -> None:
        """Have the status of the routed version say these of the settings that came with its load."""
        deployment = self._deployments.routed(name)
        if deployment is not None:
            deployment.note(notes)

    def routes_counted(self) -> Mapping[tuple[str, str, str], int]:
        """Accepted requests by model, version and the way that brought them, where that is not the usual one."""
        return self._deployments.counts.counted()

    def statuses(self, name: str | None = None) -> list[ModelStatus]:
        """Every version that is known, by name and version: also what loads, drains or Failed."""
        return [status for status in self._deployments.statuses() if name in (None, status.name)]

    def available(self) -> list[tuple[str, str]]:
        """(name, version) of what lies in the repositories, loaded or not. Reads folders."""
        return self._sources.available()

    def take_left_over(self) -> set[str]:
        """Digests of files whose load since the last call came to nothing: they failed, or serve already."""
        found, self._changes.left_over = self._changes.left_over, set()
        return found

    @property
    def changing(self) -> bool:
        """True while any model is being loaded, changed or unloaded."""
        return any(lock.locked() for lock in self._changes.locks.values())

    # Below: how

    def _made(self, name: str, version: str, source: ModelSource, config: ModelConfig, restored: bool, /) -> Served:
        if source.runtime.opener:
            return Deployment(
                name,
                version,
                source,
                config,
                observer=self._observer,
                open_session=self._open_session,
                clock=self.clock,
                arbiters=self._arbiters,
                loop_time=self.loop_time,
                footprints=self._footprints,
                limits=self._limits,
                marks=self._marks,
                shared_answers=self._shared_answers,
            )
        return PipelineDeployment(
            name,
            version,
            source,
            config,
            observer=self._observer,
            clock=self.clock,
            members=self._deployments,
            limits=self._limits,
            restored=restored,
        )

    async def _load_stages(self, name: str, above: tuple[str, ...], allow_code: bool) -> None:
        """Load the models of an ensemble in the repositories, as far as these have them and nothing serves them yet.

        Before the ensemble's own lock is taken: one that leads back to itself is refused when it is opened."""
        above = (name, *above)
        for stage in await in_thread(lambda: self._sources.stages(name)):
            if stage in above or self._deployments.routed(stage) is not None or not self._sources.versions(stage):
                continue
            await self._load_stages(stage, above, allow_code)
            with suppress(ModelError, InvalidInput):  # the ensemble says which stage is missing
                await self._load(stage, None, None, force=False, persist=False, allow_code=allow_code)

    def _drop_uncommitted(self, deployment: Served) -> None:
        """Drop a version that was staged and never committed. One that a change of its model is under way for is left
        alone until the next look."""
        name = deployment.name
        if self._deployments.get(name, deployment.version) is not deployment or deployment.routed:
            return
        if deployment.version in self._changes.plan(name).beside:
            return
        routed = self._deployments.routed(name)
        if isinstance(routed, Deployment) and routed.fallback is deployment:
            return  # it was committed, and another version has taken over since
        if self._changes.locks[name].locked():
            asyncio.get_running_loop().call_later(1.0, self._drop_uncommitted, deployment)
            return
        self._changes.left_over.add(deployment.source.digest)
        self._changes.retire(deployment)

    def _ready(self) -> list[Served]:
        return [each for each in self._deployments.living if each.state is ModelState.READY]


def _overlaid(base: ModelConfig, config: Settings) -> ModelConfig:
    return config if isinstance(config, ModelConfig) else model_config(config or {}, base)

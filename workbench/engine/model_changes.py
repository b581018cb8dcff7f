"""The steps that every change of a model is made of: one change of a model at a time, noted on the disk before it is
done, opened off the requests' path, swapped in, and retired."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from workbench.config import ModelConfig
from workbench.core.model import DesiredModel, ModelState, ModelStatus, check_model_name, check_model_version
from workbench.core.ports import Journal, Observer
from workbench.core.threads import in_thread
from workbench.core.version_plan import VersionPlan
from workbench.engine.deployment import Deployment, Trial
from workbench.engine.deployments import Deployments
from workbench.engine.served import Served
from workbench.engine.sources import ModelSource, Sources
from workbench.errors import (
    Conflict,
    Draining,
    ModelError,
    ModelNotFound,
    StorageError,
    Unavailable,
    WorkbenchError,
    signature_changed,
)
from workbench.repository.desired_state import HARMFUL
from workbench.versions.version_policy import after_routing, of_shares_with, pinned_differently, staying

DRAIN_TIMEOUT_S = 30.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The result of a change to a model."""

    status: ModelStatus
    unchanged: bool
    """True: the same model with the same settings serves already, so nothing was done."""
    previous: str | None
    """The version that was routed before, the same one where only settings changed; None where there was none, or
    nothing changed."""
    seconds: float
    live: bool = False
    """True: settings changed, and nothing was loaded for it."""


class Make(Protocol):
    """Makes a deployment of one version, which is still to be opened."""

    def __call__(
        self, name: str, version: str, source: ModelSource, config: ModelConfig, restored: bool, /
    ) -> Served: ...


class ModelChanges:
    """Belongs to the event loop's thread. The engine's verbs are made of its methods, and only they call these."""

    def __init__(
        self,
        sources: Sources,
        make: Make,
        *,
        observer: Observer,
        journal: Journal,
        trial: Trial | None,
        why_no_code: str,
        clock: Callable[[], float],
    ) -> None:
        self.sources = sources
        self.observer = observer
        self.journal = journal
        self.clock = clock
        self.deployments = Deployments(clock)
        self.started = self.closing = False
        self.persisted: set[str] = set()
        """The models whose routed version the journal holds."""
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.lent: set[str] = set()
        """The models whose settings are a borrower's."""
        self.leaving: dict[Served, asyncio.Task[None]] = {}
        self.left_over: set[str] = set()
        """Digests of files whose load came to nothing."""
        self._make = make
        self._trial = trial
        self._why_no_code = why_no_code

    @asynccontextmanager
    async def changing(self, name: str, *, even_lent: bool = False) -> AsyncIterator[None]:
        if self.closing:
            raise Draining("the service is shutting down")
        if not self.started:
            raise Unavailable("the engine was not started")
        async with self.locks[name]:
            if name in self.lent and not even_lent:
                raise Conflict(
                    f"the settings of model {name!r} are lent to a load test, which gives them back when it ends; "
                    "wait for it, or stop it"
                )
            yield

    async def reconfigured(self, current: Served, config: ModelConfig, began: float) -> LoadResult:
        changed = [
            f.name for f in dataclasses.fields(config) if getattr(config, f.name) != getattr(current.config, f.name)
        ]
        if not changed:
            return LoadResult(current.status(), True, None, self.clock() - began)
        live = all(current.takes_live(each) for each in changed)
        name = current.name
        persist = name in self.persisted
        if live:
            desired = DesiredModel(name, current.version, current.source.digest, config)
            plan = staying(self.plan(name), config.versions, current.version)
            beside = self.beside(name, plan)

            def configure() -> None:
                current.configure(config)
                if isinstance(current, Deployment) and current.fallback is not None and config.fallback == "none":
                    if current.fallback.version not in plan.beside:
                        self.retire(current.fallback)
                    current.fallback = None
                self.arrange(name, plan)

            await self.noted(lambda: self.journal.serving(desired, plan, beside) if persist else None, configure)
            return LoadResult(current.status(), False, current.version, self.clock() - began, live=True)
        await in_thread(current.source.check_unchanged)
        deployment = await self.opened(name, current.version, current.source, config, persist=persist)
        try:
            return await self.take_in(deployment, began, persist=persist)
        except StorageError:
            await ended(self.retire(deployment))
            await self.settle(name, persist)
            raise

    async def opened(
        self,
        name: str,
        version: str,
        source: ModelSource,
        config: ModelConfig,
        *,
        persist: bool,
        again: bool = False,
        restored: DesiredModel | None = None,
        code_refusal: str = "",
    ) -> Served:
        """A deployment that is Ready and not routed; `persist`: the journal holds an attempt, which is to be settled.
        With `restored` the attempt is one to restore. With `code_refusal` a model that is code fails by that reason."""

        left = threading.Event()

        def prepare() -> None:
            if source.runtime.runs_code and (refusal := self._why_no_code or code_refusal):
                raise ModelError(refusal)
            if self._trial is not None:
                self._trial(source, config, again=again)
            if left.is_set():
                raise Unavailable("the load was given up")
            # Only now: whatever ends the process during the trial, it was not this model.
            if persist:
                self.journal.attempting(DesiredModel(name, version, source.digest, config))
            elif restored is not None:
                with suppress(StorageError):
                    self.journal.restoring(restored)

        deployment = self._make(name, version, source, config, restored is not None)
        failed_before = self.deployments.failed(name)
        # Shows as Loading; where it is to replace one of the same version, that one goes on showing itself.
        added = self.deployments.add(deployment)
        try:
            await deployment.open(prepare)
            if self.closing:
                raise Draining("the service is shutting down")
        except BaseException as error:
            left.set()  # what still runs on a thread notes nothing any more
            self.deployments.remove(deployment)
            # A disk that is full is no fault of the model's.
            if added and deployment.state is ModelState.FAILED and not isinstance(error, StorageError):
                self.list_failed(deployment.status(), asked=persist and not failed_before)
            await deployment.close()
            self.deployments.buried(deployment)
            await self.settle(name, persist)
            raise
        return deployment

    async def take_in(
        self, deployment: Served, began: float, *, persist: bool, plan: VersionPlan | None = None
    ) -> LoadResult:
        """Note it, then route to it. `plan` is what the name then stands for, by default what a new version changes of
        it. StorageError, and then nothing has changed."""
        name = deployment.name
        desired = _desired(deployment)
        harmful = any(status.reason.startswith(HARMFUL) for status in self.deployments.failures(name))
        plan = self._fitting(plan or self._plan_with(deployment), deployment)
        noted = plan if persist else _of_no_repository(plan)
        beside = self.beside(name, noted)

        def note() -> None:
            if persist:
                self.journal.serving(desired, plan, beside)
                return
            if name in self.persisted or harmful:
                self.journal.unloaded(name)
            if noted != VersionPlan():
                self.journal.arranged(name, noted, beside)

        def swap() -> LoadResult:
            (self.persisted.add if persist else self.persisted.discard)(name)
            return self.swap_in(deployment, began, plan)

        return await self.noted(note, swap)

    async def noted(self, note: Callable[[], None], act: Callable[[], Result]) -> Result:
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

    async def settle(self, name: str, persist: bool) -> None:
        # Where this cannot be noted, a process that dies will be found to have died of this attempt: one load more.
        if persist:
            with suppress(StorageError):
                await in_thread(lambda: self.journal.settled(name))

    def swap_in(self, deployment: Served, began: float, plan: VersionPlan | None = None) -> LoadResult:
        kept, over = self._kept_beside(deployment)
        plan = plan or self._plan_with(deployment)
        stay = [each for each in self.deployments.of(deployment.name) if each.version in plan.beside]
        earlier = self.plan(deployment.name)
        before, displaced = self.deployments.route(deployment, plan, [*stay, *([kept] if kept is not None else [])])
        self.drop_failed(deployment.name)
        if isinstance(deployment, Deployment):
            deployment.fallback = kept
        if before is not None and before is not deployment:
            before.place(False, plan.labels_of(before.version))
        for each in (*displaced, *(each for each in over if each.version not in plan.beside)):
            self.retire(each)
        self._retire_left(deployment.name, earlier, plan, kept)
        return LoadResult(deployment.status(), False, before.version if before else None, self.clock() - began)

    # Versions beside the routed one

    def plan(self, name: str) -> VersionPlan:
        return self.deployments.plan(name)

    def arrange(self, name: str, plan: VersionPlan) -> None:
        """`plan` holds from now on. What it does not keep of those that the plan before did is retired."""
        before = self.plan(name)
        self.deployments.arrange(name, plan)
        self._retire_left(name, before, plan, None)

    def _retire_left(self, name: str, before: VersionPlan, plan: VersionPlan, but: Served | None) -> None:
        leave = set(before.beside) - set(plan.beside)
        for each in self.deployments.of(name):
            if each.version in leave and each not in (but, self.deployments.routed(name)):
                self.retire(each)

    def beside(self, name: str, plan: VersionPlan) -> list[DesiredModel]:
        """The loaded ones of those that the plan keeps beside the routed version, for the journal."""
        kept = (each for each in self.deployments.of(name) if each.version in plan.beside)
        return [_desired(each) for each in kept if not each.source.in_place]

    async def change_plan(self, name: str, plan: VersionPlan) -> None:
        """Note it, then have it hold. StorageError, and then nothing has changed. Of a name whose routed version the
        journal does not hold, only what no repository gives is noted."""
        noted = plan if name in self.persisted else _of_no_repository(plan)
        beside = self.beside(name, noted)
        await self.noted(lambda: self.journal.arranged(name, noted, beside), lambda: self.arrange(name, plan))

    async def change_pins(self, name: str, plan: VersionPlan) -> None:
        """As `change_plan`, for a plan that may pin other versions than the one before: what it pins stays loaded, and
        of the others what the policy keeps."""
        routed = self.deployments.routed(name)
        if routed is not None:
            plan = pinned_differently(self.plan(name), plan, routed.config.versions, routed.version)
        await self.change_plan(name, plan)

    async def rearrange(self, routed: Served, plan: VersionPlan, began: float) -> LoadResult:
        """`change_pins` of a name whose routed version goes on being that."""
        unchanged = plan == self.plan(routed.name)
        await self.change_pins(routed.name, plan)
        return LoadResult(routed.status(), unchanged, routed.version, self.clock() - began, live=True)

    def _plan_with(self, new: Served) -> VersionPlan:
        """What a name stands for once `new` is routed to. Versions with other inputs lose their part of the calls."""
        name, plan, current = new.name, self.plan(new.name), self.deployments.routed(new.name)
        spans = {
            version: held
            for version, held in plan.spans.items()
            if (side := self.deployments.get(name, version)) is None or _same_calls(side, new)
        }
        plan = dataclasses.replace(plan, spans=spans, by=plan.by if spans else "")
        return after_routing(plan, new.config.versions, new.version, None if current is None else current.version)

    def _fitting(self, plan: VersionPlan, new: Served) -> VersionPlan:
        """`plan` without the shadow, and the versions of shares, that cannot take the calls of `new`, which is about to
        be routed to."""

        def fits(version: str) -> bool:
            other = self.deployments.get(new.name, version)
            return other is None or other is new or _same_calls(other, new)

        if plan.shares:
            plan = of_shares_with(plan, fits)
        if plan.shadow is not None and not fits(plan.shadow.version):
            plan = dataclasses.replace(plan, shadow=None)
        return plan

    def _kept_beside(self, new: Served) -> tuple[Deployment | None, list[Deployment]]:
        """What stays loaded for when `new`, which is about to be routed, fails; and what was kept so far and goes."""
        before = self.deployments.routed(new.name)
        if not isinstance(before, Deployment):
            return None, []
        # Loaded anew under its own version, a model keeps what it had to fall back to.
        kept = before if before.version != new.version else before.fallback
        if kept is not None and (new.config.fallback == "none" or kept is new or not _can_stand_in(kept, new)):
            kept = None
        return kept, [each for each in (before.fallback,) if each is not None and each not in (kept, new)]

    def lacks_fallback(self, routed: Served | None) -> bool:
        """Whether the settings of what is routed ask for a version to fall back to, and there is none."""
        return isinstance(routed, Deployment) and routed.fallback is None and routed.config.fallback != "none"

    def stand_in(self, kept: Served, routed: Served | None) -> bool:
        """Have `kept` answer where the breaker of `routed` is open. False: it cannot."""
        if not (isinstance(kept, Deployment) and isinstance(routed, Deployment) and _can_stand_in(kept, routed)):
            return False
        routed.fallback = kept
        return True

    def retire(self, deployment: Served, timeout_s: float = DRAIN_TIMEOUT_S) -> asyncio.Task[None]:
        """It answers nothing new from now on; the task, which `close` waits for too, ends when it is Gone."""
        self.deployments.remove(deployment)
        for other in self.deployments.of(deployment.name):
            if isinstance(other, Deployment) and other.fallback is deployment:
                other.fallback = None

        async def leave() -> None:
            await deployment.drain(timeout_s)
            await deployment.close()
            self.deployments.buried(deployment)
            del self.leaving[deployment]

        if deployment not in self.leaving:
            deployment.refuse()
            self.leaving[deployment] = asyncio.ensure_future(leave())
        return self.leaving[deployment]

    def version(self, name: str, version: str) -> Served:
        check_model_name(name)
        check_model_version(version)
        deployment = self.deployments.get(name, version)
        if deployment is None:
            raise ModelNotFound(f"Request for unknown model: {name!r} has no version {version} that is loaded")
        return deployment

    def next_version(self, name: str) -> str:
        plan = self.plan(name)
        named = [*plan.before, *plan.beside, *([str(plan.highest)] if plan.highest else [])]
        return self.deployments.next_version(name, [*self.sources.versions(name), *named])

    def list_failed(self, status: ModelStatus, *, asked: bool) -> None:
        """Where a user `asked` for the load, the user has the error, and nothing is left of what never served."""
        if asked:
            self.left_over.update({status.digest} - {""})
            self.observer.model_changed(dataclasses.replace(status, state=ModelState.GONE))
        else:
            self.deployments.fail(status)

    def note_failure(
        self,
        name: str,
        error: WorkbenchError,
        source: Path | bytes | None,
        *,
        asked: bool,
        among: Collection[str] = (),
    ) -> None:
        known = (sorted(among, key=int) or self.sources.versions(name)) if source is None else []
        version = known[-1] if known else self.next_version(name)
        status = ModelStatus(name, version, ModelState.FAILED, reason=error.message)
        self.observer.model_changed(status)
        self.list_failed(status, asked=asked and not self.deployments.failed(name))

    def drop_failed(self, name: str, version: str | None = None) -> None:
        for status in self.deployments.drop_failed(name, version):
            self.observer.model_changed(status)


async def ended(*tasks: asyncio.Task[None]) -> None:
    """Wait for them; unlike awaiting them, being cancelled here does not cancel them."""
    if tasks:
        await asyncio.wait(tasks)


def check_same_signature(current: Served | None, new: Served, force: bool) -> None:
    if current is None or force or current.signature is None or new.signature is None:
        return
    if difference := current.signature.difference(new.signature):
        raise signature_changed(new.name, current.version, difference)


def take_policy_of(current: Served | None, new: Served) -> None:
    """Which versions stay loaded belongs to the model, not to one version of it: for one that was loaded before, and is
    about to be routed to."""
    if current is not None and new.config.versions != current.config.versions:
        new.configure(dataclasses.replace(new.config, versions=current.config.versions))


def _same_calls(one: Served, other: Served) -> bool:
    """Whether calls of one can be given to the other."""
    if one.signature is None or other.signature is None:
        return False
    return not one.signature.difference(other.signature) and other.status().sequence_config is None


def _can_stand_in(kept: Deployment, new: Served) -> bool:
    """Whether callers of `new` would not notice, but for the version, that another one answers."""
    if kept.state is not ModelState.READY or kept.signature is None or new.signature is None:
        return False
    return not kept.signature.difference(new.signature) and kept.max_batch_size == new.max_batch_size


def _desired(deployment: Served) -> DesiredModel:
    return DesiredModel(deployment.name, deployment.version, deployment.source.digest, deployment.config)


def _of_no_repository(plan: VersionPlan) -> VersionPlan:
    """What a restart would not find in the repository, or the flag, that the routed version is from."""
    return dataclasses.replace(plan, beside=tuple(each for each in plan.beside if each in plan.pinned))

"""Changes of what a model's name stands for beside its routed version: which others stay loaded."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from workbench.config import ModelConfig
from workbench.core.model import DesiredModel, ModelState, check_model_name, check_model_version
from workbench.core.threads import in_thread
from workbench.core.version_plan import ShadowPlan, VersionPlan
from workbench.engine.deployment import Deployment
from workbench.engine.model_changes import LoadResult, ModelChanges, check_same_signature, ended
from workbench.engine.served import Served
from workbench.engine.shadow_traffic import ShadowTraffic
from workbench.engine.sources import Found, ModelSource
from workbench.errors import Conflict, InvalidInput, ModelError, ModelNotFound, StorageError, Unavailable, Unsupported
from workbench.versions.copied_rows import tells_agreement
from workbench.versions.labels import moved, version_meant
from workbench.versions.shadow_sample import check_shadow, shadow_asked
from workbench.versions.traffic_split import checked_weights, spread
from workbench.versions.version_policy import (
    after_routing,
    pinned_differently,
    policy_of,
    taken_back,
    with_beside,
    with_held,
    without,
)

log = logging.getLogger("workbench.engine")


class VersionControl:
    """Belongs to the event loop's thread. `same`, `check_free`, `hold` and `load_others` are steps of a load, and are
    called while it holds the model's lock."""

    def __init__(self, changes: ModelChanges) -> None:
        self._changes = changes
        self._deployments = changes.deployments

    def plan(self, name: str) -> VersionPlan:
        """What the name stands for beside its routed version."""
        return self._changes.plan(name)

    # Steps of a load

    def same(self, name: str, source: ModelSource) -> Served | None:
        """What is loaded of this file already, and is no staged version."""
        beside = self._changes.plan(name).beside
        loaded = (each for each in self._deployments.of(name) if each.routed or each.version in beside)
        return next((each for each in loaded if each.source.is_same_model(source)), None)

    def check_free(self, name: str, version: str) -> None:
        """Conflict where a version is loaded, so that another file cannot be loaded beside it."""
        if self._deployments.get(name, version) is not None:
            raise Conflict(
                f"version {version} of model {name!r} is loaded already, of another file: give the new file the folder "
                "of a new version, or unload that version first"
            )

    async def hold(self, deployment: Served, began: float) -> LoadResult:
        """It stays loaded beside the routed version. StorageError, and then nothing has changed."""
        name = deployment.name
        await self._changes.change_plan(name, with_held(self._changes.plan(name), deployment.version))
        routed = self._deployments.routed(name)
        previous = routed.version if routed is not None else None
        return LoadResult(deployment.status(), False, previous, self._changes.clock() - began)

    def take_policy_of(self, current: Served | None, new: Served) -> None:
        """Which versions stay loaded belongs to the model, not to one version of it: for one that was loaded before,
        and is about to be routed to."""
        if current is not None and new.config.versions != current.config.versions:
            new.configure(replace(new.config, versions=current.config.versions))

    async def load_others(
        self,
        name: str,
        found: Found,
        config: ModelConfig,
        *,
        persist: bool,
        code_refusal: str = "",
        anew: Collection[str] = (),
    ) -> None:
        """Load the further versions of a folder that the setting `versions` asks for, and those of `anew` also where
        they are loaded. One that fails is listed as Failed, where it is not one of a user's own folder, and logged; the
        others serve, and so does what was loaded of its version."""
        if found.beside is None or config.versions in ("latest", "latest:1"):
            return
        repository, folder = found.beside
        there = await in_thread(lambda: repository.versions(folder))
        for version in reversed(policy_of(config.versions).of_folder(there)):
            current = self._deployments.get(name, version)
            if version == found.version or (current is not None and version not in anew):
                continue
            try:
                other = await in_thread(partial(self._changes.sources.another, found, name, version))
                if current is not None and (current.source.digest, current.config) == (other.source.digest, config):
                    continue
                opened = await self._changes.opened(
                    name, version, other.source, config, persist=persist, code_refusal=code_refusal
                )
                if current is not None:
                    await self._put_in_place(opened, current, persist)
                    continue
            except (ModelError, InvalidInput, Conflict) as error:
                log.error("version %s of model %s was not loaded: %s", version, name, error.message)
                continue
            await self._changes.change_plan(name, with_beside(self._changes.plan(name), version))

    async def _put_in_place(self, new: Served, current: Served, persist: bool) -> None:
        """Have `new` answer for `current`, of the same version, which drains. Conflict where its inputs or outputs are
        others, since it may get a part of the calls."""
        changes, name = self._changes, new.name
        try:
            check_same_signature(current, new, False)
        except Conflict:
            await ended(changes.retire(new))
            await changes.settle(name, persist)
            raise
        routed = self._deployments.routed(name)
        stood_in = isinstance(routed, Deployment) and routed.fallback is current
        self._deployments.take_place(new)
        changes.retire(current)
        if stood_in:
            changes.stand_in(new, routed)
        await changes.change_plan(name, changes.plan(name))  # where it is noted, it is so with its new file

    # Verbs

    async def rollback(self, name: str) -> LoadResult:
        """Route to the version that served before again, also where its inputs or outputs are others; a second call
        goes back to the one before that. Where the calls are split, only the split ends. A shadow ends with either.
        `live` of the result: it was still loaded.

        Conflict where none served before, or its file is not kept any more; ModelNotFound, Unavailable.
        """
        changes = self._changes
        began = changes.clock()
        async with changes.changing(check_model_name(name), even_lent=True):
            current = self._deployments.table.choose(name, None)
            plan = changes.plan(name)
            if plan.spans:
                after = self._pinned_differently(name, plan, replace(plan, spans={}, by="", shadow=None))
                await changes.change_plan(name, after)
                return LoadResult(current.status(), False, current.version, changes.clock() - began, live=True)
            if not plan.before:
                raise Conflict(
                    f"version {current.version} of model {name!r} is the first that serves since it was loaded, so "
                    "there is none to go back to"
                )
            back = plan.before[-1]
            deployment = self._deployments.get(name, back)
            loaded = deployment is not None and deployment.state is ModelState.READY
            if deployment is None or not loaded:
                deployment = await self._loaded_again(name, back)
            self.take_policy_of(current, deployment)
            plan = taken_back(plan, current.config.versions, current.version)
            try:
                result = await changes.take_in(deployment, began, persist=not deployment.source.in_place, plan=plan)
            except StorageError:
                if not loaded:
                    await ended(changes.retire(deployment))
                raise
            return replace(result, live=loaded)

    async def _loaded_again(self, name: str, version: str) -> Served:
        """A version that served before, from the store or the repositories. Conflict where it is in neither."""
        changes = self._changes
        model = await in_thread(lambda: changes.journal.remembered(name, version))
        if model is not None:
            source, config = await in_thread(lambda: changes.sources.stored(model)), model.config
        else:
            found = await in_thread(lambda: changes.sources.in_repositories(name, version))
            if found is None:
                raise Conflict(
                    f"version {version} of model {name!r}, which served before, is neither loaded nor kept any more: "
                    "load its file again"
                )
            source, config = found.source, found.config or found.source.own_config
        deployment = await changes.opened(name, version, source, config, persist=True)
        await changes.settle(name, True)
        return deployment

    async def label(self, name: str, labels: Mapping[str, str | None]) -> dict[str, str]:
        """Have each label point to its version, all at one moment; None takes one away. The labels from then on.

        A version with a label stays loaded. InvalidInput for what cannot be a label, and for a version that is not
        Ready; ModelNotFound.
        """
        changes = self._changes
        async with changes.changing(check_model_name(name)):
            if not (loaded := self._deployments.of(name)):
                self._deployments.table.choose(name, None)
            plan = changes.plan(name)
            ready = {each.version for each in loaded if each.state is ModelState.READY}
            after = replace(plan, labels=moved(plan.labels, labels, ready))
            await changes.change_plan(name, self._pinned_differently(name, plan, after))
            return dict(after.labels)

    async def route(
        self,
        name: str,
        weights: Mapping[str, float] | None = None,
        *,
        by: str = "",
        shadow: Mapping[str, float] | None = None,
        keep_rows: int = 0,
        wait: bool = False,
        force: bool = False,
    ) -> LoadResult:
        """Split the requests that name no version: each of these versions, or labels, gets its weight of them, and the
        routed version the rest. One with all of them is routed to, as by `commit`; without weights nothing is split.

        `shadow` has a version get a copy of this part of the requests, {}: none; `keep_rows` of those whose answers
        differ most are kept in memory. None, of both: it stays as it is.
        `by`: the value of this parameter of a request, or else its share, sticks to one side ("share": that alone).
        `wait`: until a change of the model that is under way, as a load, has ended. Of the result `previous` is the
        version that was routed before, `live` whether it still is.

        Raises InvalidInput for weights that cannot be, ModelNotFound and Unavailable for a version that is not Ready,
        Conflict for one with other inputs or outputs (unless `force`, to route to it), Unsupported for models with
        state.
        """
        changes = self._changes
        began = changes.clock()
        check_model_name(name)
        if not wait:
            for version in (*(weights or ()), *(shadow or ())):
                self._ready_version(name, version)
        async with changes.changing(name):
            plan, current = changes.plan(name), self._deployments.routed(name)
            if shadow is not None or keep_rows:
                plan = replace(plan, shadow=self._shadow(name, shadow or {}, by, keep_rows))
            if weights is None:
                return await self._shadowed(name, current, plan, began)
            asked = {self._ready_version(name, version).version: weight for version, weight in weights.items()}
            if len(asked) != len(weights):
                raise InvalidInput(f"a version of {', '.join(weights)} is named twice")
            if current is None and list(asked.values()) != [1]:
                raise Unavailable(
                    f"no version of model {name!r} is routed to yet: route all calls to one of them first"
                )
            given = checked_weights(asked, current.version if current is not None else "")
            if list(given.values()) == [1]:
                deployment = self._deployments.member(name, next(iter(given)))
                check_same_signature(current, deployment, force)
                self.take_policy_of(current, deployment)
                plan = after_routing(
                    replace(plan, spans={}, by=""),
                    deployment.config.versions,
                    deployment.version,
                    current.version if current is not None else None,
                )
                if plan.shadow is not None and shadow:
                    self._check_shadow(deployment, self._deployments.member(name, plan.shadow.version))
                persist = not deployment.source.in_place
                return await changes.take_in(deployment, began, persist=persist, plan=plan)
            assert current is not None
            for version in given:
                self._check_side(current, self._deployments.member(name, version))
            if plan.shadow is not None and shadow:
                self._check_shadow(current, self._deployments.member(name, plan.shadow.version))
            spans = spread(plan.spans, given)
            before, after = changes.plan(name), replace(plan, spans=spans, by=by if spans else "")
            await changes.change_plan(name, self._pinned_differently(name, before, after))
            return LoadResult(current.status(), before == after, current.version, changes.clock() - began, live=True)

    async def route_share(
        self, name: str, share: str, weights: Mapping[str, float], *, wait: bool = False
    ) -> LoadResult:
        """Have the calls without a version that come with a share, by its id, go by these weights, whatever others go
        by; the routed version gets the rest of them. Without weights they go as all others do. Raises as `route`."""
        changes = self._changes
        began = changes.clock()
        check_model_name(name)
        if not wait:
            for version in weights:
                self._ready_version(name, version)
        async with changes.changing(name):
            plan, current = changes.plan(name), self._deployments.routed(name)
            if current is None:
                self._deployments.table.choose(name, None)  # says what there is
                raise ModelNotFound(f"Request for unknown model: {name!r} is not found")
            asked = {self._ready_version(name, version).version: weight for version, weight in weights.items()}
            if len(asked) != len(weights):
                raise InvalidInput(f"a version of {', '.join(weights)} is named twice")
            for version in (given := checked_weights(asked, "")):
                self._check_side(current, self._deployments.member(name, version))
            shares = {each: spans for each, spans in plan.shares.items() if each != share}
            if given:
                shares[share] = spread(plan.shares.get(share, {}), given)
            after = replace(plan, shares=shares)
            await changes.change_plan(name, self._pinned_differently(name, plan, after))
            return LoadResult(current.status(), after == plan, current.version, changes.clock() - began, live=True)

    def for_shares(self) -> dict[str, frozenset[str]]:
        """The ids of shares whose calls are routed by themselves, by model."""
        return self._deployments.for_shares()

    async def keep_shares(self, name: str, holding: Collection[str]) -> None:
        """Forget how calls of other shares than these were routed. StorageError, and then nothing has changed."""
        changes = self._changes
        async with changes.changing(name, even_lent=True):
            plan = changes.plan(name)
            shares = {share: spans for share, spans in plan.shares.items() if share in holding}
            if shares != plan.shares:
                after = self._pinned_differently(name, plan, replace(plan, shares=shares))
                await changes.change_plan(name, after)

    def shadow(self, name: str) -> ShadowTraffic | None:
        """The copies of this model's calls; None: there are none."""
        return self._deployments.shadow(name)

    def check_agreement(self, name: str, version: str) -> None:
        """Whether it can be told how far this version agrees with the routed one. Raises Conflict for other inputs or
        outputs or where another version gets copies, Unsupported where it cannot get any, InvalidInput for outputs
        that agree in no row or in all."""
        routed, new = self._deployments.routed(name), self._ready_version(name, version)
        if routed is None:
            return
        self._check_side(routed, new)
        self._check_shadow(routed, new)
        if (shadow := self._changes.plan(name).shadow) is not None and shadow.version != new.version:
            raise Conflict(
                f"agreement is told by copies of calls, and those of model {name!r} are for version {shadow.version}: "
                f"end that first, as by %infer route {name} --shadow none"
            )
        if routed.signature is not None and not tells_agreement(routed.signature):
            outputs = ", ".join(each.name for each in routed.signature.outputs)
            raise InvalidInput(
                f"agreement is of labels, or of the class with the highest score, and model {name!r} has neither in "
                f"its outputs ({outputs}): leave the clause out, and see how far numbers differ by a shadow"
            )

    def judge_copies(self, name: str, version: str | None) -> None:
        """Have this version get a copy of each call until None is said, for a rollout whose guard asks how far the
        answers agree. It is not kept on the disk, and gives way to a shadow of the user's own."""
        self._deployments.judge(name, None if version is None else ShadowPlan(version, 1.0))

    async def _shadowed(self, name: str, current: Served | None, plan: VersionPlan, began: float) -> LoadResult:
        """Have `plan`, which differs by its shadow alone, hold."""
        changes = self._changes
        if current is None:
            self._deployments.table.choose(name, None)  # says what there is
            raise ModelNotFound(f"Request for unknown model: {name!r} is not found")
        if plan.shadow is not None:
            self._check_shadow(current, self._deployments.member(name, plan.shadow.version))
        before = changes.plan(name)
        await changes.change_plan(name, self._pinned_differently(name, before, plan))
        return LoadResult(current.status(), before == plan, current.version, changes.clock() - began, live=True)

    def _shadow(self, name: str, asked: Mapping[str, float], by: str, keep_rows: int) -> ShadowPlan | None:
        shadow = shadow_asked(asked, by, keep_rows)
        if shadow is None:
            return None
        check_shadow(found := replace(shadow, version=self._ready_version(name, shadow.version).version))
        return found

    def _check_shadow(self, routed: Served, shadow: Served) -> None:
        """Whether `shadow` may get copies of the calls that `routed` gets."""
        if routed is shadow:
            raise InvalidInput(
                f"version {routed.version} of model {routed.name!r} serves, so it cannot be its own shadow: copies are "
                "for another version"
            )
        if routed.status().sequence_config is not None or shadow.status().sequence_config is not None:
            raise Unsupported(
                f"model {routed.name!r} keeps state between requests, so it can have no shadow: a copy would step into "
                "a sequence that it knows nothing of"
            )
        assert routed.signature is not None and shadow.signature is not None
        if difference := routed.signature.difference(shadow.signature):
            raise Conflict(
                f"version {shadow.version} of model {routed.name!r} cannot be a shadow of version {routed.version}, "
                f"since its inputs or outputs are others: {difference}"
            )
        if not isinstance(shadow, Deployment) or not shadow.takes_copies:
            raise Unsupported(
                f"version {shadow.version} of model {routed.name!r} cannot be a shadow: a pipeline has its models run "
                "beside callers' own calls, and a session on a GPU takes one run at a time"
            )

    async def shift(self, name: str, version: str, weight: float, *, instead_of: str, by: str = "") -> None:
        """Give one version so much of the calls that name none, for a rollout: with all of them too the routed version
        stays what it is, loaded and routed, until `route` is asked for; 0 ends the split.

        Conflict where another version than `instead_of` is routed, or one has a part beside these two; and as `route`.
        """
        changes = self._changes
        async with changes.changing(name, even_lent=True):
            plan, current = changes.plan(name), self._deployments.routed(name)
            if current is None or current.version != instead_of:
                serves = "no version" if current is None else f"version {current.version}"
                raise Conflict(f"{serves} of model {name!r} serves by now, in place of {instead_of}")
            if others := sorted(set(plan.spans) - {version}):
                raise Conflict(f"version {', '.join(others)} of model {name!r} gets a part of the calls, too")
            if weight:
                self._check_side(current, self._ready_version(name, version))
            spans = spread(plan.spans, {version: weight})
            after = replace(plan, spans=spans, by=by if spans else "")
            if after != plan:
                await changes.change_plan(name, self._pinned_differently(name, plan, after))

    def ready(self, name: str, version: str) -> str:
        """The number of a version or label that is Ready. ModelNotFound, Unavailable."""
        return self._ready_version(name, version).version

    def _ready_version(self, name: str, version: str) -> Served:
        deployment = self._deployments.member(name, self._deployments.meant(name, version_meant(version)))
        if deployment.state is not ModelState.READY:
            raise Unavailable(
                f"version {deployment.version} of model {name!r} is {deployment.state.value}, not Ready, so no call "
                "can be routed to it; wait=True (--wait) waits for it"
            )
        return deployment

    def _check_side(self, routed: Served, new: Served) -> None:
        """Whether `new` may get a part of the calls that `routed` gets."""
        if routed.status().sequence_config is not None or new.status().sequence_config is not None:
            raise Unsupported(
                f"model {new.name!r} keeps state between requests, so its calls cannot be split: a sequence would lose "
                "its state; route all of them"
            )
        assert routed.signature is not None and new.signature is not None
        if difference := routed.signature.difference(new.signature):
            raise Conflict(
                f"version {new.version} of model {new.name!r} cannot take a part of the calls of version "
                f"{routed.version}, since its inputs or outputs are others: {difference}; name it in the calls that "
                "are for it"
            )

    def _pinned_differently(self, name: str, before: VersionPlan, after: VersionPlan) -> VersionPlan:
        routed = self._deployments.routed(name)
        if routed is None:
            return after
        return pinned_differently(before, after, routed.config.versions, routed.version)

    async def unload(self, name: str, version: str) -> None:
        """Drain and drop one version that is not routed to, and its labels; it goes on being remembered if it ever
        served.

        ModelNotFound where it is neither loaded nor failed, Conflict for the routed one.
        """
        check_model_version(version)
        changes = self._changes
        async with changes.changing(name):
            deployment = self._deployments.get(name, version)
            if deployment is None:
                if not any(status.version == version for status in self._deployments.failures(name)):
                    loaded = ", ".join(each.version for each in self._deployments.of(name)) or "none"
                    raise ModelNotFound(
                        f"Request for unknown model: {name!r} has no version {version} that is loaded (loaded: "
                        f"{loaded}), so it cannot be unloaded"
                    )
                changes.drop_failed(name, version)
            elif deployment is self._deployments.routed(name):
                raise Conflict(
                    f"version {version} of model {name!r} serves, so it cannot be unloaded alone: route to another "
                    f"version first, or unload the whole model (%infer unload {name})"
                )
            await in_thread(lambda: changes.journal.unloaded(name, version))
            await changes.change_plan(name, without(changes.plan(name), version))
            if deployment is not None:
                await ended(changes.retire(deployment))

    # At the start

    def plan_restored(self, name: str, plan: VersionPlan) -> None:
        """What the name stood for before this process began; before anything of it is restored."""
        self._deployments.arrange(check_model_name(name), plan)

    async def restore(self, model: DesiredModel, *, suspect: bool = False) -> None:
        """Load a version that was loaded beside the routed one before this process began; as `Engine.restore`."""
        changes, name = self._changes, check_model_name(model.name)
        async with changes.changing(name):
            if self._deployments.get(name, model.version) is not None:
                return
            try:
                source = await in_thread(lambda: changes.sources.stored(model))
                deployment = await changes.opened(
                    name, model.version, source, model.config, persist=False, again=suspect, restored=model
                )
            finally:
                # Alive, so nothing is suspected of it.
                with suppress(StorageError):
                    await in_thread(lambda: changes.journal.restored(model))
            if model.version not in changes.plan(name).beside:
                await ended(changes.retire(deployment))
            else:
                self._deployments.arrange(name, changes.plan(name))

    async def restore_fallback(self, name: str) -> None:
        """Have the version before stand in for the routed one, where its `fallback` asks for that; after all else of
        the name is restored. Raises ModelError, and Conflict where it is not kept any more."""
        changes = self._changes
        async with changes.changing(check_model_name(name)):
            routed, before = self._deployments.routed(name), changes.plan(name).before
            if not before or not changes.lacks_fallback(routed):
                return
            if any(status.version == before[-1] for status in self._deployments.failures(name)):
                return  # as one that ended the process when it was loaded for this
            deployment = self._deployments.get(name, before[-1]) or await self._loaded_again(name, before[-1])
            if not changes.stand_in(deployment, routed) and deployment.version not in changes.plan(name).beside:
                await ended(changes.retire(deployment))

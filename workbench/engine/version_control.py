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
from workbench.core.version_plan import VersionPlan
from workbench.engine.deployment import Deployment
from workbench.engine.model_changes import LoadResult, ModelChanges, check_same_signature, ended, take_policy_of
from workbench.engine.served import Served
from workbench.engine.sources import Found, ModelSource
from workbench.errors import Conflict, InvalidInput, ModelError, ModelNotFound, StorageError
from workbench.versions.labels import moved
from workbench.versions.version_policy import policy_of, taken_back, with_beside, with_held, without

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
                return await changes.rearrange(current, replace(plan, spans={}, by="", shadow=None), began)
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
            take_policy_of(current, deployment)
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
            await changes.change_pins(name, after)
            return dict(after.labels)

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

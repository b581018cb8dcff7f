"""Has the engine serve what a model's folder holds after a change: loads, swaps, or drains and drops."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from workbench.core.model import ModelState, ModelStatus
from workbench.core.threads import in_thread
from workbench.engine.model_changes import LoadResult
from workbench.errors import Conflict, ModelNotFound, SignatureChanged, StorageError, Unavailable, WorkbenchError
from workbench.repository.local import LocalRepository
from workbench.repository.settled_changes import FolderChange

log = logging.getLogger("workbench.repository")


Record = Callable[[str, str, str], Awaitable[object]]
"""Writes down an action that was done: its name as in the audit, the model, and the detail."""


class FollowingEngine(Protocol):
    """What is asked of the engine."""

    async def load(
        self,
        name: str,
        source: Path | bytes | None = None,
        *,
        persist: bool = True,
        allow_code: bool = False,
        even_harmful: bool = True,
        among: Collection[str] = (),
        anew: Collection[str] = (),
    ) -> LoadResult: ...

    async def unload(self, name: str, version: str | None = None) -> None: ...

    def statuses(self, name: str | None = None) -> list[ModelStatus]: ...

    def note(self, name: str, notes: Sequence[str]) -> None: ...


class FolderFollower:
    """Acts on one change after another. What serves goes on serving until another one is ready to take its place.

    A version that fails is told once and not tried again until its files change. What somebody did by hand (a load, a
    rollback, an unload) holds until the folder changes in what concerns it.
    """

    def __init__(
        self,
        engine: FollowingEngine,
        repositories: Sequence[LocalRepository],
        *,
        allow_code: bool = False,
        tidy: Callable[[], Awaitable[object]],
        record: Record,
    ) -> None:
        self._engine = engine
        self._repositories = tuple(repositories)
        self._allow_code = allow_code
        self._tidy = tidy
        self._record = record
        self._broken: dict[str, set[str]] = {}
        """Versions whose files failed, and are the same still."""
        self._told: dict[str, str] = {}
        """What was told last of a model that goes on as it was."""
        self._telling = False
        """Something was told of the change that is being followed."""

    async def follow(self, change: FolderChange) -> bool:
        """False: it is to be tried again later, since not the model stood against it."""
        name = change.name
        broken = self._broken.pop(name, set()) - change.changed - change.gone
        if change.settings:
            broken.clear()  # they may have been the reason
        done, self._telling = True, False
        try:
            if change.versions:
                await self._load(change, broken)
            await self._drop(change)
        except (StorageError, Unavailable, Conflict) as error:
            self._tell(name, f"its folder in the repository changed, which is tried again: {error.message}")
            done = False
        except WorkbenchError as error:
            self._tell(name, f"the change of its folder in the repository was not taken over: {error.message}")
        except Exception:  # ours; the other models are followed all the same
            log.exception("model %s: the change of its folder in the repository was not taken over", name)
        if broken:
            self._broken[name] = broken
        elif not self._telling and self._told.pop(name, None) is not None:
            self._engine.note(name, [])
        await self._tidy()
        return done

    async def _load(self, change: FolderChange, broken: set[str]) -> None:
        """Load what the folder's settings name; where that is broken the next lower one, if it may take over."""
        name, repository = change.name, self._repositories[change.repository]
        while there := tuple(version for version in change.versions if version not in broken):
            usable = True
            try:
                wanted = await in_thread(partial(repository.wanted, name, there))
            except WorkbenchError as error:
                if (routed := self._routed(name)) is not None:
                    text = f"the files beside its versions cannot be used, and version {routed} goes on serving"
                    self._tell(name, f"{text}: {error.message}", shown=True)
                    return
                wanted, usable = [], False  # the load says so too, and lists it
            target = wanted[-1] if wanted else there[-1]
            routed = self._routed(name)
            if not takes_over(target, routed, change, broken, wanted):
                return
            try:
                result = await self._engine.load(
                    name,
                    persist=False,
                    allow_code=self._allow_code,
                    even_harmful=False,
                    among=wanted or there,
                    anew=change.versions if change.settings else change.changed,
                )
            except (StorageError, Unavailable):
                raise
            except WorkbenchError as error:
                if isinstance(error, Conflict) and not isinstance(error, SignatureChanged):
                    raise  # as of settings that are lent
                serves = f", and version {routed} goes on serving" if routed is not None else ""
                failed = {each.version for each in self._engine.statuses(name) if each.state is ModelState.FAILED}
                text = f"version {target} in the repository was not loaded{serves}: {error.message}"
                if target == routed:
                    text = f"version {target} goes on serving as it was, its new files were not loaded: {error.message}"
                self._tell(name, text, shown=target not in failed)
                if not (wanted and usable):
                    return
                broken.add(target)
                continue
            await self._loaded(name, routed, result)
            return

    async def _drop(self, change: FolderChange) -> None:
        """Drain and drop what was loaded of versions that are gone. One that serves alone goes with its model, where
        the folder holds no other; else it serves on, since those that are there could not take its place."""
        name = change.name
        statuses = [each for each in self._engine.statuses(name) if each.version in change.gone]
        routed = self._routed(name)
        if not change.versions and statuses and (routed is None or routed in change.gone):
            await self._engine.unload(name)
            log.info("model %s: its folder in the repository is gone, and so it was unloaded", name)
            await self._record("unload", name, "its folder in the repository is gone")
            return
        for each in statuses:
            if each.version == routed:
                self._tell(
                    name,
                    f"version {routed} is gone from the repository and goes on serving, since none of those that are "
                    "there could take its place",
                )
            elif each.state in (ModelState.READY, ModelState.FAILED):
                try:
                    await self._engine.unload(name, each.version)
                except ModelNotFound:
                    continue  # somebody was faster, or it went as the setting `versions` has it
                if each.state is ModelState.READY:
                    log.info("model %s: version %s is gone from the repository, and was unloaded", name, each.version)
                    await self._record("unload", name, f"version {each.version}, gone from the repository")

    async def _loaded(self, name: str, before: str | None, result: LoadResult) -> None:
        """Tell of a load that went well. `before` served until then."""
        if result.unchanged:
            return
        version = result.status.version
        if result.live:
            log.info("model %s: its settings are those of the repository now", name)
            await self._record("set", name, "the settings in the repository")
            return
        instead = detail = ""
        if before == version:
            instead = detail = " with its new files or settings"
        elif before is not None:
            instead, detail = f" in place of version {before}", f", in place of {before}"
        text = "model %s: version %s of the repository serves%s, after %.2f s"
        log.info(text, name, version, instead, result.seconds)
        await self._record("load", name, f"version {version} of the repository{detail}")

    def _routed(self, name: str) -> str | None:
        return next((each.version for each in self._engine.statuses(name) if each.routed), None)

    def _tell(self, name: str, text: str, *, shown: bool = False) -> None:
        """Once. `shown`: nothing else in the model's status says so."""
        self._telling = True
        if self._told.get(name) == text:
            return
        self._told[name] = text
        log.error("model %s: %s", name, text)
        if shown and self._routed(name) is not None:
            self._engine.note(name, [text])


def takes_over(
    target: str, routed: str | None, change: FolderChange, broken: Collection[str], wanted: Collection[str]
) -> bool:
    """Whether `target`, the highest of the `wanted` versions, is to be loaded. `routed` serves; `broken` are versions
    whose files are others than those that were loaded of them, and failed."""
    if routed in change.gone:
        return True
    if routed is not None and routed in broken and target not in change.changed:
        return False  # the file that serves is gone, and a lower version is none to put in its place
    if target in change.changed or change.settings:
        return True
    # One that is as it was takes no place that somebody gave to another version, nor is it loaded after an unload.
    return target == routed and not change.changed.isdisjoint(wanted)

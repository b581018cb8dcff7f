"""What lasts of a service: it is opened before the engine, restored into it, tidied up after changes, closed last."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from workbench.config import ServerConfig
from workbench.core.audit_entry import AuditEntry
from workbench.core.cores import usable_cores
from workbench.core.model import DesiredModel, ModelState
from workbench.engine import Engine
from workbench.engine.sandbox_load import ProcessTrial
from workbench.errors import Conflict, StorageError, WorkbenchError
from workbench.repository.desired_state import DIED_RESTORING, DesiredKind, DesiredState, Remembered, state_file
from workbench.repository.store import ModelStore
from workbench.server.audit.audit_store import AuditStore, audit_file
from workbench.share.share_record import ShareRecord
from workbench.share.share_store import ShareStore, share_file

RESTORED_AT_ONCE = 4
"""The most models that are loaded at the same time at the start; never more than there are cores."""

log = logging.getLogger("workbench.persistence")


class ModelPersistence:
    """The state on disk, trials of new models, and the store's files that nobody needs any more."""

    def __init__(self, config: ServerConfig, store: ModelStore) -> None:
        self.state = DesiredState(state_file(config.data_dir, config.state_key))
        self.shares = ShareStore(share_file(config.data_dir, config.state_key))
        self.audit = AuditStore(audit_file(config.data_dir, config.state_key))
        self.trial = (
            ProcessTrial(
                self.state,
                timeout_s=config.trial_timeout_s,
                memory_mib=config.trial_memory_mib,
                private=store.root.resolve(),
                tried=_log_trial,
            )
            if config.trial
            else None
        )
        if self.trial is not None:
            store.look = self.trial.look
        self.progress = ""
        """How far `restore` has come, in words; empty before and after."""
        self.wanted: set[str] = set()
        """The models that `restore` was to bring back. Not one whose load the last process did not live to answer."""
        self._explicit = config.repository_mode == "explicit"
        self._asked: set[str] | None = None
        """The models of the repositories that come back with the next process; None: the start is not over."""
        self._flagged = {name for name, _ in config.load}
        self._store = store
        store.space.owners = self.state.owners
        self._receiving = 0
        self._left: set[str] = set()
        """Digests that may have to go, when nothing is under way that could be about to use them."""
        self._used: set[str] = set()
        """Digests that were loaded when this was tidied up last. Of those from a repository the state knows nothing."""

    @property
    def notes(self) -> list[str]:
        """What the user should know of what was found at the start."""
        return [*self.state.notes, *self.shares.notes]

    def open(self, quarantine: Iterable[Sequence[str]] = (), suspended: Iterable[Sequence[str]] = ()) -> None:
        """Blocks. Raises WorkbenchError where there is a state that cannot be used. `quarantine` has name, version,
        digest and reason of models that ended the process before this one; `suspended` share, model and reason of
        shares whose requests did."""
        self.state.open()
        for name, version, digest, why in quarantine:
            try:
                self.state.quarantined(DesiredModel(name, version, digest), why)
            except StorageError as error:
                log.error("model %s is served again, since its quarantine could not be noted: %s", name, error.message)
        self.shares.open()
        for share, model, why in suspended:
            try:
                record = self.shares.suspend(share, model, why)
            except (StorageError, Conflict) as error:
                log.error(
                    "share %s calls model %s again, since its end could not be noted: %s", share, model, error.message
                )
                continue
            if record is not None:
                self._note_suspension(record, model)
        self._store.protect()
        self._store.space.measure()
        stored = len(self._store.digests())
        if self.state.notes and stored and not self.state.models():
            self.state.notes.append(
                f"{stored} models still lie in the store, without their names: loading the same files again is quick"
            )
        for note in self.notes:
            log.warning(note)

    def _note_suspension(self, record: ShareRecord, model: str) -> None:
        """Write it into the audit as done by the service itself, since no caller asked for it."""
        detail = f"{record.id}: {model}"
        entry = AuditEntry(time.time(), "suspend", record.label, detail, "ok", "service", "service", "", "")
        try:
            self.audit.add(entry)
        except StorageError as error:
            log.error("that share %s was suspended is not in the audit: %s", record.id, error.message)

    def stop(self) -> None:
        """End what would hold up the engine's end."""
        if self.trial is not None:
            self.trial.close()

    def close(self) -> None:
        """An orderly end: nothing that is still under way is suspected of having caused it."""
        self.stop()
        self.shares.close()
        self.audit.close()
        self.state.close()

    # At the start

    async def restore(self, engine: Engine) -> set[str]:
        """Load and route what is desired; the names that are. What fails is listed as Failed, and the others serve."""
        remembered = await asyncio.to_thread(self.state.models)
        serving = [each for each in remembered if each.kind is DesiredKind.SERVING]
        beside = await asyncio.to_thread(self.state.beside)
        for name, plan in (await asyncio.to_thread(self.state.plans)).items():
            engine.versions.plan_restored(name, plan)
        self.wanted = {each.model.name for each in (*serving, *filter(_died_being_restored, remembered))}
        at_once = asyncio.Semaphore(min(RESTORED_AT_ONCE, usable_cores()))
        done, count = 0, len(serving) + len(beside)

        def say() -> None:
            self.progress = f"restoring models, {done} of {count} done" if done < count else ""

        async def restore(model: DesiredModel, suspect: bool, load: Callable[..., Awaitable[object]]) -> None:
            nonlocal done
            async with at_once:
                try:
                    await load(model, suspect=suspect)
                except WorkbenchError as error:
                    log.error("version %s of model %s was not restored: %s", model.version, model.name, error.message)
                except Exception:  # nobody foresaw it; the others are served all the same
                    log.exception("version %s of model %s was not restored", model.version, model.name)
            done += 1
            say()

        say()
        routed = [(each.model, each.suspect, engine.restore) for each in serving]
        for some in (routed, [(model, suspect, engine.versions.restore) for model, suspect in beside]):
            async with asyncio.TaskGroup() as group:
                for model, suspect, load in some:
                    if not suspect:
                        group.create_task(restore(model, suspect, load))
            # One by one, so that the next death tells which of them it was.
            for model, suspect, load in some:
                if suspect:
                    await restore(model, suspect, load)
        # Last, because a version that takes over clears what failed before it.
        for each in remembered:
            if each.kind is DesiredKind.QUARANTINED:
                engine.quarantine(each.model, each.reason)
        for each in serving:
            try:
                await engine.versions.restore_fallback(each.model.name)
            except WorkbenchError as error:  # what serves does so without it
                log.error("model %s has no version to fall back to: %s", each.model.name, error.message)
            except Exception:
                log.exception("model %s has no version to fall back to", each.model.name)
        return {each.model.name for each in serving}

    # Files

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """While an upload is under way, and until the engine has it, no file goes."""
        self._receiving += 1
        try:
            yield
        finally:
            self._receiving -= 1

    @property
    def is_receiving(self) -> bool:
        """True while an upload is under way."""
        return self._receiving > 0

    async def tidy(self, engine: Engine, digests: Iterable[str] = ()) -> None:
        """Delete the stored files that are not desired, nor among the last versions, nor loaded: of what was forgotten
        since the last time, of what was loaded then, of Failed loads, and of `digests`."""
        used = _used(engine)
        self._left.update(digests, self._used - used, engine.take_left_over())
        self._used = used
        self._left.update(each.digest for each in engine.statuses() if each.state is ModelState.FAILED and each.digest)
        if self._asked is not None:
            with suppress(StorageError):  # told by the state; it is noted with the next change
                await self._note_asked(engine, self._asked)
        await asyncio.to_thread(self._store.sweep)
        with suppress(StorageError):
            while (digest := await self._next_to_go(engine)) is not None:
                gone = self._store.withdraw(digest)
                self._left.discard(digest)
                await asyncio.to_thread(shutil.rmtree, gone, ignore_errors=True)
                await asyncio.to_thread(self._store.space.measure)
                await asyncio.to_thread(self.state.dropped, digest)

    async def tidy_start(self, engine: Engine) -> None:
        """The same, of all that is stored, once all is loaded: models that a repository or a flag no longer gives left
        their copies. Where the state could not be read the files stay, since it knew the names."""
        if self._explicit:
            self._asked = set(await asyncio.to_thread(self.state.asked))
        if not self.state.notes:
            await self.tidy(engine, await asyncio.to_thread(self._store.digests))

    async def _note_asked(self, engine: Engine, before: set[str]) -> None:
        """Those that serve out of a repository, and those that did and Failed at the start."""
        serving = {each.name for each in engine.statuses() if each.state is ModelState.READY}
        failed = {each.name for each in engine.statuses() if each.state is ModelState.FAILED}
        asked = {name for name in serving if not engine.is_remembered(name)} - self._flagged | (before & failed)
        if asked != before:
            await asyncio.to_thread(self.state.keep_asked, asked)
            self._asked = asked

    async def _next_to_go(self, engine: Engine) -> str | None:
        going = await asyncio.to_thread(self.state.forgotten, self._left)
        self._left.intersection_update(going)  # the state knows of the others
        # From here to the renaming nothing else runs on the loop, so nothing can begin to use the file.
        if self._receiving or engine.changing:
            return None
        used = _used(engine)
        return next((digest for digest in going if digest not in used), None)


def _used(engine: Engine) -> set[str]:
    return {each.digest for each in engine.statuses() if each.state is not ModelState.FAILED}


def _died_being_restored(each: Remembered) -> bool:
    return each.kind is DesiredKind.QUARANTINED and each.reason == DIED_RESTORING


def _log_trial(digest: str, seconds: float) -> None:
    log.info(
        "a new model was tried out first", extra={"fields": {"digest": digest[:12], "took_ms": round(seconds * 1000)}}
    )

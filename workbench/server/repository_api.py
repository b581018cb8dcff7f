"""The control plane of the Open Inference Protocol: what HTTP routes and gRPC methods do, without their bytes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from workbench.core.model import ModelState, ModelStatus
from workbench.core.model_statistics import ModelStatistics
from workbench.errors import Unavailable, Unsupported
from workbench.protocols.metadata import RepositoryLoad, failing_to_load
from workbench.repository import pbtxt
from workbench.repository.layout import TRITON_FILE
from workbench.repository.store import ModelStore
from workbench.server.gate.auth import Caller
from workbench.server.service import VERSION, Service
from workbench.server.shared_memory import DISABLED, SharedMemory
from workbench.telemetry.statistics import share_statistics, statistics

log = logging.getLogger("workbench.server")


def identity(service: Service) -> list[str]:
    """The service's name and version, and Triton's extensions that are served because of its settings."""
    return [service.config.server_id, VERSION, *(["system_shared_memory"] if service.shared is not None else [])]


def status_with_signature(service: Service, name: str, version: str | None) -> ModelStatus:
    """Raises ModelNotFound, or Unavailable while the inputs and outputs are not known."""
    status = service.engine.status(name, version)
    if status.signature is None:
        reason = f": {status.reason}" if status.reason else ""
        raise Unavailable(f"model {status.name!r} version {status.version} is {status.state.value}{reason}")
    return status


def ready_versions(service: Service, name: str) -> list[str]:
    return [each.version for each in service.engine.statuses(name) if each.state is ModelState.READY]


def model_statistics(service: Service, caller: Caller, name: str | None, version: str | None) -> list[ModelStatistics]:
    """Of one version, of all of one model's, or of all models; of a share what it did itself. Raises ModelNotFound."""
    if name is not None:
        status = service.engine.status(name, version)
        version = status.version if version is not None else None
    if caller.usage is not None:
        return share_statistics(service.engine.statuses(), caller.usage, caller.sees, name, version)
    return statistics(service.metrics.state(), name, version)


async def index(service: Service, ready_only: bool) -> list[tuple[str, str, str, str]]:
    """(name, version, state, reason) of what is known and of what lies in the repositories, in Triton's words."""
    statuses = service.engine.statuses()
    available = [] if ready_only else await asyncio.to_thread(service.engine.available)
    return _entries(statuses, available, ready_only)


async def load(service: Service, name: str, asked: RepositoryLoad) -> None:
    """Load from the service's repositories, or what was sent; a model with files beside it by way of a folder that is
    gone again then. Returns once it serves. Cancelling it cancels the load."""
    notes = list(asked.notes)
    try:
        with failing_to_load(name):
            await _load(service, name, asked, notes)
        await service.loaded(name)
        for note in notes:
            log.warning("the configuration sent for model %s: %s", name, note)
        service.engine.note(name, [f"the config sent with its load: {note}" for note in notes])
    finally:
        await service.persistence.tidy(service.engine)


async def unload(service: Service, name: str) -> None:
    """Drain and unload every version of a model."""
    await service.engine.unload(name)
    await service.persistence.tidy(service.engine)


def shared_memory(service: Service) -> SharedMemory:
    """The registered regions. Raises Unsupported where the service does not allow them."""
    if service.shared is None:
        raise Unsupported(DISABLED)
    return service.shared


async def _load(service: Service, name: str, asked: RepositoryLoad, notes: list[str]) -> None:
    allow_code = asked.allow_code if asked.model is not None else service.config.python_functions == "on"
    if asked.model is None or not (asked.beside or asked.sequences):
        status = (await service.engine.load(name, asked.model, asked.settings, allow_code=allow_code)).status
        if asked.sequences not in (None, status.sequence_config):
            notes.append("sequence_batching is honoured in a config.pbtxt, or with a model that is sent with it")
        notes.extend(_unbatched(status, asked))
        return
    files = {asked.model_file: asked.model, **asked.beside}
    if asked.sequences is not None:
        files[TRITON_FILE] = pbtxt.text_of(asked.message).encode()
    async with _sent(service.store, files) as path:
        where = path if asked.sequences else path / asked.model_file
        loaded = await service.engine.load(name, where, asked.settings, allow_code=allow_code)
        notes.extend(_unbatched(loaded.status, asked))


def _unbatched(status: ModelStatus, asked: RepositoryLoad) -> Iterator[str]:
    """What is said where the max_batch_size that was sent cannot be honoured."""
    size = asked.settings.get("max_batch_size")
    if size and not status.max_batch_size and status.config.batching != "never":
        why = status.batching.removeprefix("unbatched: ")
        yield f"max_batch_size {size} is not honoured, requests run one by one: {why}"


@asynccontextmanager
async def _sent(store: ModelStore, files: Mapping[str, bytes]) -> AsyncIterator[Path]:
    folder = store.sent(files)
    path = await asyncio.to_thread(folder.__enter__)
    try:
        yield path
    finally:
        await asyncio.to_thread(folder.__exit__, None, None, None)


def _entries(
    statuses: Sequence[ModelStatus], available: Sequence[tuple[str, str]], ready_only: bool
) -> list[tuple[str, str, str, str]]:
    entries = {
        (status.name, status.version): (_STATES[status.state], status.reason)
        for status in statuses
        if status.state is ModelState.READY or not ready_only
    }
    for key in available:
        entries.setdefault(key, ("UNAVAILABLE", "not loaded"))
    return [(*key, *entries[key]) for key in sorted(entries, key=lambda key: (key[0], int(key[1])))]


_STATES = {
    ModelState.LOADING: "LOADING",
    ModelState.WARMING: "LOADING",
    ModelState.READY: "READY",
    ModelState.DRAINING: "UNLOADING",
    ModelState.GONE: "UNAVAILABLE",
    ModelState.FAILED: "UNAVAILABLE",
}

"""Writes the file of a served model, with the data beside it, to a file of the user's."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from workbench.client.client import AsyncClient
from workbench.client.formatting import megabytes
from workbench.client.load_progress import LoadProgress
from workbench.client.model_card import markdown_card
from workbench.client.summary import Card
from workbench.config import ModelConfig
from workbench.core.onnx_metadata import with_metadata
from workbench.core.pipeline_document import with_max_batch_size
from workbench.core.provenance import CARD_KEY, MAX_BATCH_KEY, METADATA_KEY, encode
from workbench.errors import Conflict, InvalidInput, StorageError, Unavailable


async def export(
    client: AsyncClient,
    name: str,
    target: Path,
    *,
    version: str | None = None,
    force: bool = False,
    progress: LoadProgress | None = None,
) -> Card:
    """Write the file of a version, or of the one that serves, to `target`: a file, or a folder for NAME.onnx.

    The data that it names keep their names, since the model knows them by these; Conflict where there is such a file
    already, unless `force`. A file appears under its name complete or not at all. Where it is known what the model was
    exported from, its file's metadata say so, as JSON (METADATA_KEY) and as a card in Markdown (CARD_KEY). The largest
    batch that was set goes with it (MAX_BATCH_KEY).
    """
    status = await client.status(name, version)
    files = await client.files(name, status.version)
    first, *others = files
    target = _absolute(target)
    progress = progress or LoadProgress()
    try:
        target = _own_place(target, name, first)
        places = _free_places(target, others, force)
        progress.begin("writing", sum(files.values()), "byte")
        incoming = target.parent / f".{secrets.token_hex(8)}"
        incoming.mkdir()
        try:
            for number, (each, size) in enumerate(files.items()):
                written = await client.fetch(name, status.version, each, incoming / str(number), progress.advance)
                if written != size:
                    raise Unavailable(f"{each!r} ended after {written} of {size} bytes; export it again")
            most = status.config.max_batch_size
            was_set = most != ModelConfig().max_batch_size
            if was_set and status.pipeline is not None:
                file = incoming / "0"
                file.write_bytes(with_max_batch_size(file.read_bytes(), most))
            if target.suffix == ".onnx":
                entries = {MAX_BATCH_KEY: str(most)} if was_set else {}
                if status.provenance is not None:
                    card = markdown_card(await client.describe(name, status.version))
                    entries |= {METADATA_KEY: encode(status.provenance).decode(), CARD_KEY: card}
                if entries:
                    await asyncio.to_thread(_told, incoming / "0", entries)
            for number, place in reversed(list(enumerate((target, *places)))):  # the model last, beside its data
                place.parent.mkdir(parents=True, exist_ok=True)
                (incoming / str(number)).replace(place)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"{str(target)[:200]!r} cannot be written: {error.strerror}") from None
    facts = {
        "file": str(target),
        "beside it": ", ".join(others),
        "size": megabytes(sum(files.values())),
        "digest": status.digest[:12],
    }
    return Card(f"{name}, version {status.version}, is exported", facts)


def _told(path: Path, entries: Mapping[str, str]) -> None:
    """Write into the metadata of the ONNX file at `path`."""
    whole = path.with_name("told")
    with path.open("rb") as source, whole.open("wb") as target:
        with_metadata(source, target, entries)
    whole.replace(path)


def _absolute(path: Path) -> Path:
    try:
        return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - links are the user's own
    except (RuntimeError, ValueError) as error:  # no such user, a NUL
        raise InvalidInput(f"{str(path)[:200]!r} cannot be used as a path: {error}") from None


def _own_place(target: Path, name: str, stored: str) -> Path:
    """Where the model's own file goes, which is stored under this name."""
    suffix = Path(stored).suffix
    if target.is_dir():
        target /= f"{name}{suffix}"
    if target.suffix.lower() != suffix:
        raise InvalidInput(f"{name!r} is stored as *{suffix}, so {target.name[:80]!r} should end so")
    if not target.parent.is_dir():
        raise InvalidInput(f"there is no folder {str(target.parent)[:200]!r} to write to")
    return target


def _free_places(target: Path, others: list[str], force: bool) -> list[Path]:
    """Where the data beside it go. Conflict where something lies there, unless `force`."""
    places = [_beside(target, each) for each in others]
    if there := [path for path in places if path == target or (path.exists() and not force)]:
        raise Conflict(
            f"there is a file {there[0].name!r} in that folder already, and the model's data are called so; give "
            "another folder, or force=True (--force) to replace it"
        )
    return places


def _beside(target: Path, name: str) -> Path:
    """Where a file of data goes. InvalidInput for one that would lie elsewhere, whatever a service says."""
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name or "\0" in name:
        raise InvalidInput(f"the service names the model's data {name[:80]!r}, which is outside its folder")
    place = target.parent.joinpath(*parts)
    if not place.parent.resolve().is_relative_to(target.parent.resolve()):
        raise InvalidInput(f"the model's data {name[:80]!r} would be written elsewhere, through a symbolic link")
    return place

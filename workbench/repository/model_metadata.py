"""Reads the files beside a model's versions that say how to serve it: model.toml, config.pbtxt, labels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from workbench.config import ModelConfig, model_config, read_model_toml
from workbench.core import provenance, triton_config
from workbench.core.model import Signature
from workbench.core.provenance import Provenance
from workbench.core.triton_config import TritonConfig
from workbench.errors import InvalidInput, ModelError
from workbench.repository.layout import (
    INITIAL_STATE_FOLDER,
    SETTINGS_FILE,
    TRITON_FILE,
    WARMUP_FOLDER,
    check_own_file,
    contained,
)
from workbench.repository.pbtxt import parse

MAX_BYTES = 1024 * 1024
"""The largest config.pbtxt, and the largest file with labels."""

PROVENANCE_FILE = "provenance.json"

MAX_DATA_BYTES = 64 * 1024 * 1024
"""The largest file to warm up with, or to begin sequences with."""


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """The settings and files beside a model."""

    config: ModelConfig = field(default_factory=ModelConfig)
    triton: TritonConfig = field(default_factory=TritonConfig)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Output -> what its elements are called."""
    warmup_data: Mapping[str, bytes] = field(default_factory=dict)
    """Contents of the files that its warm-up requests name."""
    initial_states: Mapping[str, bytes] = field(default_factory=dict)
    """The same of those that the states of its sequences name."""
    provenance: Provenance | None = None
    """What the exporting process said of it; only models that a user loads have it."""

    def same_sequences(self, other: ModelMetadata) -> bool:
        """Whether `other` says the same of sequences, which takes effect with a load only."""
        return self.triton.sequences == other.triton.sequences and self.initial_states == other.initial_states

    def notes(self, signature: Signature) -> tuple[str, ...]:
        """Remarks on what a config.pbtxt asks in vain, or gets wrong about a model of this signature."""
        said = self.triton
        unknown = (f"the field {name!r} is not known" for name in said.unknown)
        notes = tuple(
            f"{TRITON_FILE}: {note}" for note in (*said.notes, *unknown, *triton_config.differences(said, signature))
        )
        check = self.provenance.check if self.provenance is not None else None
        if check is None or check.agrees:
            return notes
        return (f"loaded with force, though it does not answer as the original: {check.summary}", *notes)


def describe(folder: Path, root: Path, name: str = "") -> ModelMetadata:
    """Of the model in `folder`, whose files must lie in `root`. `name` is what its config.pbtxt must call it.

    Raises InvalidInput, UntrustedModel, and ModelError for a model that is none of ours.
    """
    text = _text(folder / TRITON_FILE, root, TRITON_FILE)
    said = TritonConfig()
    if text is not None:
        try:
            said = triton_config.read(parse(text), name)
            base = model_config(said.settings)
        except ModelError as error:
            raise ModelError(f"{TRITON_FILE}: {error.message}") from None
        except InvalidInput as error:
            raise InvalidInput(f"{TRITON_FILE}: {error.message}") from None
    else:
        base = ModelConfig()
    settings = folder / SETTINGS_FILE
    if os.path.lexists(settings):
        contained(settings, root, SETTINGS_FILE)
    labels = {output: _labels(folder / file, root) for output, file in said.label_files.items()}
    files = {each.file for request in said.warmup for each in request.inputs if each.file}
    data = {file: _data(folder / WARMUP_FOLDER / file, root) for file in sorted(files)}
    states = said.sequences.states if said.sequences is not None else ()
    files = {each.initial_file for each in states if each.initial_file}
    initial = {file: _data(folder / INITIAL_STATE_FOLDER / file, root) for file in sorted(files)}
    return ModelMetadata(read_model_toml(settings, base), said, labels, data, initial)


def kept_provenance(folder: Path) -> Provenance | None:
    """The record in `folder`, which is the service's own; None where there is none that can be read."""
    with suppress(InvalidInput, OSError):
        return provenance.decode((folder / PROVENANCE_FILE).read_bytes())
    return None


def files_of(described: ModelMetadata, folder: Path, root: Path) -> dict[str, bytes]:
    """The files in `folder` that `described` was read from, by their paths; but for the settings, which it has."""
    said = described.triton
    texts = [TRITON_FILE, *said.label_files.values()] if said != TritonConfig() else []
    files = {name: _bytes(folder / name, root, name, MAX_BYTES) for name in texts}
    data = {f"{WARMUP_FOLDER}/{name}": content for name, content in described.warmup_data.items()}
    initial = {f"{INITIAL_STATE_FOLDER}/{name}": content for name, content in described.initial_states.items()}
    return {name: content for name, content in {**files, **data, **initial}.items() if content is not None}


def _labels(path: Path, root: Path) -> tuple[str, ...]:
    text = _text(path, root, "the file with labels")
    if text is None:
        raise InvalidInput(f"{TRITON_FILE}: there is no file {path.name!r} with labels")
    return tuple(text.splitlines())


def _data(path: Path, root: Path) -> bytes:
    data = _bytes(path, root, f"the file of {path.parent.name}", MAX_DATA_BYTES)
    if data is None:
        raise InvalidInput(f"{TRITON_FILE}: there is no file {path.name!r} in {path.parent.name}/")
    return data


def _text(path: Path, root: Path, what: str) -> str | None:
    """None where there is no such file."""
    data = _bytes(path, root, what, MAX_BYTES)
    try:
        return None if data is None else data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(f"{what} is not UTF-8") from None


def _bytes(path: Path, root: Path, what: str, most: int) -> bytes | None:
    """None where there is no such file."""
    if not os.path.lexists(path):
        return None
    path = contained(path, root, what)
    if check_own_file(path, what) > most:
        raise InvalidInput(f"{what} has more than {most} bytes")
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise InvalidInput(f"{what} cannot be read: {error.strerror}") from None

"""Validates a model's file before a runtime sees it: untrusted input until then.

A `Look` reads what is in the file; the service's is a process of its own (engine.sandbox_load). Here the file's bytes
are only hashed, and the files that it is said to name beside it are checked.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from workbench.core.description import Graph
from workbench.core.foreign_formats import HEAD_BYTES, foreign
from workbench.core.runtime import ONNX, imported, runtime_of_file
from workbench.errors import ModelError, UntrustedModel
from workbench.repository.inspection import ExternalData, Inspection, described, location_of
from workbench.repository.layout import check_own_file, contained

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model that was looked at and found harmless to load."""

    path: Path
    digest: str
    """SHA-256 of the file, in hex; of a model with external data, of that and theirs."""
    size_bytes: int
    """External data included."""
    identity: str = ""
    """As the digest, but the same for files that differ in nothing but metadata."""
    external_files: tuple[Path, ...] = ()
    """Relative to the model's folder, sorted."""
    opset: int = 0
    """Opset of ONNX's own operators; 0 when it uses none."""
    graph: Graph = field(default_factory=Graph)

    @property
    def operators(self) -> frozenset[str]:
        """As "Gemm", or "domain:Operator" for those that are not ONNX's own."""
        return frozenset(self.graph.operators)


class Inspector(Protocol):
    """Reads a model's file, wherever it lies and however hostile it is. Raises ModelError where it is no model of this
    runtime, UntrustedModel where it names data elsewhere."""

    def __call__(self, path: Path) -> Inspection: ...


class Look(Protocol):
    """Has a file inspected, whose content has this SHA-256 in hex; may remember what was found. Raises ModelError."""

    def __call__(self, path: Path, content: str) -> Inspection: ...


def look_here(path: Path, content: str) -> Inspection:
    """Inspect in this process, by the runtime that the file's ending names, or as ONNX where it names none."""
    inspector: Inspector = imported((runtime_of_file(path) or ONNX).inspector)
    return inspector(path)


def validate_model(path: Path, root: Path, look: Look = look_here) -> ModelFile:
    """The model at `path`, which must be a file of its own inside `root`.

    Raises ModelError when it is no loadable model, UntrustedModel when it, or data that it names, lies elsewhere.
    """
    resolved = contained(path, root, "the model file")
    check_own_file(resolved, "the model file")
    return inspect_model(resolved, look)


def inspect_model(path: Path, look: Look = look_here) -> ModelFile:
    """The model at `path`, wherever it lies; the data that it names may not lie outside its folder."""
    content, size = _hashed(path)
    found = look(path, content)
    if found.content != content:
        raise ModelError("the model file changed while it was read; load it again")
    beside = [(location, *_external(each, path.parent)) for each, location in _locations(found)]
    return ModelFile(
        path=path,
        digest=_joined(content, beside),
        size_bytes=size + sum(bytes_ for _, bytes_, _ in beside),
        identity=_joined(found.identity or content, beside),
        external_files=tuple(location for location, _, _ in beside),
        opset=found.opset,
        graph=found.graph,
    )


def _locations(found: Inspection) -> list[tuple[ExternalData, Path]]:
    locations = {location_of(each): each for each in found.external}
    return [(locations[location], location) for location in sorted(locations)]


def _external(external: ExternalData, folder: Path) -> tuple[int, str]:
    """(size in bytes, SHA-256) of a file beside the model."""
    what = described(external)
    location = location_of(external)
    path = folder / location
    if not os.path.lexists(path):  # False too for what no system could name
        raise ModelError(
            f"{what} lies in a file {str(location)[:200]!r} that is not beside the model; give both, or save the model "
            "with its weights inside (onnx.save(model, path, save_as_external_data=False))"
        )
    if contained(path, folder, what) != folder.resolve() / location:
        raise UntrustedModel(f"{what} is reached by a symbolic link; put a copy there instead")
    size = left = check_own_file(path, what)
    if external.end > size:
        raise ModelError(f"{what} ends at byte {external.end}, and its file has {size}: it is truncated")
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(min(_CHUNK, left)):
                digest.update(chunk)
                left -= len(chunk)
    except OSError as error:
        raise ModelError(f"the model's external data cannot be read: {error.strerror}") from None
    return size, digest.hexdigest()


def _joined(content: str, beside: list[tuple[Path, int, str]]) -> str:
    """One digest of a model's file and of those beside it."""
    if not beside:
        return content
    digest = hashlib.sha256(content.encode())
    for location, _, its in beside:
        digest.update(f"\n{its} {location.as_posix()!r}".encode())
    return digest.hexdigest()


def _hashed(path: Path) -> tuple[str, int]:
    """(SHA-256, size in bytes) of a file with something in it."""
    digest = hashlib.sha256()
    size = 0
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelError("the model file is no regular file")  # a pipe or a device may have no end
        with path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size  # it may grow for as long as it is read
            while chunk := file.read(min(_CHUNK, end - size)):
                if not size and (other := foreign(chunk[:HEAD_BYTES], path.name)):
                    raise ModelError(f"the file {other}")
                size += len(chunk)
                digest.update(chunk)
    except FileNotFoundError:
        raise ModelError("there is no such model file") from None
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {error.strerror}") from None
    if not size:
        raise ModelError("the model file is empty")
    return digest.hexdigest(), size

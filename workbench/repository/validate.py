"""Validates a model's file before a runtime sees it: untrusted input until then."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from workbench.core.description import Graph
from workbench.core.runtime import ONNX, imported, runtime_of_file
from workbench.repository.layout import check_own_file, contained


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model that was looked at and found harmless to load."""

    path: Path
    digest: str
    """SHA-256 of the content, in hex; of an ONNX model without its metadata, and with its external data."""
    size_bytes: int
    """External data included."""
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
    """Looks at a model's file wherever it lies; the data that it names may not lie outside its folder.

    Raises ModelError when the file is no model of this runtime, UntrustedModel when it, or data that it names, lies
    elsewhere.
    """

    def __call__(self, path: Path) -> ModelFile: ...


def validate_model(path: Path, root: Path) -> ModelFile:
    """The model at `path`, which must be a file of its own inside `root`.

    Raises ModelError when it is no loadable model, UntrustedModel when it, or data that it names, lies elsewhere.
    """
    resolved = contained(path, root, "the model file")
    check_own_file(resolved, "the model file")
    return inspect_model(resolved)


def inspect_model(path: Path) -> ModelFile:
    """The model at `path`, looked at by the runtime that the file's ending names, or as ONNX where it names none."""
    inspector: Inspector = imported((runtime_of_file(path) or ONNX).inspector)
    return inspector(path)

"""What was read in a model's file, as data: small, and checked, since the file may have taken over whoever read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

import msgspec

from workbench.core.description import Graph
from workbench.core.provenance import MOST_BATCH_ROWS, checked
from workbench.errors import InvalidInput, ModelError, UntrustedModel

FORMAT: Final = 2
"""To be raised where another version finds something else in the same file, or says it otherwise."""

MAX_BYTES: Final = 8 << 20
"""Of an inspection, encoded."""
MAX_TEXT: Final = 65_536
MAX_EXTERNAL_FILES: Final = 10_000

_RUNTIME_MEMORY = "_ORT_MEM_ADDR_"
"""ONNX Runtime's own mark, in place of a location, for an address in its memory: a file must never hold it."""


@dataclass(frozen=True, slots=True)
class ExternalData:
    """A file beside the model that tensors of it lie in."""

    location: str
    """As the model has it, relative to its folder."""
    tensor: str
    """The name of one of them, for messages."""
    end: int = 0
    """The bytes that the file must at least have."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The contents of a model's file, as a runtime's inspector found them."""

    content: str
    """SHA-256 of the bytes that were read, in hex: another file may be there by now."""
    identity: str = ""
    """The same without what says nothing of the model, such as when it was exported; empty: there is no such thing."""
    opset: int = 0
    """Opset of ONNX's own operators; 0 when it uses none."""
    external: tuple[ExternalData, ...] = ()
    """Sorted by location, each once."""
    graph: Graph = field(default_factory=Graph)


def decode(data: bytes) -> Inspection:
    """Raises ModelError where this is no inspection, or one that no model can have."""
    try:
        if len(data) > MAX_BYTES:
            raise ValueError
        found = _DECODER.decode(data)
        _check(found)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise ModelError("what was read in the model's file makes no sense; the file is taken for hostile") from None
    return found


def location_of(external: ExternalData) -> Path:
    """Where the data lie, relative to the model's folder. UntrustedModel where that is not plainly inside."""
    text, what = external.location, described(external)
    posix, windows = PurePosixPath(text), PureWindowsPath(text)
    if not text or "\0" in text or not posix.parts:
        raise UntrustedModel(f"{what} names no file")
    if _RUNTIME_MEMORY in text:
        raise UntrustedModel(f"{what} names an address in memory instead of a file")
    # Read as either system reads it: a model moves between them.
    if posix.is_absolute() or windows.anchor or ".." in posix.parts or ".." in windows.parts:
        raise UntrustedModel(f"{what} lies outside the model's folder; save it beside the model")
    return Path(posix)


def described(external: ExternalData) -> str:
    """It, as the subject of a sentence."""
    return f"the external data of tensor {external.tensor[:80]!r}"


def _check(found: Inspection) -> None:
    """Raises ValueError for what no inspector says of a model. What the types say was checked already."""
    for digest in (found.content, *filter(None, [found.identity])):
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise ValueError
    graph = found.graph
    if any(len(text) > MAX_TEXT for text in _texts(found)) or len(found.external) > MAX_EXTERNAL_FILES:
        raise ValueError
    numbers = [found.opset, graph.parameters, graph.ir_version, *graph.operators.values(), *graph.opsets.values()]
    numbers += [each.end for each in found.external]
    numbers += [hint.below for hint in graph.batch.hints.values() if hint.below is not None]
    if any(not -(2**63) <= number < 2**63 for number in numbers) or any(
        number < 0 for number in graph.operators.values()
    ):
        raise ValueError
    if not 0 <= graph.max_batch_size <= MOST_BATCH_ROWS:
        raise ValueError
    if graph.provenance is not None:
        try:
            checked(graph.provenance)
        except InvalidInput:
            raise ValueError from None


def _texts(found: Inspection) -> Iterator[str]:
    graph, batch = found.graph, found.graph.batch
    yield from (graph.producer, batch.reason)
    for names in (graph.operators, graph.opsets, graph.labels, batch.row_outputs, batch.operators, batch.hints):
        yield from names
    for external in found.external:
        yield from (external.location, external.tensor)


_DECODER = msgspec.json.Decoder(Inspection)

"""A short way to read an inference that differs from one before in its tensors' bytes alone, as most do.

Every protobuf library writes fields in the order of their numbers, so the raw tensors are the end of a message, and
what comes before them is the same each time. By protobuf's own rules a message is the merge of its pieces wherever it
is cut between fields. So where the beginning is equal byte for byte to one that was parsed, and the tags of the
tensors stand where they stood, it means the same, and nothing needs to be parsed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from google.protobuf.message import DecodeError

from workbench.core.varint import varint

MAX_LAYOUTS: Final = 256
MAX_HEAD_BYTES: Final = 4096
KEY_BYTES: Final = 48
"""Of a message, by which a layout is looked for; enough to tell models apart."""

_RAW_INPUT: Final = b"\x3a"
"""The tag of field 7, raw_input_contents."""


@dataclass(frozen=True, slots=True)
class RawTensor:
    """An input whose elements lie in the message at `start`; the rest as `binary.array_from_bytes` takes it."""

    name: str
    what: str
    datatype: str
    shape: tuple[int, ...]
    count: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class MessageLayout:
    model: str
    version: str | None
    outputs: tuple[str, ...]
    tensors: tuple[RawTensor, ...]
    head: bytes
    """Up to the first tensor's bytes."""
    tags: tuple[tuple[int, bytes], ...]
    """(offset, tag and length) of the tensors after the first."""

    def fits(self, message: bytes) -> bool:
        """`message` has the length of the one that this was learned from."""
        return message.startswith(self.head) and all(message.startswith(tag, at) for at, tag in self.tags)


class Layouts:
    """Those seen lately."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, bytes], MessageLayout] = {}

    def of(self, message: bytes) -> MessageLayout | None:
        """How to read `message`; None where it must be parsed."""
        layout = self._found.get((len(message), message[:KEY_BYTES]))
        return layout if layout is not None and layout.fits(message) else None

    def learn(self, message: bytes, kind: Any, layout: MessageLayout) -> None:
        """Note the layout of `message`, a valid one of `kind`, whose `head`, `tags` and `start`s are not known yet; or
        do not, where its tensors are not at its end."""
        tags, at = [], len(message)
        tensors = []
        for tensor in reversed(layout.tensors):
            tag = _RAW_INPUT + varint(tensor.size)
            start = at - tensor.size
            at = start - len(tag)
            if at < 0 or not message.startswith(tag, at):
                return
            tags.append((at, tag))
            tensors.append(
                RawTensor(tensor.name, tensor.what, tensor.datatype, tensor.shape, tensor.count, start, tensor.size)
            )
        if not tensors or at > MAX_HEAD_BYTES:
            return
        try:
            if kind.FromString(message[:at]).raw_input_contents:
                return
        except DecodeError:
            return  # what looked like a tag is part of something else
        if len(self._found) >= MAX_LAYOUTS:
            self._found.clear()
        tensors.reverse()
        tags.reverse()
        head = message[: tensors[0].start]
        self._found[len(message), message[:KEY_BYTES]] = replace(
            layout, tensors=tuple(tensors), head=head, tags=tuple(tags[1:])
        )

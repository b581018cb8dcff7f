from __future__ import annotations

import io
from pathlib import Path

import onnx
import pytest

from tests.models import add_constant
from workbench.core.onnx_metadata import with_metadata
from workbench.errors import ModelError


def written(content: bytes, entries: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with_metadata(io.BytesIO(content), target, entries)
    return target.getvalue()


def entries_of(content: bytes) -> list[tuple[str, str]]:
    return [(entry.key, entry.value) for entry in onnx.load_from_string(content).metadata_props]


def test_entries_are_added_and_those_of_the_same_key_replaced() -> None:
    model = add_constant(1.0)
    model.metadata_props.add(key="author", value="somebody")
    model.metadata_props.add(key="card", value="old")
    once = written(model.SerializeToString(), {"card": "new", "länge": "x" * 100_000})
    assert entries_of(once) == [("author", "somebody"), ("card", "new"), ("länge", "x" * 100_000)]
    assert written(once, {"card": "new", "länge": "x" * 100_000}) == once
    onnx.checker.check_model(once)


def test_all_else_in_the_file_stays_as_it_was() -> None:
    model = add_constant(1.0)
    plain = model.SerializeToString()
    found = onnx.load_from_string(written(plain, {"a": "b"}))
    del found.metadata_props[:]
    assert found == model
    assert written(plain, {}) == plain


def test_a_large_file_is_copied_in_pieces(tmp_path: Path) -> None:
    model = add_constant(1.0)
    model.graph.doc_string = "d" * 3_000_000
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    largest = 0

    class Watched(io.BytesIO):
        def write(self, piece: object, /) -> int:
            nonlocal largest
            largest = max(largest, len(piece))  # type: ignore[arg-type]
            return super().write(piece)  # type: ignore[arg-type]

    target = Watched()
    with (tmp_path / "m.onnx").open("rb") as source:
        with_metadata(source, target, {"a": "b"})
    assert largest <= 1024 * 1024
    assert entries_of(target.getvalue()) == [("a", "b")]


@pytest.mark.parametrize("content", [b"\x0a\xff", b"\x0a\x05ab", b"\xff" * 12, b"\x0b", b"\x80", b"\x0d\x01"])
def test_what_is_no_protobuf_message_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="no ONNX model"):
        written(content, {"a": "b"})

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from workbench.core.bundle import read_bundle
from workbench.core.runtime import BUNDLE, PYTHON
from workbench.core.zip_directory import open_zip
from workbench.errors import ModelError
from workbench.functions.function_bundle import read_spec
from workbench.repository.zipped_model import MAX_MEMBERS

ENTRY = struct.Struct("<4s4B4HL2L5H2L")
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")


def made(entries: int, *, zip64: bool = False, comment: bytes = b"", name: bytes = b"x", first: bytes = b"") -> bytes:
    """A zip whose directory has so many entries, and which says that it has one."""
    head = b"PK\3\4" + bytes(22) + struct.pack("<2H", len(first), 0) + first
    entry = ENTRY.pack(b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0) + name
    directory = entry * entries
    size, start = len(directory), len(head)
    data = head + directory
    if zip64:
        data += END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, start)
        data += LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
        size = start = 0xFFFFFFFF
    return data + END.pack(b"PK\5\6", 0, 0, 1, 1, size, start, len(comment)) + comment


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_a_directory_of_many_entries_is_refused_before_anything_is_made_of_it(zip64: bool, comment: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(made(300, zip64=zip64, comment=comment))) as archive:
        assert len(archive.infolist()) == 300  # zipfile believes neither count
    for entries, name, said in ((20_001, b"x", "20001 members"), (11_000, b"x" * 1000, "11506000 bytes")):
        file = io.BytesIO(made(entries, zip64=zip64, comment=comment, name=name))
        tracemalloc.start()
        try:
            with pytest.raises(ModelError, match=said):
                open_zip(file, MAX_MEMBERS)
            assert tracemalloc.get_traced_memory()[1] < 3 << 20
        finally:
            tracemalloc.stop()


def test_what_is_within_the_bounds_is_read_as_zipfile_reads_it() -> None:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"PK\1\2" * 100_000)
        archive.writestr("b", b"2")
        archive.comment = b"said of it"
    with open_zip(memory, 2) as archive:
        assert (archive.read("a"), archive.read("b"), archive.comment) == (b"PK\1\2" * 100_000, b"2", b"said of it")
    with pytest.raises(ModelError, match="2 members; 1 are the most"):
        open_zip(memory, 1)
    for broken in (b"", b"PK", memory.getvalue()[:-40]):
        with pytest.raises(zipfile.BadZipFile):
            open_zip(io.BytesIO(broken), 2)


def test_bundles_of_models_and_functions_are_opened_so_too(tmp_path: Path) -> None:
    path = tmp_path / "m.bundle"
    path.write_bytes(made(30_000, first=BUNDLE.mark))
    with pytest.raises(ModelError, match="directory has 1410000 bytes"):
        read_bundle(path)
    with pytest.raises(ModelError, match="30000 members"):
        read_spec(io.BytesIO(made(30_000, first=PYTHON.mark)))

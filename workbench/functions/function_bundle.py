"""The file of a served Python function: its source, the values that it needs, and how it is called. Never a pickle.

A zip archive without compression. Its first member, `workbench-function`, is JSON that says what the others are:
`blocks/N.py`, the text of functions and classes, and `values/N.npy`, arrays.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

import msgspec
import numpy as np

from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.tensor import DTYPES, Array
from workbench.core.zip_directory import open_zip
from workbench.errors import ModelError

MARK: Final = "workbench-function"
FORMAT: Final = 1

MAX_META_BYTES: Final = 16 << 20
MAX_BLOCK_BYTES: Final = 4 << 20
MAX_MEMBERS: Final = 20_000

_DATE = (1980, 1, 1, 0, 0, 0)
"""The same function gives the same bytes whenever it is bundled."""


@dataclass(frozen=True, slots=True)
class ValueSpec:
    """One input or output: as `core.model.TensorSpec`, and whether BYTES are text to the function."""

    name: str
    datatype: str
    shape: tuple[int, ...] = ()
    """-1 where any size fits."""
    ranked: bool = True
    """False: any number of axes."""
    text: bool = False
    """True: elements are `str`; False: of BYTES, they are `bytes`."""

    @property
    def tensor(self) -> TensorSpec:
        return TensorSpec(self.name, self.datatype, self.shape, self.ranked)


@dataclass(frozen=True, slots=True)
class Block:
    """The text of one function or class, in `blocks/N.py`, where N is its place among them."""

    file: str
    """What messages call the place that it was written in, as "the cell" or "features.py"."""
    line: int = 1
    """The number of its first line there."""
    assigned: str = ""
    """The name that a lambda's value is given; empty: it is a `def` or a `class`."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that the function was written in."""

    executable: str
    version: str
    path: tuple[str, ...] = ()
    """Its `sys.path`."""
    folder: str = ""
    """Its current folder."""


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """What the first member says."""

    entry: str
    """The function that is called, with arrays by parameter name."""
    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]
    interpreter: Interpreter
    rows: bool = False
    """True: the first axis of everything is rows, and those of several requests may come in one call."""
    blocks: tuple[Block, ...] = ()
    steps: tuple[Mapping[str, Any], ...] = ()
    """What makes the names that it needs, in order: {"import": MODULE, "as": NAME}, {"from": MODULE, "take":
    ATTRIBUTE, "as": NAME}, {"block": N} or {"value": VALUE, "as": NAME}; see `worker.bundled_function`."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Library that it imports -> the version that it was written with."""
    format: int = FORMAT

    @property
    def signature(self) -> Signature:
        return Signature(tuple(spec.tensor for spec in self.inputs), tuple(spec.tensor for spec in self.outputs))


def bundle(spec: FunctionSpec, blocks: Sequence[str], arrays: Sequence[Array]) -> bytes:
    """The file of a function, the same bytes for the same function."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_member(MARK), msgspec.json.encode(spec))
        for index, text in enumerate(blocks):
            archive.writestr(_member(f"blocks/{index}.py"), text.encode())
        for index, array in enumerate(arrays):
            with archive.open(_member(f"values/{index}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    return memory.getvalue()


def read_spec(file: IO[bytes]) -> FunctionSpec:
    """What a bundle says of its function. Checks all but what its source does. Raises ModelError."""
    try:
        with open_zip(file, MAX_MEMBERS) as archive:
            members = archive.infolist()
            if not members or members[0].filename != MARK:
                raise ModelError("the file is no bundle of a Python function")
            if members[0].file_size > MAX_META_BYTES:
                raise ModelError("the function's bundle says too much of itself")
            if any(each.compress_type != zipfile.ZIP_STORED or each.flag_bits & 1 for each in members):
                raise ModelError("the parts of a function's bundle are neither compressed nor encrypted; these are")
            spec = _DECODER.decode(archive.read(members[0]))
            _check(spec, members[1:])
    except (OSError, ValueError, zipfile.BadZipFile, msgspec.MsgspecError, RecursionError, NotImplementedError):
        raise ModelError("the bundle of the Python function is damaged, or of another version; make it again") from None
    return spec


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.external_attr = 0o600 << 16
    return info


def _check(spec: FunctionSpec, others: Sequence[zipfile.ZipInfo]) -> None:
    """Raises ModelError, or ValueError for what no version of ours writes."""
    if spec.format != FORMAT:
        raise ModelError(f"the function's bundle has format {spec.format}; this version reads {FORMAT}: make it again")
    sizes = {each.filename: each.file_size for each in others}
    blocks = [f"blocks/{index}.py" for index in range(len(spec.blocks))]
    arrays = [f"values/{index}.npy" for index in range(len(others) - len(blocks))]
    if len(sizes) != len(others) or set(sizes) != {*blocks, *arrays}:
        raise ValueError
    if any(sizes[name] > MAX_BLOCK_BYTES for name in blocks):
        raise ModelError(f"a part of the function's source has over {MAX_BLOCK_BYTES} bytes")
    if not spec.entry.isidentifier() or not spec.outputs:
        raise ValueError
    for specs in (spec.inputs, spec.outputs):
        if len({each.name for each in specs}) != len(specs):
            raise ValueError
        for each in specs:
            if not each.name or len(each.name) > 1024 or each.datatype not in DTYPES or len(each.shape) > 32:
                raise ValueError
            if any(not FREE <= size < 1 << 31 for size in each.shape):
                raise ValueError


_DECODER = msgspec.json.Decoder(FunctionSpec)

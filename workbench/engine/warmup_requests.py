"""The requests that a config.pbtxt has a model warmed up with: made up, or read from files beside it, and run."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from workbench.core.ports import Session
from workbench.core.random_inputs import MAX_ELEMENTS, random_values
from workbench.core.tensor import BYTES, DTYPES, Array, element_count
from workbench.core.triton_config import WarmupInput, WarmupRequest
from workbench.errors import InvalidInput, WorkbenchError
from workbench.repository.layout import TRITON_FILE
from workbench.repository.model_metadata import ModelMetadata

BUDGET_S = 30.0
"""Seconds after which no further run begins."""


def run_warmup_requests(sessions: Sequence[Session], described: ModelMetadata) -> tuple[str, ...]:
    """Run each on each session; what did not run, each as a sentence. Blocks."""
    notes = []
    end = time.perf_counter() + BUDGET_S
    for request in described.triton.warmup:
        try:
            inputs = {each.name: _array(each, request, described) for each in request.inputs}
            for session in sessions:
                names = [spec.name for spec in session.signature.outputs]
                for _ in range(request.count):
                    if time.perf_counter() > end:
                        raise InvalidInput(f"warming up took more than {BUDGET_S:.0f} s")
                    session.run(inputs, names)
        except WorkbenchError as error:
            notes.append(f"{TRITON_FILE}: the model_warmup {request.name!r} did not run: {error.message}")
    return tuple(notes)


def _array(of: WarmupInput, request: WarmupRequest, described: ModelMetadata) -> Array:
    shape = (request.batch_size, *of.dims) if request.batch_size else of.dims
    if not element_count(shape):  # on which some operators would end the process
        raise InvalidInput(f"input {of.name[:80]!r} of shape {list(shape)} has no elements")
    if element_count(shape) > MAX_ELEMENTS:
        raise InvalidInput(f"input {of.name[:80]!r} has more than {MAX_ELEMENTS} elements")
    if of.file:
        return raw_elements(described.warmup_data[of.file], of.datatype, shape, of.file)
    if of.random:
        return random_values(of.datatype, shape, np.random.default_rng(0), whole_numbers=2)
    if of.datatype == BYTES:
        return np.full(shape, b"", np.object_)
    return np.zeros(shape, DTYPES[of.datatype])


def raw_elements(data: bytes, datatype: str, shape: tuple[int, ...], what: str) -> Array:
    """The elements in the file `what`: little-endian, and of BYTES each after its length in 4 bytes. InvalidInput where
    there are more or fewer than `shape` has."""
    if datatype != BYTES:
        dtype = DTYPES[datatype]
        if len(data) != element_count(shape) * dtype.itemsize:
            raise InvalidInput(f"{what!r} has {len(data)} bytes, and {datatype} {list(shape)} has another number")
        return np.frombuffer(data, dtype).reshape(shape)
    elements = []
    at = 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        elements.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(data) or len(elements) != element_count(shape):
        raise InvalidInput(f"{what!r} does not hold {element_count(shape)} elements, each after its length")
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array.reshape(shape)

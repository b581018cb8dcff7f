"""Runs one inference by hand, with typed or random inputs, and returns the outputs for JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from workbench.client.client import AsyncClient
from workbench.client.input_adapter import adapt
from workbench.core.messages import InferRequest
from workbench.core.model import Signature
from workbench.core.random_inputs import FREE_SIZE, largest_input, random_inputs
from workbench.core.tensor import BYTES, Array, datatype_of
from workbench.core.threads import in_thread
from workbench.errors import InvalidInput, Unavailable
from workbench.protocols.json_data import FLOATS
from workbench.protocols.parameters import STAGES, stages_out, timings_out

Buffer = bytes | memoryview

SHOWN_ELEMENTS = 1000
"""Elements of a tensor that are shown; the rest is left out."""

SHOWN_CHARACTERS = 1 << 18
"""Characters of all texts of a tensor that are shown, shared out evenly."""

MADE_UP_ELEMENTS = 1 << 22
"""Elements of the largest random input, unless one row alone has more: they are made in this process."""

TIMEOUT_S = 60.0
"""Time limit of the inference, queueing included."""


class TryRequest(msgspec.Struct, forbid_unknown_fields=True):
    inputs: dict[str, Any] | None = None
    """Name -> nested lists; None means random inputs."""
    rows: int = 1
    """Rows of random inputs."""
    seed: int | None = None
    """Seed of random inputs, from 0: the same seed makes the same inputs."""
    files: dict[str, int] | None = None
    """Input -> bytes of its one file. The files follow the JSON in this order, and their inputs are not in `inputs`."""


async def try_out(client: AsyncClient, name: str, asked: TryRequest, files: Buffer = b"") -> dict[str, Any]:
    """Infer with the version that serves; `files` are those that `asked` names, one after the other.

    Raises InvalidInput, and what the status and the inference raise.
    """
    status = await client.status(name)
    if status.signature is None:
        raise Unavailable(f"{name!r} version {status.version} is {status.state}: {status.reason or 'not Ready'}")
    signature, most = status.signature, status.max_batch_size
    if asked.inputs is None and most and asked.rows > most:
        raise InvalidInput(f"rows must be at most {most}, the max_batch_size of {name!r}, got {asked.rows}")
    try:
        inputs = await in_thread(lambda: _inputs(asked, signature, name, files))
    except RecursionError:
        raise InvalidInput("the inputs are nested too deep") from None
    began = time.monotonic()
    response = await client.infer(
        InferRequest(name, inputs, status.version, deadline=began + TIMEOUT_S, parameters={"timings": True})
    )
    return {
        "version": response.version,
        "inputs": [shown(each, array) for each, array in inputs.items() if each not in (asked.files or ())],
        "outputs": [shown(each, array) for each, array in response.outputs.items()],
        "timings": {name: value for name, value in timings_out(response.timings).items() if name != STAGES},
        "stages": stages_out(response.timings.stages),
        "seconds": time.monotonic() - began,
    }


def shown(name: str, array: Array) -> dict[str, Any]:
    """Return a tensor in the form of docs/jupyter.md; of a large one, the beginning."""
    part = array[tuple(slice(size) for size in _cut(array.shape))]
    cut = part.size < array.size
    datatype = datatype_of(array)
    data: Any
    if datatype == BYTES:
        most = SHOWN_CHARACTERS // max(1, part.size)
        texts = np.empty(part.shape, object)
        for where, item in np.ndenumerate(part):
            text = item[: 4 * most].decode("utf-8", "replace")
            texts[where] = text[:most]
            cut = cut or len(text) > most or len(item) > 4 * most
        data = texts.tolist()
    else:
        data = _numbers(part).tolist()
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": data, "cut": cut}


def _inputs(asked: TryRequest, signature: Signature, name: str, files: Buffer = b"") -> Mapping[str, Array]:
    if asked.inputs is not None or asked.files or len(files):
        floats = {spec.name for spec in signature.inputs if spec.datatype in FLOATS}
        typed = asked.inputs or {}
        given = {each: _with_nan(value) if each in floats else value for each, value in typed.items()}
        return adapt({**given, **_files(asked, files)}, signature, name).inputs
    if asked.seed is not None and asked.seed < 0:
        raise InvalidInput(f"seed must be 0 or more, got {asked.seed}")
    if asked.rows > 1 and largest_input(signature.inputs, asked.rows, FREE_SIZE) > MADE_UP_ELEMENTS:
        raise InvalidInput(f"{asked.rows} rows are more than {MADE_UP_ELEMENTS} elements of one input; try fewer")
    return random_inputs(signature.inputs, asked.rows, np.random.default_rng(asked.seed))


def _files(asked: TryRequest, content: Buffer) -> dict[str, list[bytes]]:
    """Input -> one row with its file. Raises InvalidInput."""
    sizes = asked.files or {}
    if both := [each for each in sizes if each in (asked.inputs or {})]:
        raise InvalidInput(f"input {both[0]!r} is given twice, in the JSON and as a file")
    if min(sizes.values(), default=0) < 0 or sum(sizes.values()) != len(content):
        raise InvalidInput(f"files: {sum(sizes.values())} bytes are told in the JSON, and {len(content)} follow it")
    found, at = {}, 0
    for each, size in sizes.items():
        found[each] = [bytes(content[at : at + size])]
        at += size
    return found


def _with_nan(value: Any) -> Any:
    """Return typed numbers with null and the words for NaN and infinities as numbers, which JSON has none for."""
    if isinstance(value, list):
        return [_with_nan(each) for each in value]
    return float(value or "NaN") if value in (None, "NaN", "Infinity", "-Infinity") else value


def _cut(shape: tuple[int, ...]) -> list[int]:
    """Return how much of each axis is shown: the last axes whole, as far as the limit allows."""
    room = SHOWN_ELEMENTS
    sizes = []
    for size in reversed(shape):
        sizes.append(min(size, max(room, 1)))
        room //= max(size, 1)
    return sizes[::-1]


def _numbers(part: Array) -> Array:
    """Return numbers for JSON: floats with the fewest digits that identify them, "NaN" and "Infinity" as texts."""
    if part.dtype.kind in "biu":
        return part
    short = part.astype(np.float32) if part.dtype.kind == "V" or part.dtype.name == "bfloat16" else part
    digits: Array = short.astype(str).astype(np.float64)
    if np.isfinite(digits).all():
        return digits
    words = digits.astype(object)
    words[np.isnan(digits)] = "NaN"
    words[digits == np.inf] = "Infinity"
    words[digits == -np.inf] = "-Infinity"
    return words

"""Triton's raw binary request: the body is the model's only input, without JSON."""

from __future__ import annotations

import numpy as np

from workbench.config import Limits
from workbench.core.messages import InferRequest
from workbench.core.model import FREE, ModelStatus, TensorSpec
from workbench.core.tensor import BYTES, DTYPES, Array, element_count
from workbench.errors import InvalidInput, TooLarge, Unavailable
from workbench.protocols.binary import array_from_bytes
from workbench.protocols.oip_tensors import count_elements


def decode_raw_request(status: ModelStatus, version: str | None, body: bytes, limits: Limits) -> InferRequest:
    """Make a request of a model whose only input is `body`; `status` is the model's.

    The model's shape may have one free size, which follows from the body's length; of two, the first one, the batch, is
    1. A BYTES input is one element: the body itself. Raises InvalidInput, TooLarge, and Unavailable while the shape is
    not known.
    """
    signature = status.signature
    if signature is None:
        raise Unavailable(f"model {status.name!r} is {status.state.value}; try again later")
    if len(signature.inputs) != 1:
        raise InvalidInput(
            f"a raw request (Inference-Header-Content-Length: 0) holds one input, and model {status.name!r} takes "
            f"{len(signature.inputs)}; send JSON, or JSON with binary data behind it"
        )
    spec = signature.inputs[0]
    what = f"input {spec.name!r}"
    if not spec.ranked:
        raise InvalidInput(
            f"{what} takes any shape, which a raw request cannot say: send JSON, or JSON with binary data"
        )
    if spec.datatype == BYTES:
        array = _one_string(body, spec, what, limits)
    else:
        shape = _shape(spec, len(body), what)
        count = count_elements(shape, what, limits.max_elements)
        array = array_from_bytes(body, 0, len(body), what, spec.datatype, shape, count, limits.max_string_bytes)
    return InferRequest(status.name, {spec.name: array}, version)


def _shape(spec: TensorSpec, size: int, what: str) -> tuple[int, ...]:
    free = [axis for axis, length in enumerate(spec.shape) if length == FREE]
    shape = list(spec.shape)
    if len(free) == 2 and free[0] == 0:
        shape[free.pop(0)] = 1
    if len(free) > 1:
        raise InvalidInput(f"{what} has shape {list(spec.shape)}: a raw request cannot say which sizes are meant")
    if free:
        each = DTYPES[spec.datatype].itemsize * element_count(tuple(length for length in shape if length != FREE))
        if not each or size % each:
            raise InvalidInput(f"{what}: {spec.datatype} of shape {list(spec.shape)} does not fit {size} bytes")
        shape[free[0]] = size // each
    return tuple(shape)


def _one_string(body: bytes, spec: TensorSpec, what: str, limits: Limits) -> Array:
    if any(length not in (FREE, 1) for length in spec.shape):
        raise InvalidInput(f"{what} has shape {list(spec.shape)}: a raw request holds one BYTES element")
    if len(body) > limits.max_string_bytes:
        raise TooLarge(f"{what} has {len(body)} bytes; max_string_bytes is {limits.max_string_bytes}")
    array = np.empty((1,) * len(spec.shape), np.object_)
    array[...] = body
    return array

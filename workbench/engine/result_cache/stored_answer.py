"""An answer as bytes that may lie where others can write: sealed, and checked against the model when it is read. Pure.

    version (1) · seal (16) · length of the head (4) · head (msgpack) · the tensors' bytes

The seal is a keyed BLAKE2b over the key and all that follows, so without the secret a value cannot be made, nor
moved to another key. What was sealed is read with all care even so: its names, datatypes and shapes must be
those that the model gives.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from workbench.core.model import FREE, TensorSpec
from workbench.core.tensor import BYTES, DATATYPES, DTYPES, Array, element_count

MAX_STORED_BYTES: Final = 256 << 10
"""Of a value: to seal so much takes a quarter of a millisecond."""

_VERSION: Final = b"\x01"
_SEAL: Final = 16
_START: Final = 1 + _SEAL


class _Tensor(msgspec.Struct, array_like=True):
    name: str
    datatype: str
    shape: tuple[int, ...]
    lengths: list[int]
    """Bytes of each element of BYTES; of another tensor, of all."""


class _Head(msgspec.Struct, array_like=True):
    cost_s: float
    tensors: list[_Tensor]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Head).decode


def seal_answer(secret: bytes, key: bytes, outputs: Mapping[str, Array], cost_s: float) -> bytes | None:
    """The value to keep under `key`; None: it would be larger than MAX_STORED_BYTES."""
    tensors, data = [], []
    for name, array in outputs.items():
        if array.dtype.hasobject:
            items = array.ravel().tolist()
            lengths = list(map(len, items))
            data += items
        else:
            lengths = [array.nbytes]
            data.append(array.tobytes())
        tensors.append(_Tensor(name, DATATYPES[array.dtype], array.shape, lengths))
        if sum(map(len, data)) > MAX_STORED_BYTES:
            return None
    head = _encode(_Head(cost_s, tensors))
    body = b"".join((len(head).to_bytes(4, "big"), head, *data))
    if _START + len(body) > MAX_STORED_BYTES:
        return None
    return _VERSION + _seal(secret, key, body) + body


def open_answer(
    secret: bytes, key: bytes, value: bytes, wanted: Sequence[TensorSpec]
) -> tuple[dict[str, Array], float] | None:
    """The outputs, which are `wanted` in this order, and the seconds that their run took; None: it is no such value."""
    body = value[_START:]
    if len(value) > MAX_STORED_BYTES or value[:1] != _VERSION:
        return None
    if not hmac.compare_digest(value[1:_START], _seal(secret, key, body)):
        return None
    size = int.from_bytes(body[:4], "big")
    try:
        head = _decode(body[4 : 4 + size])
    except (msgspec.DecodeError, RecursionError):
        return None
    if len(head.tensors) != len(wanted) or not 0 <= head.cost_s < 1e9:
        return None
    outputs, at = {}, 4 + size
    for tensor, spec in zip(head.tensors, wanted, strict=True):
        if not _fits(tensor, spec) or any(length < 0 for length in tensor.lengths):
            return None
        end = at + sum(tensor.lengths)
        if end > len(body) or (array := _array(tensor, body[at:end])) is None:
            return None
        outputs[tensor.name] = array
        at = end
    return (outputs, head.cost_s) if at == len(body) else None


def _seal(secret: bytes, key: bytes, body: bytes) -> bytes:
    digest = hashlib.blake2b(key, key=secret[:64], digest_size=_SEAL, person=b"infer-answer")
    digest.update(body)
    return digest.digest()


def _fits(tensor: _Tensor, spec: TensorSpec) -> bool:
    if tensor.name != spec.name or tensor.datatype != spec.datatype or any(size < 0 for size in tensor.shape):
        return False
    if not spec.ranked:
        return True
    return len(tensor.shape) == len(spec.shape) and all(
        of in (FREE, size) for size, of in zip(tensor.shape, spec.shape, strict=True)
    )


def _array(tensor: _Tensor, data: bytes) -> Array | None:
    count = element_count(tensor.shape)
    if tensor.datatype != BYTES:
        dtype: np.dtype[Any] = DTYPES[tensor.datatype]
        if tensor.lengths != [count * dtype.itemsize]:
            return None
        return np.frombuffer(data, dtype).reshape(tensor.shape)
    if len(tensor.lengths) != count:
        return None
    array: Array = np.empty(count, dtype=np.object_)
    at = 0
    for index, length in enumerate(tensor.lengths):
        array[index] = data[at : at + length]
        at += length
    return array.reshape(tensor.shape)

"""A shadow's figures and examples as JSON, and back."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import msgspec

from workbench.core.shadow_figures import ShadowExample, ShadowFigures
from workbench.core.tensor import Array, datatype_of
from workbench.errors import WorkbenchError
from workbench.protocols.binary import array_from_bytes, bytes_from_array

_LONGEST_TEXT: Final = 1 << 30


class _Tensor(msgspec.Struct):
    datatype: str
    shape: tuple[int, ...]
    base64: str


class _Example(msgspec.Struct):
    inputs: dict[str, _Tensor]
    serving: dict[str, _Tensor]
    shadow: dict[str, _Tensor]
    flips: int
    difference: float


class _Told(msgspec.Struct):
    shadow: ShadowFigures | None = None
    examples: tuple[_Example, ...] = ()


def encode_shadow(figures: ShadowFigures | None, examples: Sequence[ShadowExample] = ()) -> dict[str, Any]:
    """docs/http.md, SHADOW."""
    told: dict[str, Any] = {"shadow": asdict(figures) if figures is not None else None}
    if examples:
        told["examples"] = [_example(each) for each in examples]
    return told


def decode_shadow(found: object) -> tuple[ShadowFigures | None, list[ShadowExample]]:
    """Decode what `encode_shadow` made, parsed. Raises WorkbenchError if it does not fit."""
    try:
        told = msgspec.convert(found, _Told)
        return told.shadow, [
            ShadowExample(
                _arrays(each.inputs), _arrays(each.serving), _arrays(each.shadow), each.flips, each.difference
            )
            for each in told.examples
        ]
    except (msgspec.ValidationError, binascii.Error, KeyError) as error:
        raise WorkbenchError(f"the service's answer about a shadow does not fit: {str(error)[:200]}") from None


def _example(example: ShadowExample) -> dict[str, Any]:
    parts = {"inputs": example.inputs, "serving": example.serving, "shadow": example.shadow}
    told: dict[str, Any] = {
        part: {name: _tensor(name, array) for name, array in of.items()} for part, of in parts.items()
    }
    return {**told, "flips": example.flips, "difference": example.difference}


def _tensor(name: str, array: Array) -> dict[str, Any]:
    # Binary, because JSON has no NaN, which is what one looks for here.
    datatype = datatype_of(array)
    data = base64.b64encode(bytes_from_array(array, name, datatype)).decode()
    return {"datatype": datatype, "shape": list(array.shape), "base64": data}


def _arrays(tensors: Mapping[str, _Tensor]) -> dict[str, Array]:
    return {name: _array(name, each) for name, each in tensors.items()}


def _array(name: str, each: _Tensor) -> Array:
    data = base64.b64decode(each.base64, validate=True)
    count = math.prod(each.shape)
    return array_from_bytes(data, 0, len(data), name, each.datatype, each.shape, count, _LONGEST_TEXT)

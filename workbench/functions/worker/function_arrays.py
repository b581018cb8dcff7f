"""A function's inputs from bytes, and its answer as arrays and as bytes."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    **{f"{kind.upper()}{bits}": np.dtype(f"{kind}{bits}") for kind in ("uint", "int") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "BYTES": np.dtype(object),
}


class BadAnswer(Exception):
    """An answer that is no array, or not the declared one."""


def unpacked(spec: dict[str, Any], part: Any, shape: list[int]) -> Any:
    """An input, as the function is to get it: an array of its own, which it may write to."""
    if spec["datatype"] != "BYTES":
        return np.frombuffer(part, dtype(spec["datatype"])).reshape(shape)
    elements: list[str | bytes] = []
    data, offset, text = bytes(part), 0, spec["text"]
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + 4], "little")
        element = data[offset + 4 : offset + 4 + size]
        elements.append(element.decode() if text else element)
        offset += 4 + size
    # Of objects: in an array of numpy's own text each element is as wide as the longest one.
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(shape)


def by_name(answer: Any, names: list[str]) -> dict[str, Any]:
    """The outputs: a dict's by key, a tuple's by place, one array's by the one name."""
    if isinstance(answer, dict):
        return {str(name): value for name, value in answer.items()}
    if isinstance(answer, tuple):
        named = names if len(names) == len(answer) else [f"output_{index}" for index in range(len(answer))]
        return dict(zip(getattr(answer, "_fields", named), answer, strict=True))
    return {names[0] if len(names) == 1 else "output": answer}


def as_array(name: str, value: Any) -> Any:
    for step in ("detach", "cpu", "toarray", "to_numpy"):
        if callable(convert := getattr(value, step, None)):
            value = convert()
    try:
        # Text as objects, or one long element would make all of them as wide.
        return np.array(value, object) if _begins_with_text(value) else np.asarray(value)
    except (ValueError, TypeError):
        raise BadAnswer(f"output {name!r} is a {type(value).__name__}, which is no array") from None


def _begins_with_text(value: Any) -> bool:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, str | bytes)


def kind_of(name: str, array: Any) -> tuple[str, bool]:
    """The datatype of an output that was not declared, and whether it is text."""
    if array.dtype.kind in "UST" or (array.dtype == object and array.size):
        return "BYTES", not all(isinstance(each, bytes) for each in array.reshape(-1).tolist())
    if array.dtype.name == "bfloat16":
        return "BF16", False
    for datatype, known in DTYPES.items():
        if array.dtype == known and datatype != "BYTES":
            return datatype, False
    raise BadAnswer(f"output {name!r} is an array of {array.dtype}, which cannot be served; convert it, as to float32")


def declared(spec: dict[str, Any], array: Any) -> Any:
    """An output, as it was declared. Raises BadAnswer."""
    name, datatype = spec["name"], spec["datatype"]
    if datatype != "BYTES" and array.dtype != (target := dtype(datatype)):
        if not np.can_cast(array.dtype, target, "same_kind"):
            raise BadAnswer(f"output {name!r} is declared as {datatype}; the answer is an array of {array.dtype}")
        array = array.astype(target)
    shape = spec["shape"]
    if spec["ranked"] and (
        len(shape) != array.ndim or any(size not in (-1, real) for size, real in zip(shape, array.shape, strict=True))
    ):
        raise BadAnswer(f"output {name!r} is declared with shape {shape}; the answer has {list(array.shape)}")
    return array


def packed_array(spec: list[Any], array: Any) -> Any:
    """The bytes of an output."""
    if spec[1] != "BYTES":
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b""
    parts = []
    for each in array.reshape(-1).tolist():
        if not isinstance(each, str | bytes):
            raise BadAnswer(f"output {spec[0]!r} holds a {type(each).__name__}; its elements must be text or bytes")
        data = each.encode() if isinstance(each, str) else each
        parts += [len(data).to_bytes(4, "little"), data]
    return b"".join(parts)


def dtype(datatype: str) -> Any:
    if datatype == "BF16":
        return np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    return np.dtype(DTYPES[datatype])

"""Converts between the `data` of a JSON tensor and a numpy array. Each value is checked; none is silently changed."""

from __future__ import annotations

import functools
import math
import re
import types
from itertools import chain
from typing import Annotated, Any, Final

import ml_dtypes
import msgspec
import numpy as np
from msgspec import Meta

from workbench.core.tensor import BYTES, DTYPES, Array
from workbench.core.turns import give_way
from workbench.errors import InvalidInput, TooLarge
from workbench.protocols.json_blocks import ElementList
from workbench.protocols.json_non_finite import Infinite, shown_word, without_words
from workbench.protocols.json_streaming import array_from_list, array_of_numbers

# NOTE: a double below these rounds to the largest number of the datatype, as does its shortest text (3.4028235e38 for
# FP32); from here on it rounds to infinity. BF16 is rounded by way of FP32, which takes half a step more away.
_ENDS: Final = {"FP16": 65520.0, "BF16": math.ldexp(2 - 2**-8, 127) - 2.0**103, "FP32": 3.4028235677973366e38}


def _float(datatype: str) -> Any:
    end = _ENDS.get(datatype)
    # None is NaN; numpy makes it so. This union is decoded as fast as a float alone.
    return (float if end is None else Annotated[float, Meta(gt=-end, lt=end)]) | None | Infinite


# The decoder checks type and range while it reads, so an array is made of values that are known to fit.
_ITEMS: Final[dict[str, Any]] = {
    "BOOL": bool,
    "UINT8": Annotated[int, Meta(ge=0, le=(1 << 8) - 1)],
    "UINT16": Annotated[int, Meta(ge=0, le=(1 << 16) - 1)],
    "UINT32": Annotated[int, Meta(ge=0, le=(1 << 32) - 1)],
    "UINT64": Annotated[int, Meta(ge=0)],  # msgspec takes no bound over INT64, so numpy checks it
    "INT8": Annotated[int, Meta(ge=-(1 << 7), le=(1 << 7) - 1)],
    "INT16": Annotated[int, Meta(ge=-(1 << 15), le=(1 << 15) - 1)],
    "INT32": Annotated[int, Meta(ge=-(1 << 31), le=(1 << 31) - 1)],
    "INT64": int,
    "FP16": _float("FP16"),
    "BF16": _float("BF16"),
    "FP32": _float("FP32"),
    "FP64": _float("FP64"),
    BYTES: str,
}
FLOATS: Final = frozenset({"FP16", "BF16", "FP32", "FP64"})
BINARY_ONLY: Final = frozenset(DTYPES) - frozenset(_ITEMS)
"""Datatypes without a JSON form."""

_FLAT: Final[dict[str, msgspec.json.Decoder[list[Any]]]] = {
    datatype: msgspec.json.Decoder(types.GenericAlias(list, (item,))) for datatype, item in _ITEMS.items()
}
_anything: Final = msgspec.json.Decoder(Any)

_LEADING = re.compile(rb"[\s\[]*")
_INDEX = re.compile(r"\[(\d+)\]")


def array_from_json(
    raw: msgspec.Raw, tensor: str, datatype: str, shape: tuple[int, ...], count: int, max_string_bytes: int
) -> Array:
    """Convert `raw`, a flat or nested JSON list in row-major order, to an array.

    `tensor` names it in messages ("input 'x'"); `count` is the number of elements of `shape`.
    Raises InvalidInput, and TooLarge for a string over its cap.
    """
    decoder = _decoder(tensor, datatype)
    try:
        try:
            values: list[Any] = decoder.decode(raw)
        except msgspec.ValidationError as error:
            values = _nested(bytes(raw), tensor, datatype, error)
    except UnicodeDecodeError:
        raise InvalidInput(f"{tensor}: data holds bytes that are not UTF-8") from None
    if len(values) != count:
        raise InvalidInput(f"{tensor}: shape {list(shape)} holds {count} elements, and data has {len(values)}")
    if datatype == BYTES:
        return _strings(values, tensor, max_string_bytes).reshape(shape)
    try:
        return array_of_numbers(values, DTYPES[datatype]).reshape(shape)
    except OverflowError:
        info = np.iinfo(DTYPES[datatype])
        at = next(i for i, value in enumerate(values) if not info.min <= value <= info.max)
        raise _unfit(tensor, datatype, values[at], f"[{at}]") from None


def array_from_elements(
    found: ElementList,
    tensor: str,
    datatype: str,
    shape: tuple[int, ...],
    count: int,
    max_string_bytes: int,
    strict: bool,
) -> Array:
    """As `array_from_json` for a list that was cut out. `strict`: NaN and infinities are no bare words."""
    decoder = _decoder(tensor, datatype)

    def encoded(values: list[str], first: int) -> Array:
        array = np.empty(len(values), np.object_)
        for begin in range(0, len(values), 4096):
            some = values[begin : begin + 4096]
            array[begin : begin + len(some)] = _strings(some, tensor, max_string_bytes, first + begin)
            give_way()
        return array

    longest = 6 * max_string_bytes if datatype == BYTES else 0
    floats = datatype in FLOATS
    return array_from_list(
        found, tensor, datatype, shape, count, decoder, _TAKES[datatype], floats, strict, longest, encoded
    )


def _decoder(tensor: str, datatype: str) -> msgspec.json.Decoder[list[Any]]:
    decoder = _FLAT.get(datatype)
    if decoder is None:
        raise InvalidInput(f"{tensor}: {datatype} has no JSON form; send it as binary data, with binary_data_size")
    return decoder


def json_values(array: Array, tensor: str, datatype: str) -> list[Any]:
    """Return an array as a flat list for JSON. NaN and infinities stay in it: see `json_non_finite`."""
    if datatype in BINARY_ONLY:
        raise InvalidInput(f"{tensor} is {datatype}, which has no JSON form; {_ASK_BINARY}")
    if datatype == BYTES:
        try:
            return [element if isinstance(element, str) else element.decode() for element in array.flat]
        except UnicodeDecodeError:
            raise InvalidInput(f"{tensor} holds bytes that are not UTF-8; {_ASK_BINARY}") from None
    values: list[Any] = array.reshape(-1).tolist()
    return values


_ASK_BINARY = "use binary data (parameters binary_data of an output, binary_data_output of the request)"


def _strings(values: list[str], tensor: str, max_bytes: int, first: int = 0) -> Array:
    array = np.empty(len(values), np.object_)
    for index, value in enumerate(values):
        try:
            element = value.encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"{tensor}: the string at [{first + index}] is not valid Unicode") from None
        if len(element) > max_bytes:
            raise TooLarge(
                f"{tensor}: the string at [{first + index}] has {len(element)} bytes; max_string_bytes is {max_bytes}"
            )
        array[index] = element
    return array


def _nested(data: bytes, tensor: str, datatype: str, flat: msgspec.ValidationError) -> list[Any]:
    """Return the elements of nested lists in row-major order. `flat` is the error of the flat reading."""
    opening = _LEADING.match(data)
    depth = opening.group().count(b"[") if opening else 0
    if depth == 0:
        raise InvalidInput(f"{tensor}: data must be a list, flat or nested as shape says")
    if datatype in FLOATS and b'"' in data:
        data = without_words(data)
    elif depth == 1:
        raise _wrong(data, tensor, datatype, flat)
    if depth > np.iinfo(np.int8).max:
        raise InvalidInput(f"{tensor}: data is nested {depth} deep")
    try:
        values: list[Any] = _nested_decoder(datatype, depth).decode(data)
    except msgspec.ValidationError as error:
        raise _wrong(data, tensor, datatype, error) from None
    except RecursionError:
        raise InvalidInput(f"{tensor}: data is nested too deep") from None
    for _ in range(depth - 1):
        lengths = set(map(len, values))
        if len(lengths) > 1:
            raise InvalidInput(f"{tensor}: data is ragged: lists of one level hold {min(lengths)} to {max(lengths)}")
        values = list(chain.from_iterable(values))
    return values


@functools.lru_cache(maxsize=256)
def _nested_decoder(datatype: str, depth: int) -> msgspec.json.Decoder[list[Any]]:
    kind: Any = _ITEMS[datatype]
    for _ in range(depth):
        kind = types.GenericAlias(list, (kind,))
    return msgspec.json.Decoder(kind)


def _wrong(data: bytes, tensor: str, datatype: str, error: msgspec.ValidationError) -> InvalidInput:
    """Make an error that names the refused value; the decoder's own gives only its place."""
    place = str(error).rpartition(" - at ")[2].strip("`$").partition(".")[0]  # of the object, not of what is in it
    try:
        value: Any = _anything.decode(data)
        for index in _INDEX.findall(place):
            value = value[int(index)]
    except (msgspec.MsgspecError, RecursionError, LookupError, TypeError, UnicodeDecodeError):
        # A number that no double holds, such as 1e400, is refused by this decoder as well.
        return InvalidInput(f"{tensor}: data at {place or '[]'} is out of range for {datatype}, or no number")
    if isinstance(value, list):
        return InvalidInput(f"{tensor}: data is ragged: a list at {place}, where {_TAKES[datatype]} is expected")
    return _unfit(tensor, datatype, value, place)


def _unfit(tensor: str, datatype: str, value: object, place: str) -> InvalidInput:
    shown = shown_word(value)
    if shown is None:
        shown = str(value).lower() if isinstance(value, int) else str(msgspec.json.encode(value), "utf-8", "replace")
    return InvalidInput(f"{tensor}: {shown[:40]} at {place} does not fit {datatype}, which takes {_TAKES[datatype]}")


def _takes(datatype: str) -> str:
    if datatype == "BOOL":
        return "true or false"
    if datatype == BYTES:
        return "strings"
    dtype = DTYPES[datatype]
    if datatype in FLOATS:
        return f"numbers up to {float(ml_dtypes.finfo(dtype).max):g}"
    return f"whole numbers {np.iinfo(dtype).min} to {np.iinfo(dtype).max}"


_TAKES: Final = {datatype: _takes(datatype) for datatype in _ITEMS}

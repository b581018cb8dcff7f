"""Cuts the elements of tensors out of a large JSON body, so that what is left can be counted, and decoded at once.

What is left of a valid request is small, whatever its tensors hold. So it has a cap in bytes and one in values, and a
body of a million empty tensors is refused before one of them is made.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from workbench.errors import TooLarge
from workbench.protocols.json_blocks import ElementList, find, list_at, without_strings

LARGE: Final = 64 * 1024
"""Bytes of JSON above which it is cut and counted; what smaller JSON can cost is bounded by its size."""

MAX_HEAD_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of JSON beside the elements of tensors, and before binary data."""

_VALUES, _VALUES_PER_TENSOR = 4096, 256
"""The most values beside the elements of tensors. A tensor has a dozen, and 32 more for the longest shape."""

_KEYS: Final = 4096
"""The most times that "data" may stand in JSON, beside those of tensors."""

_CUT_FROM: Final = 1024
"""A list with fewer bytes stays; there is one for each tensor at most."""

_KEY: Final = b'"data"'
_LIST: Final = re.compile(rb"\s{0,64}+:\s{0,64}+\[")

_STAND_IN: Final = f'"{secrets.token_hex(16)} %d"'.encode()
"""In place of a list: a string that no client can know."""


@dataclass(frozen=True, slots=True)
class CutJson:
    """JSON without its long lists of elements."""

    head: bytes
    lists: Mapping[bytes, ElementList]
    """What stands in `head` -> the list that stood there."""


def cut_elements(text: bytes, max_tensors: int) -> CutJson:
    """Cut the lists called "data" out of `text`, which need not be valid JSON. Raises InvalidInput and TooLarge."""
    kept: list[bytes] = []
    lists: dict[bytes, ElementList] = {}
    at = size = keys = tensors = 0
    while True:
        # Within a string the first quote would be escaped.
        key = find(text, _KEY, at)
        end = len(text) if key < 0 else key + len(_KEY)
        found = _LIST.match(text, end) if key > 0 and text[key - 1] != ord("\\") else None
        keys += 1
        if found is not None:
            tensors += 1
            end = found.end() - 1
        if (size := size + end - at) > MAX_HEAD_BYTES:
            raise TooLarge(
                f"the JSON has more than {MAX_HEAD_BYTES} bytes beside its tensors' data, the most there may be"
            )
        if tensors > max_tensors or keys > max_tensors + _KEYS:
            raise TooLarge(f"there are more than {max_tensors} tensors with data; max_tensors is {max_tensors}")
        kept.append(text[at:end])
        at = end
        if key < 0:
            break
        if found is not None:
            elements = list_at(text, at)
            if len(elements.text) >= _CUT_FROM:
                stand_in = _STAND_IN % len(lists)
                lists[stand_in] = elements
                kept.append(stand_in)
                at += len(elements.text)
    return CutJson(b"".join(kept), lists)


def check_values(head: bytes, max_tensors: int) -> None:
    """Raise TooLarge if `head` holds more values than a request with so many tensors needs."""
    most = _VALUES + _VALUES_PER_TENSOR * max_tensors
    if _values(head) > most and _values(without_strings(head)) > most:
        raise TooLarge(f"the JSON has more than {most} values beside its tensors' data, the most there may be")


def _values(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{") + 1

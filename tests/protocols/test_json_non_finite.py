"""Rewriting NaN and infinities in JSON costs time and memory in proportion to the body, whatever is in it."""

from __future__ import annotations

import random
import time
import tracemalloc

import pytest

from tests.helpers.growth import growth
from workbench.protocols import json_non_finite
from workbench.protocols.json_non_finite import without_bare_words, without_words

MIB = 1 << 20


def test_words_in_strings_stay_and_bare_ones_are_rewritten() -> None:
    text = rb'{"NaN": ["NaN", "\"NaN", "a\\", NaN, "\\\"I\\\\", -Infinity, Infinity, "NaN\\\""]}'
    found = without_bare_words(text)
    assert found.count(b"NaN") == 4
    assert b'"\\"NaN", "a\\\\", ' in found
    assert b", NaN," not in found and b"Infinity" not in found
    assert without_bare_words(b'["NaN", "Inf"]') == b'["NaN", "Inf"]'


@pytest.mark.parametrize(
    "repeated", [b'\\"', b'"', b"NaN", b'"NaN"', b'"NaN",', b"NaN,", b"\\", b'"NaN" ', b"I", b"-Infinity,"]
)
def test_its_time_follows_its_size(repeated: bytes) -> None:
    def seconds(size: int) -> float:
        text = b'{"inputs":[NaN,"' + repeated * (size // len(repeated))
        began = time.process_time()
        without_bare_words(text)
        without_words(text)
        return time.process_time() - began

    assert growth(seconds, MIB // 4, 4, tries=2) < 9  # 4 where it is linear, 16 where it is quadratic


def test_few_strings_are_read_as_many_are() -> None:
    dice = random.Random(0)
    pieces = [b'"', b"NaN", b"Inf", b"-Infinity", b",", b"N", b"\xc3\xa4", b" ", b"[1]"]
    for _ in range(2000):
        text = b"".join(dice.choices(pieces, k=dice.randint(1, 20)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_non_finite, "_FEW_QUOTES", -1)
            many = without_bare_words(text)
        assert without_bare_words(text) == many, text


@pytest.mark.parametrize("text", [b"[NaN," + b'"",' * (MIB // 3) + b"1]", b"[" + b'"NaN",' * (MIB // 6) + b"1]"])
def test_many_short_strings_take_a_few_times_their_bytes(text: bytes) -> None:
    tracemalloc.start()
    try:
        without_bare_words(text)
        without_words(text)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16 * len(text)

"""Rewriting NaN and infinities in JSON costs time and memory in proportion to the body, whatever is in it."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from workbench.protocols.json_non_finite import without_bare_words, without_words

MIB = 1 << 20


def test_words_in_strings_stay_and_bare_ones_are_rewritten() -> None:
    text = rb'{"NaN": ["NaN", "\"NaN", "a\\", NaN, "\\\"I\\\\", -Infinity, Infinity, "NaN\\\""]}'
    found = without_bare_words(text)
    assert found.count(b"NaN") == 4
    assert b'"\\"NaN", "a\\\\", ' in found
    assert b", NaN," not in found and b"Infinity" not in found
    assert without_bare_words(b'["NaN", "Inf"]') == b'["NaN", "Inf"]'


def test_a_string_without_an_end_takes_no_longer_than_its_bytes() -> None:
    def seconds(size: int) -> float:
        body = b'{"inputs":[NaN,"' + b'\\"' * (size // 2)
        began = time.process_time()
        without_bare_words(body)
        return time.process_time() - began

    seconds(MIB)
    assert (
        seconds(4 * MIB) < 5
    )  # where each quote was looked for again it took 2.8 s for 32 KB, four times as long doubled


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

from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.core.provenance import (
    MAX_BYTES,
    MAX_ENTRIES,
    MAX_TEXT,
    AnswerCheck,
    OutputCheck,
    Provenance,
    checked,
    decode,
    encode,
    told,
)
from workbench.errors import InvalidInput

CHECK = AnswerCheck(True, 32, False, 0.001, "max |diff| 1.4e-7 on 32 rows", (OutputCheck("y", 32, largest=1.4e-7),))
RECORD = Provenance("net", {"torch": "2.13.0"}, 1.7e9, ("batch axis free",), CHECK)


def test_a_record_is_the_same_after_a_round_trip() -> None:
    assert decode(encode(RECORD)) == RECORD
    assert decode(encode(Provenance("net"))) == Provenance("net")


def test_a_record_that_is_too_long_is_cut_where_it_is_written() -> None:
    check = replace(CHECK, summary="s" * 9999, outputs=CHECK.outputs * 999)
    versions = {f"v{number}": "1" for number in range(999)}
    large = Provenance("é" * 9999, versions, 1.0, ("n" * 9999,) * 999, check)
    data = encode(large)
    assert len(data) < MAX_BYTES
    assert len(decode(data).source) == MAX_TEXT
    assert len(decode(data).versions) == MAX_ENTRIES
    with pytest.raises(InvalidInput, match="a text over 200 characters, over 16 versions"):
        checked(large)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"source": 5}',
        b'{"source": "net", "exported_at": -1}',
        b'{"source": "net", "exported_at": 1e300}',
        b'{"source": "net", "check": {"agrees": true}}',
        b'{"source": "net", "notes": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"source": "' + b"x" * MAX_BYTES + b'"}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_record_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="record of"):
        decode(data)


def test_where_a_model_came_from_is_told_in_one_line() -> None:
    assert told(replace(RECORD, exported_at=0.0)) == "net (torch 2.13.0)"
    assert told(RECORD).startswith("net (torch 2.13.0), 2023-11-1")

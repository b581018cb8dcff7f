from __future__ import annotations

import pytest

from workbench.protocols.trace_headers import request_id, traceparent

VALID = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_valid_traceparent_is_taken_as_it_is() -> None:
    assert traceparent(VALID) == VALID.decode()


def test_of_a_version_to_come_the_known_part_is_taken() -> None:
    later = b"cc" + VALID[2:]
    assert traceparent(later) == later.decode()
    assert traceparent(later + b"-what-the-future-adds") == later.decode()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"ff" + VALID[2:],
        VALID + b"-more",
        VALID + b"\n",
        VALID[:-1],
        VALID.upper(),
        b"cc" + VALID[2:] + b".more",
        b"00-" + b"0" * 32 + VALID[35:],
        VALID[:36] + b"0" * 16 + b"-01",
        b"\xff" * 55,
    ],
)
def test_an_invalid_traceparent_is_passed_over(value: bytes) -> None:
    assert traceparent(value) == ""


def test_a_request_id_is_printable_and_short() -> None:
    for good in (b"a", b"9f1c-77/x:1", b"x" * 128):
        assert request_id(good) == good
    for bad in (b"", b"x" * 129, b"a b", b"a\nb", b"\xc3\xa9", b"a\x00"):
        assert request_id(bad) is None

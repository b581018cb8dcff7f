"""Protobuf's variable-length integers."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """Encode a whole number from 0."""
    if value < 0x80:
        return bytes((value,))
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def read_varint(content: bytes, at: int) -> tuple[int, int]:
    """Decode the number that begins at `at`: (value, where it ends).

    Ten octets can hold up to 70 bits, of which protobuf uses 64. Raises IndexError at the end of `content`, ValueError
    for a longer number.
    """
    value = shift = 0
    while True:
        octet = content[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten octets")

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

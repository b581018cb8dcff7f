"""Messages between a function's process and the service, either way: arrays by a shared file, all else inline.

A message is the sizes of its two parts, JSON, and the arrays' bytes unless they are in the shared file.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
from collections.abc import Callable
from typing import Any

SIZES = struct.Struct("<II")
INLINE_BYTES = 65_536
BUFFER_BYTES = 2 * INLINE_BYTES
MAX_MESSAGE_BYTES = 1 << 20
ALIGNED = 16


class Channel:
    """Messages to and from the process that started this one."""

    def __init__(self, control: socket.socket, taken: int, given: int) -> None:
        self._control, self._taken, self._given = control, taken, given
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        os.register_at_fork(after_in_child=control.close)

    def received(self) -> tuple[dict[str, Any], list[Any]]:
        """What is asked, and the bytes of its arrays."""
        body, head = message(self._control, self._buffer)
        if body is None:
            os.killpg(0, signal.SIGKILL)
        assert body is not None
        asked = json.loads(bytes(body[:head]))
        return asked, arrays_of(bytearray(body[head:]), self._taken, asked.get("sizes", []))

    def send(self, answer: dict[str, Any], parts: list[Any]) -> None:
        answer["sizes"] = [len(part) for part in parts]
        inline = sum(map(padded, answer["sizes"]))
        if inline > INLINE_BYTES:
            inline = offset = 0
            for part in parts:
                write_at(self._given, part, offset)
                offset += padded(len(part))
        head = json.dumps(answer).encode()
        pieces = [SIZES.pack(len(head), inline), head]
        for part in parts if inline else ():
            pieces += [part, bytes(padded(len(part)) - len(part))]
        self._control.sendall(b"".join(pieces))


def message(
    control: socket.socket, buffer: memoryview, before_more: Callable[[], None] | None = None
) -> tuple[memoryview | None, int]:
    """The next message without its sizes, and the size of its head; None where the other side has ended.

    It mostly comes whole with one call to the system, into `buffer`, and is to be used before the next one.
    `before_more` is called before each further call.
    """
    filled, whole = 0, SIZES.size
    while filled < whole:
        if filled and before_more is not None:
            before_more()
        count = control.recv_into(buffer[filled:])
        if not count:
            return None, 0
        filled += count
        if whole == SIZES.size <= filled:
            head, inline = SIZES.unpack_from(buffer)
            whole += head + inline
            if whole > len(buffer):
                if whole > MAX_MESSAGE_BYTES:
                    return None, 0
                larger = memoryview(bytearray(whole))
                larger[:filled] = buffer[:filled]
                buffer = larger
    return buffer[SIZES.size : whole], head


def arrays_of(inline: bytearray, shared: int, sizes: list[int]) -> list[Any]:
    """The bytes of each array: in the message, or in the shared file where there is nothing in it. ValueError where the
    file has less than that."""
    data, offset, parts = memoryview(inline), 0, []
    for size in sizes:
        if inline:
            parts.append(data[offset : offset + size])
        else:
            parts.append(memoryview(bytearray(size)))
            read_at(shared, parts[-1], offset)
        offset += padded(size)
    return parts


def padded(size: int) -> int:
    """Each array begins where its elements are aligned."""
    return -(-size // ALIGNED) * ALIGNED


def read_at(file: int, part: memoryview, offset: int) -> None:
    done = 0
    while done < len(part):
        if not (count := os.preadv(file, [part[done:]], offset + done)):
            raise ValueError("the shared file is shorter than was said")
        done += count


def write_at(file: int, part: Any, offset: int) -> None:
    part = memoryview(part)
    done = 0
    while done < len(part):
        done += os.pwrite(file, part[done:], offset + done)

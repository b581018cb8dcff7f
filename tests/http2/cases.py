"""Cases as data: frames that a client sends after its greeting, and what may come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.http2.raw import END_HEADERS, END_STREAM, ERRORS, LARGEST, Frame, Peer, data, headers, message, ping, plain
from tests.http2.service import IS_LIVE, LIVE, WATCH, head

LIMIT_S = 5.0

CALL = plain(head(LIVE))
"""A block that leaves the table alone, so that it may come at any place of a connection."""

WATCHING = plain(head(WATCH))
OTHER_END = END_HEADERS | END_STREAM
EMPTY = message()


def calls(stream: int = 1, block: bytes = CALL) -> list[Frame]:
    """A whole call."""
    return [headers(stream, block), data(stream, EMPTY, end=True)]


def connection(*codes: str) -> tuple[str, ...]:
    return tuple(f"the connection ends with {code}" for code in codes)


def stream(*codes: str, number: int = 1) -> tuple[str, ...]:
    return tuple(f"stream {number} is reset with {code}" for code in codes)


@dataclass(frozen=True)
class Case:
    name: str
    frames: Sequence[Frame]
    expected: tuple[str, ...]
    """What may come of it; the first is what we would do."""


def outcome(peer: Peer) -> str:
    """What came of the frames before: the first stream's end, unless the whole connection ended."""
    peer.send(ping(b"what now"))
    peer.until(lambda: b"what now" in peer.pongs or peer.gone is not None)
    if peer.gone is not None:
        peer.until(lambda: peer.closed)
        return f"the connection ends with {ERRORS[peer.gone]}"
    if peer.closed:
        return "the connection ends without a word"
    peer.until(lambda: not peer.streams or any(each.done for each in peer.streams.values()) or peer.gone is not None)
    if peer.gone is not None:
        return outcome(peer)
    for number, each in peer.streams.items():
        if each.reset is not None and not each.ended:
            return f"stream {number} is reset with {ERRORS[each.reset]}"
    for number, each in peer.streams.items():
        if each.ended:
            return f"stream {number} is answered {each.headers[b':status'].decode()}"
    return "nothing"


LIVES = ("nothing",)
ANSWERED = ("stream 1 is answered 200",)
MALFORMED = stream("PROTOCOL_ERROR")


def check(case: Case, address: str) -> None:
    """What comes of the case is what may, and a connection that it left alive serves on."""
    with Peer(address, limit_s=LIMIT_S) as peer:
        peer.send(*case.frames)
        found = outcome(peer)
        assert found in case.expected
        if not peer.closed:
            # The streams beside it go on.
            peer.streams.clear()
            last = max((each.stream & LARGEST for each in case.frames), default=0)
            if last != LARGEST:
                last += 1 + last % 2
                peer.send(*calls(last))
                answer = peer.answer(last)
                assert (answer.grpc_status, answer.messages) == (0, [IS_LIVE])

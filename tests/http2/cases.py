"""Cases as data: frames that a client sends after its preface, and the one outcome that is right."""

from __future__ import annotations

from collections.abc import Sequence

from tests.http2.raw import ERRORS, LARGEST, Frame, Peer, data, headers, message, ping, plain
from tests.http2.service import LIVE, WATCH, head

CALL = plain(head(LIVE))
"""A block that leaves the table alone, so that it may come anywhere in a connection."""

WATCHING = plain(head(WATCH))
EMPTY = message()

OPEN, END = headers(1, CALL), data(1, EMPTY, end=True)
"""The two frames of a call."""


def calls(stream: int = 1, block: bytes = CALL) -> list[Frame]:
    """A whole call."""
    return [headers(stream, block), data(stream, EMPTY, end=True)]


Case = tuple[str, Sequence[Frame], str]
"""Name, frames, and what `outcome` says of them."""

OK, MALFORMED, GARBAGE = "stream 1: 200", "RST_STREAM 1 PROTOCOL", "GOAWAY COMPRESSION"


def outcome(peer: Peer) -> str:
    """How the first stream that ended did so, unless the whole connection ended."""
    peer.send(ping(b"what now"))
    peer.until(lambda: b"what now" in peer.pongs or peer.gone is not None)
    if peer.gone is None:
        peer.until(lambda: not peer.streams or any(s.done for s in peer.streams.values()) or peer.gone is not None)
    if peer.gone is not None:
        peer.until(lambda: peer.closed)
        return f"GOAWAY {_short(peer.gone)}"
    assert not peer.closed, "the connection ended without GOAWAY"
    for number, each in peer.streams.items():
        if each.reset is not None and not each.ended:
            return f"RST_STREAM {number} {_short(each.reset)}"
    for number, each in peer.streams.items():
        if each.ended:
            return f"stream {number}: {each.headers[b':status'].decode()}"
    return "nothing"


def _short(code: int) -> str:
    return ERRORS[code].removesuffix("_ERROR")


def check(case: Case, peer: Peer) -> None:
    """The outcome is as expected, and a connection that is still open serves another stream."""
    _, frames, expected = case
    peer.send(*frames)
    assert outcome(peer) == expected
    if not peer.closed:
        peer.streams.clear()
        last = max((each.stream & LARGEST for each in frames), default=0)
        if last != LARGEST:
            last += 1 + last % 2
            peer.send(*calls(last))
            assert peer.answer(last).grpc_status == 0

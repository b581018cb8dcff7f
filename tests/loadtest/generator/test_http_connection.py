"""One connection, fed with bytes by hand."""

from __future__ import annotations

import asyncio
import time

import pytest

from workbench.loadtest.generator.http_connection import Connection, HttpConnection
from workbench.loadtest.store.records import OUTCOMES


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def abort(self) -> None:
        self.aborted = True


class Owner:
    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seen: list[tuple[str, str]] = []
        self.tokens: list[str | None] = []
        """Those to send with again, once each is refused."""

    def refused(self, connection: Connection, token: str | None) -> bool:
        if not self.tokens:
            return False
        connection.send(b"request again", self.tokens.pop())
        return True

    def ended(self, connection: Connection, now_s: float, outcome: int, said: str) -> None:
        assert 0 <= now_s < 60
        self.seen.append((OUTCOMES[outcome], said))

    def lost(self, connection: Connection) -> None:
        assert not connection.usable
        self.seen.append(("lost", ""))


def open_lane() -> tuple[HttpConnection, Owner, Wire]:
    owner, wire = Owner(), Wire()
    connection = HttpConnection(owner)
    connection.connection_made(wire)
    return connection, owner, wire


OK = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + OK
OLD = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"


@pytest.mark.parametrize("answer", [OK, CHUNKED, EMPTY, CONTINUED, OLD], ids=["ok", "chunked", "empty", "100", "1.0"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_answer_is_read_in_whatever_pieces_it_comes_and_the_lane_goes_on(answer: bytes, size: int) -> None:
    connection, owner, wire = open_lane()
    for turn in (1, 2):
        connection.send(b"request")
        assert connection.busy
        for start in range(0, len(answer), size):
            assert owner.seen == [("ok", "")] * (turn - 1)
            connection.data_received(answer[start : start + size])
        assert owner.seen == [("ok", "")] * turn
        assert connection.received == len(answer) and connection.first_byte_s >= 0
        assert (connection.busy, connection.usable, wire.aborted) == (False, True, False)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(400, "invalid"), (404, "invalid"), (429, "rejected"), (500, "failed"), (503, "unavailable"), (504, "expired")],
)
def test_a_status_says_how_it_ended_and_the_body_why(status: int, outcome: str) -> None:
    connection, owner, _ = open_lane()
    connection.send(b"request")
    connection.data_received(b"HTTP/1.1 %d X\r\nContent-Length: 4\r\n\r\nw" % status)
    connection.data_received(b"hy!")
    assert owner.seen == [(outcome, f"HTTP {status}: why!")]


def test_a_full_queue_is_no_server_that_is_not_ready() -> None:
    connection, owner, _ = open_lane()
    connection.send(b"request")
    said = b'{"error":"Exceeds maximum queue size"}'
    connection.data_received(b"HTTP/1.1 503 X\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))
    assert [outcome for outcome, _ in owner.seen] == ["rejected"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"220 mail ESMTP\r\n\r\n", "failed"),
        (b"\x00\x01\x02\r\n\r\n", "failed"),
        (OK + b"more", "failed"),
        (b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\nLocation: /\r\n\r\n", "failed"),
        (b"H" * 70_000, "failed"),
    ],
    ids=["mail", "binary", "too much", "moved", "endless head"],
)
def test_what_is_no_answer_fails(answer: bytes, outcome: str) -> None:
    connection, owner, _ = open_lane()
    connection.send(b"request")
    connection.data_received(answer)
    assert [word for word, _ in owner.seen if word != "lost"] == [outcome]


def test_an_answer_that_says_that_it_closes_is_the_lanes_last() -> None:
    connection, owner, wire = open_lane()
    connection.send(b"request")
    connection.data_received(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert owner.seen == [("lost", ""), ("ok", "")]
    assert wire.aborted and not connection.usable
    connection.connection_lost(None)
    assert len(owner.seen) == 2


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    connection, owner, _ = open_lane()
    connection.send(b"request")
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nhel")
    connection.data_received(b"lo")
    assert owner.seen == []
    connection.connection_lost(None)
    assert owner.seen == [("lost", ""), ("ok", "")]


@pytest.mark.parametrize(
    ("came", "said"),
    [
        (b"", "closed before an answer"),
        (OK[:20], "before the answer was whole"),
        (OK[:-1], "before the answer was whole"),
    ],
)
def test_a_connection_that_breaks_ends_what_is_under_way(came: bytes, said: str) -> None:
    connection, owner, _ = open_lane()
    connection.send(b"request")
    if came:
        connection.data_received(came)
    connection.connection_lost(ConnectionResetError())
    assert [word for word, _ in owner.seen] == ["lost", "connection"]
    assert said in owner.seen[1][1]


def test_a_connection_that_is_closed_while_idle_is_only_lost() -> None:
    connection, owner, _ = open_lane()
    connection.connection_lost(None)
    assert owner.seen == [("lost", "")]
    connection, owner, wire = open_lane()
    connection.data_received(b"HTTP/1.1 408 Late\r\n\r\n")
    assert owner.seen == [("lost", "")] and wire.aborted


def test_a_lane_that_was_given_up_tells_nothing_more() -> None:
    connection, owner, wire = open_lane()
    connection.send(b"request")
    connection.abort()
    connection.data_received(OK)
    connection.connection_lost(None)
    assert owner.seen == [] and wire.aborted


def test_a_request_whose_token_was_replaced_is_sent_again_and_ends_once() -> None:
    connection, owner, wire = open_lane()
    refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nwhat"
    owner.tokens = ["new"]
    connection.send(b"request", "old")
    connection.data_received(refusal)
    assert (bytes(wire.sent), owner.seen, connection.busy) == (b"requestrequest again", [], True)
    connection.data_received(OK)
    connection.send(b"request", "new")
    connection.data_received(refusal)  # no other token is known
    assert owner.seen == [("ok", ""), ("invalid", "HTTP 401: what")]
    assert connection.usable

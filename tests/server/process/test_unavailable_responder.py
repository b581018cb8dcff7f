"""The keeper's own answers, while it has no worker, among callers that say nothing."""

from __future__ import annotations

import errno
import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from workbench.server.process.startup import bind
from workbench.server.process.unavailable_responder import (
    CONNECTION_S,
    MAX_CONNECTIONS,
    HttpConversation,
    UnavailableResponder,
)

CALL = b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n\r\n"


class Keeper:
    """The selector and the clock that a keeper gives its responder; both move by hand."""

    def __init__(self, listener: socket.socket) -> None:
        self.selector = selectors.DefaultSelector()
        self.responder = UnavailableResponder(
            listener, self.selector, lambda: HttpConversation("secret", lambda: "it is tried again")
        )
        self.address: tuple[str, int] = listener.getsockname()

    def settle(self) -> None:
        """Do all that is to be done."""
        for _ in range(10_000):
            ready = self.selector.select(0)
            if not ready:
                return
            for key, _ in ready:
                key.data()
        raise AssertionError("it never comes to rest")


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    with bind("127.0.0.1", 0) as listener:
        keeper = Keeper(listener)
        keeper.responder.open()
        yield keeper
        keeper.responder.tick(2 * CONNECTION_S)
        keeper.responder.close()
        assert not keeper.selector.get_map()
        keeper.selector.close()


def test_the_oldest_connection_makes_room_for_another_one(keeper: Keeper) -> None:
    with ExitStack() as stack:
        silent = []
        for _ in range(MAX_CONNECTIONS + 1):
            silent.append(stack.enter_context(socket.create_connection(keeper.address)))
            keeper.settle()
        caller = stack.enter_context(socket.create_connection(keeper.address))
        caller.sendall(CALL)
        keeper.settle()
        caller.settimeout(20)
        assert caller.recv(65_536).startswith(b"HTTP/1.1 503 ")
        silent[0].settimeout(20)
        assert silent[0].recv(1) == b""


def test_without_descriptors_it_rests_until_the_next_tick(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(self: socket.socket) -> tuple[socket.socket, object]:
        raise OSError(errno.EMFILE, "Too many open files")

    with socket.create_connection(keeper.address) as silent, socket.create_connection(keeper.address) as caller:
        keeper.settle()
        with socket.create_connection(keeper.address) as late:
            late.sendall(CALL)
            with monkeypatch.context() as patch:
                patch.setattr(socket.socket, "accept", short)
                keeper.settle()
            silent.settimeout(20)
            assert silent.recv(1) == b""  # the oldest gives its own
            caller.sendall(CALL)
            keeper.settle()  # those that are open are answered meanwhile
            caller.settimeout(20)
            assert caller.recv(65_536).startswith(b"HTTP/1.1 503 ")
            keeper.responder.tick(0.0)
            keeper.settle()
            late.settimeout(20)
            assert late.recv(65_536).startswith(b"HTTP/1.1 503 ")

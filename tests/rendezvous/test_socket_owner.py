from __future__ import annotations

import os
import socket
import sys

import pytest

from workbench.rendezvous import socket_owner
from workbench.rendezvous.socket_owner import NO_SUCH_SOCKET, SocketEntry, decide_owner, is_own, owner_of_peer

LINUX = sys.platform == "linux"


@pytest.mark.parametrize(
    ("other_end", "listener", "owner"),
    [
        (SocketEntry(7, 1), None, 7),
        (SocketEntry(0, 0), SocketEntry(7, 1), 7),  # waits to be accepted: the kernel says root
        (SocketEntry(7, 1), SocketEntry(8, 2), 7),  # another process listens there by now
        (SocketEntry(0, 0), None, NO_SUCH_SOCKET),
        (None, SocketEntry(7, 1), 7),
        (None, None, NO_SUCH_SOCKET),
    ],
)
def test_the_other_end_belongs_to_who_accepted_it_or_else_to_who_listens(
    other_end: SocketEntry | None, listener: SocketEntry | None, owner: int
) -> None:
    assert decide_owner(other_end, listener) == owner


@pytest.mark.parametrize(
    ("owner", "keeper_alive", "own"),
    [
        (os.geteuid(), None, True),
        (os.geteuid(), False, True),  # its worker has some moments left
        (os.geteuid() + 1, True, False),
        (NO_SUCH_SOCKET, True, False),
        (None, True, True),
        (None, False, False),
        (None, None, True),
    ],
)
def test_secrets_are_sent_to_this_user_only(owner: int | None, keeper_alive: bool | None, own: bool) -> None:
    assert is_own(owner, keeper_alive) is own


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


ADDRESSES = ["127.0.0.1", "0.0.0.0", *(["::1", "::"] if _has_ipv6() else [])]


@pytest.mark.parametrize("bound", ADDRESSES)
def test_the_system_tells_whose_the_other_end_is_before_and_after_it_was_accepted(bound: str) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    to = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(bound, bound)
    mine = os.geteuid() if LINUX else None
    with (
        socket.create_server((bound, 0), family=family, dualstack_ipv6=bound == "::") as server,
        socket.create_connection((to, server.getsockname()[1])) as client,
    ):
        ends = client.getpeername()[:2], client.getsockname()[:2]
        assert owner_of_peer(*ends) == mine
        with server.accept()[0]:
            assert owner_of_peer(*ends) == mine


@pytest.mark.parametrize(("known", "owner"), [(True, NO_SUCH_SOCKET), (False, None)])
def test_a_peer_elsewhere_is_nobody_here_unless_the_kernel_knows_no_socket_at_all(
    monkeypatch: pytest.MonkeyPatch, known: bool, owner: int | None
) -> None:
    peer, own = ("192.0.2.1", 80), ("192.0.2.2", 40000)

    def entry(_kernel: object, _family: object, at: object, _to: object) -> SocketEntry | None:
        return SocketEntry(os.geteuid(), 1) if known and at == own else None

    monkeypatch.setattr(socket_owner, "_entry", entry)
    assert owner_of_peer(peer, own) == (owner if LINUX else None)

"""Tells which user is at the other end of a connection within this machine, so that nothing secret is sent to another.

Linux answers through a netlink socket (sock_diag), without privileges and without reading the whole of /proc/net/tcp,
which takes milliseconds where there are thousands of connections.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from dataclasses import dataclass

NO_SUCH_SOCKET = -1
"""In place of a user: no process of this machine has the other end."""

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY, _NLMSG_ERROR, _REQUEST = 20, 2, 1
_HEADER = struct.Struct("=IHHII")
_QUERY = struct.Struct("=BBBBI")
_NO_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_OWNER_AT = 64
"""Where uid and inode lie in the answer, after its header."""


@dataclass(frozen=True, slots=True)
class SocketEntry:
    """A TCP socket as the kernel lists it."""

    uid: int
    inode: int
    """0: no process has it, because it waits to be accepted or was closed. Its uid says nothing then."""


def owner_of_peer(peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """The uid of the process with the other end of the TCP connection from `own` to `peer`, two numeric addresses and
    ports, or NO_SUCH_SOCKET; None where this system does not tell (other systems than Linux, some sandboxes)."""
    if sys.platform != "linux":
        return None
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(1.0)
            family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
            nowhere = "::" if family == socket.AF_INET6 else "0.0.0.0"
            accepted = _entry(kernel, family, peer, own)
            if accepted is not None and accepted.inode:
                return decide_owner(accepted, None)
            owner = decide_owner(accepted, _entry(kernel, family, peer, (nowhere, 0)))
            if owner == NO_SUCH_SOCKET and _entry(kernel, family, own, peer) is None:
                return None  # not even this end is known: a kernel without tcp_diag says so of every socket
            return owner
    except OSError:
        return None


def decide_owner(other_end: SocketEntry | None, listener: SocketEntry | None) -> int:
    """Whose the other end is: the user of the process that accepted the connection, or else that listens there."""
    for entry in (other_end, listener):
        if entry is not None and entry.inode:
            return entry.uid
    return NO_SUCH_SOCKET


def is_own(owner: int | None, keeper_alive: bool | None) -> bool:
    """Whether secrets may be sent there: it belongs to this user. Where the system does not tell, whether the service's
    keeper lives, since it holds the port as long as it does; None: that is not known either, and trusted."""
    return keeper_alive is not False if owner is None else owner == os.geteuid()


def _entry(
    kernel: socket.socket, family: socket.AddressFamily, at: tuple[str, int], to: tuple[str, int]
) -> SocketEntry | None:
    """The socket bound to `at` and connected `to`, or where there is none such, listening at `at`. OSError."""
    addresses = b"".join(socket.inet_pton(family, host.partition("%")[0]).ljust(16, b"\0") for host, _ in (at, to))
    query = _QUERY.pack(family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF)
    query += struct.pack("!HH", at[1], to[1]) + addresses + _NO_COOKIE
    kernel.send(_HEADER.pack(_HEADER.size + len(query), _SOCK_DIAG_BY_FAMILY, _REQUEST, 0, 0) + query)
    answer = kernel.recv(8192)
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind == _NLMSG_ERROR:
        (number,) = struct.unpack_from("=i", answer, _HEADER.size)
        if -number == errno.ENOENT:
            return None
        raise OSError(-number, os.strerror(-number))
    uid, inode = struct.unpack_from("=II", answer, _HEADER.size + _OWNER_AT)
    return SocketEntry(uid, inode)

"""A server whose answers leave to within some microseconds of when they are to, and that keeps what it really did.

    python -m tests.loadtest.precise '{"delays_s": [0.01]}'

prints its port, serves until its stdin ends, and prints how long each inference took it, in seconds. It needs a core of
its own: while there is anything to do it asks the kernel again and again instead of waiting to be woken.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import select
import socket
import sys
import threading
import time
from array import array
from dataclasses import asdict, dataclass
from typing import Any, Self

from tests.loadtest.servers import INFERENCE, ROUTES, begun

IDLE_S = 0.5
"""After the last request it is spun for so long."""


@dataclass(frozen=True)
class Timing:
    delays_s: tuple[float, ...] = (0.0,)
    """In turn. A delay begins when the request is read."""
    freeze_every_s: float = 0.0
    """From the first inference on, so often what comes is answered only when `freeze_s` are over; 0: never."""
    freeze_s: float = 0.0


def answer_of(body: object, status: str = "200 OK") -> bytes:
    data = json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


GIVEN = {path: answer_of(found) for path, found in ROUTES.items()}
INFERRED = answer_of(INFERENCE)


class Server:
    def __init__(self, timing: Timing, listener: socket.socket) -> None:
        self._timing = timing
        self._listener = listener
        self._poll = select.epoll()
        self._poll.register(listener, select.EPOLLIN)
        self._connections: dict[int, socket.socket] = {}
        self._parts: dict[int, bytes] = {}
        self._due: list[tuple[float, int, int, float]] = []
        """(when, number, descriptor, when it was read)"""
        self._first_s = 0.0
        self.took_s = array("d")
        self.stopped = threading.Event()

    def run(self) -> None:
        clock, due, asked, busy_until = time.monotonic, self._due, 0, 0.0
        while not self.stopped.is_set():
            now_s = clock()
            while due and due[0][0] <= now_s:
                _, _, descriptor, read_s = heapq.heappop(due)
                if (connection := self._connections.get(descriptor)) is not None:
                    connection.send(INFERRED)
                    self.took_s.append(clock() - read_s)
            for descriptor, _ in self._poll.poll(0 if due or now_s < busy_until else 0.02):
                if descriptor == self._listener.fileno():
                    self._accept()
                    continue
                for _ in range(self._inferences(descriptor)):
                    read_s = clock()
                    heapq.heappush(due, (self._when(read_s, asked), asked, descriptor, read_s))
                    asked += 1
                    busy_until = read_s + IDLE_S

    def _when(self, now_s: float, number: int) -> float:
        timing = self._timing
        self._first_s = self._first_s or now_s
        at_s = now_s + timing.delays_s[number % len(timing.delays_s)]
        if timing.freeze_every_s:
            into_s = (now_s - self._first_s) % timing.freeze_every_s
            if into_s > timing.freeze_every_s - timing.freeze_s:
                at_s = max(at_s, now_s - into_s + timing.freeze_every_s)
        return at_s

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connection.fileno()] = connection
        self._parts[connection.fileno()] = b""
        self._poll.register(connection, select.EPOLLIN)

    def _inferences(self, descriptor: int) -> int:
        """How many have come whole; what else was asked is answered at once."""
        data = b""
        with contextlib.suppress(ConnectionError):
            data = self._connections[descriptor].recv(65_536)
        if not data:
            self._poll.unregister(descriptor)
            self._connections.pop(descriptor).close()
            del self._parts[descriptor]
            return 0
        data = self._parts[descriptor] + data
        found = 0
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[: end + 4].lower()
            at = head.find(b"\r\ncontent-length:")
            length = int(head[at + 17 : head.index(b"\r\n", at + 2)]) if at >= 0 else 0
            if len(data) < end + 4 + length:
                break
            path, data = data[: data.index(b"HTTP/")], data[end + 4 + length :]
            if path.startswith(b"POST"):
                found += 1
            else:
                self._connections[descriptor].send(GIVEN.get(path) or answer_of({"error": "no"}, "404 Not Found"))
        self._parts[descriptor] = data
        return found


class Precise:
    """The server in a process of its own; `url` is where. End it with `with`; then `took_s` has what it did.

    Meanwhile this process, and what it starts, leaves one core to the server: else whoever is woken on the core where
    the server spins waits for it until the system's next tick, 4 ms mostly.
    """

    def __init__(self, timing: Timing) -> None:
        self._cores = os.sched_getaffinity(0)
        self._process, self.url = begun("tests.loadtest.precise", asdict(timing))
        self.took_s: list[float] = []

    def __enter__(self) -> Self:
        if len(self._cores) > 1:
            core = max(self._cores)
            os.sched_setaffinity(self._process.pid, {core})
            os.sched_setaffinity(0, self._cores - {core})
        return self

    def __exit__(self, *_: object) -> None:
        os.sched_setaffinity(0, self._cores)
        said, _ = self._process.communicate()
        self.took_s = json.loads(said)


def main(timing: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        print(listener.getsockname()[1], flush=True)
        server = Server(Timing(**timing), listener)

        def until_left() -> None:
            sys.stdin.read()
            server.stopped.set()

        threading.Thread(target=until_left, daemon=True).start()
        server.run()
    print(json.dumps(list(server.took_s)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

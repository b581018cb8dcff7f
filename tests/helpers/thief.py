"""Another user of the machine, who takes a port as soon as it is free and keeps what clients send there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.helpers.waiting import until

NOBODY = 65534

AS_ANOTHER_USER = hasattr(os, "geteuid") and os.geteuid() == 0
"""Only root can, as in CI. Elsewhere the thief is this user, whom nothing keeps from the token file."""

_SCRIPT = """
import json, os, selectors, socket, sys, threading
uid, *ports = map(int, sys.argv[1:])
if uid:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
def say(**what): print(json.dumps(what), flush=True)
say(thief=os.geteuid())
listening = {}
def take(port):
    with_port = socket.socket()
    try:
        with_port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with_port.bind(("127.0.0.1", port)); with_port.listen()
    except OSError:
        with_port.close(); return
    listening[port] = with_port
    say(took=port)
    def serve():
        while True:
            taken, _ = with_port.accept()
            taken.sendall(bytes.fromhex("000000040000000000"))  # HTTP/2: its settings, so that calls are sent
            def read():
                try:
                    while data := taken.recv(65536):
                        say(got=data.hex())
                except ConnectionError:
                    pass
                say(ended=port)
            threading.Thread(target=read, daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()
while len(listening) < len(ports):
    for port in ports:
        if port not in listening:
            take(port)
    threading.Event().wait(0.0005)
threading.Event().wait()
"""


class Thief:
    """Tries without end to listen on `ports` of 127.0.0.1. End it with `with`."""

    def __init__(self, ports: Sequence[int]) -> None:
        command = [sys.executable, "-I", "-c", _SCRIPT, str(NOBODY if AS_ANOTHER_USER else 0), *map(str, ports)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._said = b""
        until(lambda: self._all("thief"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def took(self) -> list[int]:
        """The ports that it listens on."""
        return [int(str(port)) for port in self._all("took")]

    @property
    def got(self) -> bytes:
        """All that clients have sent."""
        return b"".join(bytes.fromhex(str(data)) for data in self._all("got"))

    def wait_until_it_listens(self) -> None:
        until(lambda: self.took)

    def wait_until_clients_left(self, count: int = 1) -> None:
        """So that nothing more can come of them."""
        until(lambda: len(self._all("ended")) >= count)

    def wait_until_it_got(self, data: bytes) -> None:
        until(lambda: data in self.got)

    def _all(self, what: str) -> list[object]:
        assert self._process.stdout is not None
        self._said += self._process.stdout.read() or b""
        lines = self._said[: self._said.rfind(b"\n") + 1].splitlines()
        return [found[what] for line in lines if what in (found := json.loads(line))]

"""A listening socket that is closed while clients still connect."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from workbench.server.accept_last import accept_last
from workbench.server.process.startup import bind


def test_all_that_wait_are_accepted_and_nobody_is_reset(runner: asyncio.Runner) -> None:
    runner.run(_end_among_callers())


async def _end_among_callers() -> None:
    class Greet(asyncio.Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            transport.write(b"!")
            transport.close()

    listener = bind("127.0.0.1", 0)
    address = listener.getsockname()
    server = await asyncio.get_running_loop().create_server(Greet, sock=listener)
    answers: list[bytes] = []

    def call_again_and_again() -> None:
        while True:
            try:
                with socket.create_connection(address, timeout=30) as plug:
                    answers.append(plug.recv(1))
            except ConnectionRefusedError:
                return
            except OSError as error:
                answers.append(repr(error).encode())

    callers = [threading.Thread(target=call_again_and_again) for _ in range(4)]
    for each in callers:
        each.start()
    while len(answers) < 100:
        await asyncio.sleep(0.001)
    await accept_last(listener)
    server.close()
    await server.wait_closed()
    for each in callers:
        await asyncio.to_thread(each.join)
    assert set(answers) == {b"!"}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)

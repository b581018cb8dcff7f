"""Rotations of the owner's token that are asked for at once, or left in the middle."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from workbench.errors import Unauthenticated
from workbench.rendezvous.token_file import read_token, write_token
from workbench.server import token_rotation
from workbench.server.gate.auth import Gate
from workbench.server.token_rotation import TokenRotation

OLD = "the-old-token-of-24-chars"


async def test_a_rotation_whose_caller_leaves_is_ended_before_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    write_token(path, OLD)
    gate = Gate(OLD, "127.0.0.1", 10)
    caller = gate.admit_token(None, f"Bearer {OLD}".encode())
    writing, go_on = threading.Event(), threading.Event()
    written: list[str] = []

    def slowly(path: Path, token: str) -> None:
        written.append(token)
        writing.set()
        assert go_on.wait(20)
        write_token(path, token)

    monkeypatch.setattr(token_rotation, "write_token", slowly)
    rotation = TokenRotation(gate, path, lambda token: None)
    first = asyncio.create_task(rotation.rotate(caller))
    await asyncio.to_thread(writing.wait, 20)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(rotation.rotate(caller))
    for _ in range(20):  # turns in which it would begin
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(Unauthenticated, match="replaced"):
        await second
    (token,) = written
    assert read_token(path) == token
    assert not gate.admit_token(None, f"Bearer {token}".encode()).revoked
    assert rotation.count == 1

"""A client that leaves, over a real socket, through the real uvicorn."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.server.listening import REQUEST, listening, until
from workbench.core.ports import Outcome


def test_a_client_that_left_is_dropped_and_its_batch_mates_are_served(runner: asyncio.Runner, tmp_path: Path) -> None:
    runner.run(_leave(tmp_path))


async def _leave(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        house, session = at.house, at.house.session
        session.hold()
        first, *waiting = [await asyncio.open_connection(*at.address) for _ in range(4)]
        first[1].write(REQUEST)
        await asyncio.to_thread(session.entered.acquire)  # the only runner is busy now
        for _, writer in waiting:
            writer.write(REQUEST)
        await until(lambda: house.service.engine.status("digits").queued == 3)

        leaving = waiting[1][1]
        leaving.close()
        await leaving.wait_closed()
        await until(lambda: len(at.server.server_state.connections) == 3)
        session.gate.set()

        for reader, writer in (first, waiting[0], waiting[2]):
            assert b" 200 " in await reader.readline()
            writer.close()
            await writer.wait_closed()
        assert session.batches == [1, 2]
        outcomes = house.service.metrics.state().figures["digits", "1"].outcomes
        assert outcomes[Outcome.OK] == 3
        assert outcomes[Outcome.CANCELLED] == 1

"""An open loop: requests come at random times whether or not earlier ones were answered, as users do.

wrk waits for an answer before it sends again, and so never sees a queue grow. Here every arrival has its due time from
the start, latency counts from that time, and how late the generator itself sent is reported beside it. Answers that
never came are counted, not left out.

python -m benchmarks.poisson SPEC.json      {"port", "path", "headers", "body_file", "rate_per_s", "seconds", "seed"}
"""

from __future__ import annotations

import asyncio
import json
import selectors
import sys
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import Body
from benchmarks.wire import Connection, connect, request_bytes

AT_FIRST, AT_MOST = 32, 256
"""Connections."""
PATIENCE_S = 10.0
"""After the last arrival, what answers may still take."""


@dataclass(frozen=True, slots=True)
class Open:
    """What came of one open loop."""

    rate_per_s: float
    sent: int
    failed: int
    """Other answers than 200, broken connections, and no answer at all."""
    p50_s: float
    p99_s: float
    lag_p99_s: float
    """How late requests were sent for which a connection was free."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The same, answer by answer."""

    sent: int
    failed: int
    latencies_s: list[float]
    lags_s: list[float]


async def drive_open(port: int, request: bytes, rate_per_s: float, seconds: float, seed: int) -> Open:
    found = await answers_open(port, request, rate_per_s, seconds, seed)
    p50, p99 = np.quantile(found.latencies_s or [float("nan")], (0.5, 0.99))
    lag = np.quantile(found.lags_s or [0.0], 0.99)
    return Open(rate_per_s, found.sent, found.failed, float(p50), float(p99), float(lag))


async def answers_open(port: int, request: bytes, rate_per_s: float, seconds: float, seed: int) -> Answered:
    gaps = np.random.default_rng(seed).exponential(1 / rate_per_s, int(rate_per_s * seconds * 2) + 100)
    arrivals = np.cumsum(gaps)
    arrivals = arrivals[arrivals < seconds]
    loop = asyncio.get_running_loop()
    free = deque([await connect(port) for _ in range(AT_FIRST)])
    opened, waiting = AT_FIRST, deque[float]()
    latencies, lags = list[float](), list[float]()
    refused = broken = 0
    tasks = set[asyncio.Task[None]]()

    async def ask(connection: Connection | None, due: float) -> None:
        nonlocal refused, broken
        fresh = connection is None
        try:
            connection = connection or await connect(port)
            if not fresh:
                lags.append(loop.time() - due)
            answer = await connection.send(request)
            latencies.append(loop.time() - due)
            refused += answer.status != 200
            if connection.closed:
                connection = await connect(port)
        except OSError:
            broken += 1
            connection = await connect(port)
        if waiting:
            start(connection, waiting.popleft())
        else:
            free.append(connection)

    def start(connection: Connection | None, due: float) -> None:
        task = loop.create_task(ask(connection, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    began = loop.time() + 0.1
    for arrival in arrivals:
        due = began + float(arrival)
        await asyncio.sleep(max(0.0, due - loop.time()))  # when late too, so that answers are read meanwhile
        if free:
            start(free.pop(), due)
        elif opened < AT_MOST:
            opened += 1
            start(None, due)
        else:
            waiting.append(due)
    end = loop.time() + PATIENCE_S
    while tasks and loop.time() < end:
        await asyncio.wait(tasks, timeout=end - loop.time())
    unanswered = len(arrivals) - len(latencies) - broken
    for task in list(tasks):
        task.cancel()
    for connection in free:
        connection.close()
    # An answer that never came took at least until now.
    latencies += [loop.time() - began] * unanswered
    return Answered(len(arrivals), refused + broken + unanswered, latencies, lags)


def prompt_loop() -> asyncio.AbstractEventLoop:
    """select() takes microseconds where epoll takes whole milliseconds, which is as long as a fast answer."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def main() -> None:
    spec: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    body = Body(Path(spec["body_file"]).read_bytes(), spec["headers"])
    request = request_bytes(spec["path"], body)
    with asyncio.Runner(loop_factory=prompt_loop) as runner:
        found = runner.run(drive_open(spec["port"], request, spec["rate_per_s"], spec["seconds"], spec["seed"]))
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()

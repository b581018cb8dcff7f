"""What shares cost, and what a share that floods costs others: `python -m benchmarks.share_gate [--seconds 5]`.

One service with the small model. First wrk with the owner's token and with a share's, in turn: what the share's limits
cost a request. Then callers that send by the clock, each in a process of its own: the owner and a share at its rate,
alone, and while another share sends ten times its rate, in turn. Times are from when a request was due, so a caller
that is held up does not hide it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.bodies import oip_body, rows_of
from benchmarks.load import drive
from benchmarks.models import SMALL, save_mlp
from benchmarks.serving import Service, service

OWNER_RATE, OTHER_RATE, FLOODED_RATE = 50, 100, 100
TIMES = 10
"""How many times its rate the flood is."""
CONNECTIONS = 8
"""Of each paced caller, used in turn."""


class Paced:
    """Sends one request at each moment that is due, over kept connections, each with one under way."""

    def __init__(self, port: int, token: str, rate: float, seconds: float) -> None:
        body = oip_body(rows_of("small", 1)[0], "json").data
        self._request = (
            f"POST /v2/models/small/infer HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body
        self._port, self._rate, self._count = port, rate, int(rate * seconds)
        self.statuses: Counter[int] = Counter()
        self.with_retry_after = 0
        self.answered_s: list[float] = []
        """Of those with 200."""

    async def run(self, begins: float) -> None:
        due = iter(range(self._count))

        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            for number in due:
                at = begins + number / self._rate
                await asyncio.sleep(at - time.perf_counter())
                writer.write(self._request)
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                await reader.readexactly(int(fields[b"content-length"]))
                status = int(head[9:12])
                self.statuses[status] += 1
                self.with_retry_after += b"retry-after" in fields
                if status == 200:
                    self.answered_s.append(time.perf_counter() - at)
            writer.close()

        await asyncio.gather(*(one() for _ in range(CONNECTIONS)))

    def told(self) -> dict[str, Any]:
        spread = statistics.quantiles(self.answered_s, n=100) if len(self.answered_s) > 1 else [0.0] * 99
        return {
            "statuses": dict(self.statuses),
            "with_retry_after": self.with_retry_after,
            "p50_ms": spread[49] * 1e3,
            "p99_ms": spread[98] * 1e3,
        }


def paced(plan: list[tuple[int, str, float]], seconds: float) -> None:
    """In the process of the callers: `plan` has each one's (port, token, rate)."""

    async def run() -> list[Paced]:
        callers = [Paced(*each, seconds) for each in plan]
        begins = time.perf_counter() + 0.2
        await asyncio.gather(*(caller.run(begins) for caller in callers))
        return callers

    print(json.dumps([caller.told() for caller in asyncio.run(run())]))


def together(plan: list[tuple[int, str, float]], seconds: float) -> list[dict[str, Any]]:
    """What `plan`'s callers saw; each is a process, so that none of them holds up another."""
    line = [sys.executable, "-m", "benchmarks.share_gate", "--paced"]
    started = [
        subprocess.Popen([*line, json.dumps([[each], seconds])], stdout=subprocess.PIPE, text=True) for each in plan
    ]
    return [json.loads(each.communicate()[0])[0] for each in started]


def shared(served: Service, label: str, rate: float | None) -> str:
    """The token of a new share of the small model."""
    terms = {"models": ["small"], "label": label, "rate": rate, "max_in_flight": 1000, "show_token": True}
    headers = {**served.headers, "Content-Type": "application/json"}
    asked = urllib.request.Request(f"{served.url}/control/shares", json.dumps(terms).encode(), headers)
    with urllib.request.urlopen(asked) as answer:
        return str(json.load(answer)["token"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--paced", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.paced is not None:
        paced(*json.loads(given.paced))
        return
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        with service(scratch / "service", {"small": save_mlp(SMALL, scratch / "small.onnx")}) as served:
            cost(served, given.rounds, given.seconds, scratch)
            flood(served, given.rounds, given.seconds)


def cost(served: Service, rounds: int, seconds: int, scratch: Path) -> None:
    row = rows_of("small", 1)[0]
    tokens = {"owner": served.token, "no rate": shared(served, "free", None), "a rate": shared(served, "rated", 1e6)}
    found: dict[str, list[float]] = {name: [] for name in tokens}
    for number in range(rounds + 1):
        for name in tokens if number % 2 else reversed(tokens):
            body = oip_body(row, "json", {"Authorization": f"Bearer {tokens[name]}"})
            load = drive(f"{served.url}/v2/models/small/infer", body, 32, seconds if number else 1, scratch)
            assert not load.errors, name
            if number:
                found[name].append(load.requests_per_s)
    for name, rates in found.items():
        ratio = statistics.median(mine / owner for mine, owner in zip(rates, found["owner"], strict=True))
        print(f"{name:10} {statistics.median(rates):8.0f} requests/s at 32 connections, x{ratio:.3f} of the owner's")


def flood(served: Service, rounds: int, seconds: int) -> None:
    port = served.port
    calm = [(port, served.token, OWNER_RATE), (port, shared(served, "other", OTHER_RATE), OTHER_RATE * 0.95)]
    loud = [*calm, (port, shared(served, "flood", FLOODED_RATE), FLOODED_RATE * TIMES)]
    ratios = []
    for _ in range(rounds):
        before, _ = together(calm, seconds)
        owner, other, flooding = together(loud, seconds)
        ratios.append(owner["p99_ms"] / before["p99_ms"])
        print(
            f"owner p99 {before['p99_ms']:.2f} ms, beside the flood {owner['p99_ms']:.2f} ms (x{ratios[-1]:.2f}); "
            f"the other share {other['statuses']}; the flood {flooding['statuses']}, "
            f"{flooding['with_retry_after']} with Retry-After"
        )
    print(f"owner p99 x{statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()

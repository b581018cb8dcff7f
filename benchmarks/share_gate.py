"""What shares cost, and what a share that floods costs others: `python -m benchmarks.share_gate [--seconds 5]`.

With `--jupyter` both shares come through a Jupyter server, whose own `/api/status` is asked every 50 ms, while the
owner calls the service: rounds of 30 s, some two minutes in all.

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
from typing import Any, TypedDict

from benchmarks.bodies import oip_body, rows_of
from benchmarks.jupyter_serving import TOKEN, Jupyter, jupyter
from benchmarks.load import drive
from benchmarks.models import SMALL, save_mlp
from benchmarks.serving import Service, service

OWNER_RATE, OTHER_RATE, FLOODED_RATE = 50, 100, 100
TIMES = 10
"""How many times its rate the flood is."""
CONNECTIONS = 8
"""Of each paced caller, used in turn."""
FLOOD_CONNECTIONS = 32
"""Of the flood through a Jupyter server."""
LATE_S = 1.0
"""A request that could not be sent so long after it was due, since those before it were not answered, is not sent."""
INFER = "POST /v2/models/small/infer"
THROUGH = "POST /infer-workbench/endpoint/v2/models/small/infer"
STATUS, STATUS_RATE = "GET /api/status", 20


class PacedBy(TypedDict):
    """What a paced caller sends, and how often a second."""

    port: int
    token: str
    rate: float
    what: str
    connections: int


class Paced:
    """Sends one request at each moment that is due, over kept connections, each with one under way."""

    def __init__(self, port: int, token: str, rate: float, what: str, connections: int, seconds: float) -> None:
        """`what`: method and path."""
        body = oip_body(rows_of("small", 1)[0], "json").data if what.startswith("POST") else b""
        self._request = (
            f"{what} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body
        self._port, self._rate, self._count, self._connections = port, rate, int(rate * seconds), connections
        self.unsent = 0
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
                left_s = at - time.perf_counter()
                if left_s < -LATE_S:
                    self.unsent += 1
                    continue
                await asyncio.sleep(left_s)
                writer.write(self._request)
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:-2])
                await reader.readexactly(int(fields[b"content-length"]))
                status = int(head[9:12])
                self.statuses[status] += 1
                self.with_retry_after += b"retry-after" in fields
                if status == 200:
                    self.answered_s.append(time.perf_counter() - at)
            writer.close()

        await asyncio.gather(*(one() for _ in range(self._connections)))

    def told(self) -> dict[str, Any]:
        spread = statistics.quantiles(self.answered_s, n=100) if len(self.answered_s) > 1 else [0.0] * 99
        return {
            "statuses": dict(self.statuses),
            "with_retry_after": self.with_retry_after,
            "p50_ms": spread[49] * 1e3,
            "p99_ms": spread[98] * 1e3,
            "max_ms": max(self.answered_s, default=0.0) * 1e3,
            "unsent": self.unsent,
        }


def paced(plan: list[PacedBy], seconds: float) -> None:
    """In the process of the callers."""

    async def run() -> list[Paced]:
        callers = [Paced(**each, seconds=seconds) for each in plan]
        begins = time.perf_counter() + 0.2
        await asyncio.gather(*(caller.run(begins) for caller in callers))
        return callers

    print(json.dumps([caller.told() for caller in asyncio.run(run())]))


def together(plan: list[PacedBy], seconds: float) -> list[dict[str, Any]]:
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
    parser.add_argument("--jupyter", action="store_true", help="through a Jupyter server; in rounds of 30 s")
    parser.add_argument("--seconds", type=int, help="of a round (5)")
    parser.add_argument("--rounds", type=int, help="3; through a Jupyter server 2")
    parser.add_argument("--paced", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.paced is not None:
        paced(*json.loads(given.paced))
        return
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        small = save_mlp(SMALL, scratch / "small.onnx")
        if given.jupyter:
            with jupyter(scratch / "jupyter", "small", small) as server:
                flood_through(server, given.rounds or 2, given.seconds or 30)
            return
        with service(scratch / "service", {"small": small}) as served:
            cost(served, given.rounds or 3, given.seconds or 5, scratch)
            flood(served, given.rounds or 3, given.seconds or 5)


def cost(served: Service, rounds: int, seconds: int, scratch: Path) -> None:
    row = rows_of("small", 1)[0]
    tokens = {"owner": served.token, "no rate": shared(served, "free", None), "a rate": shared(served, "rated", 1e6)}
    found: dict[str, list[float]] = {name: [] for name in tokens}
    spent: dict[str, list[float]] = {name: [] for name in tokens}
    for number in range(rounds + 1):
        for name in tokens if number % 2 else reversed(tokens):
            body = oip_body(row, "json", {"Authorization": f"Bearer {tokens[name]}"})
            before, lasts = served.running.cpu_s(), seconds if number else 1
            load = drive(f"{served.url}/v2/models/small/infer", body, 32, lasts, scratch)
            assert not load.errors, name
            if number:
                found[name].append(load.requests_per_s)
                spent[name].append((served.running.cpu_s() - before) / (load.requests_per_s * lasts))
    for name, rates in found.items():
        ratio = _ratio(rates, found["owner"])
        cpu_us = statistics.median(spent[name]) * 1e6
        print(
            f"{name:10} {statistics.median(rates):8.0f} requests/s at 32 connections, x{ratio:.3f} of the owner's; "
            f"{cpu_us:.1f} us of CPU time each, x{_ratio(spent[name], spent['owner']):.3f}"
        )


def _ratio(mine: list[float], owners: list[float]) -> float:
    return statistics.median(each / owner for each, owner in zip(mine, owners, strict=True))


def flood(served: Service, rounds: int, seconds: int) -> None:
    port = served.port
    calm = [
        _paced_by(port, served.token, OWNER_RATE),
        _paced_by(port, shared(served, "other", OTHER_RATE), OTHER_RATE * 0.95),
    ]
    loud = [*calm, _paced_by(port, shared(served, "flood", FLOODED_RATE), FLOODED_RATE * TIMES)]
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


def flood_through(server: Jupyter, rounds: int, seconds: int) -> None:
    """The owner calls the service, the shares come through the Jupyter server, which somebody asks for its status."""
    port = server.port
    other, flooding = (_shared_through(server, label, rate) for label, rate in SHARES.items())
    calm = [
        _paced_by(server.service_port, server.service_token, OWNER_RATE),
        _paced_by(port, other, OTHER_RATE * 0.95, THROUGH),
        _paced_by(port, TOKEN, STATUS_RATE, STATUS),
    ]
    loud = [*calm, _paced_by(port, flooding, FLOODED_RATE * TIMES, THROUGH, FLOOD_CONNECTIONS)]
    for number in range(1, rounds + 1):
        before, beside = together(calm, seconds), together(loud, seconds)
        print(f"round {number}: p50, p99 and max in ms; statuses")
        for name, alone, flooded in zip(("owner", "the other share", "/api/status"), before, beside, strict=False):
            times = f"x{flooded['p99_ms'] / alone['p99_ms']:.2f} of p99"
            print(f"  {name:15}  alone {_said(alone)}; beside the flood {_said(flooded)}; {times}")
        print(f"  {'the flood':15}  {_said(beside[3])}, {beside[3]['with_retry_after']} with Retry-After")


SHARES = {"other": OTHER_RATE, "flood": FLOODED_RATE}


def _said(told: dict[str, Any]) -> str:
    figures = ", ".join(f"{told[name]:.1f}" for name in ("p50_ms", "p99_ms", "max_ms"))
    unsent = f", {told['unsent']} not sent in time" if told["unsent"] else ""
    return f"{figures} {told['statuses']}{unsent}"


def _paced_by(port: int, token: str, rate: float, what: str = INFER, connections: int = CONNECTIONS) -> PacedBy:
    return PacedBy(port=port, token=token, rate=rate, what=what, connections=connections)


def _shared_through(server: Jupyter, label: str, rate: float) -> str:
    """The token of a new share of the small model, by its link through the Jupyter server."""
    terms = {"models": ["small"], "label": label, "rate": f"{rate}/s", "expires": "1h", "max_in_flight": 1000}
    link = server.ask("infer-workbench/api/shares", terms)["link"]
    claimed = server.ask("infer-workbench/endpoint/share/claim", {"code": link.partition("#")[2]})
    return str(claimed["token"])


if __name__ == "__main__":
    main()

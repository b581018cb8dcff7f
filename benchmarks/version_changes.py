"""What changes of versions do to callers at full load: `python -m benchmarks.version_changes [--seconds 60]`.

One service with a model that adds its version's number. A process of callers sends the next request as soon as one is
answered, and checks each answer against the version that it names. Stretches in which nothing changes alternate with
stretches of loads, rollbacks and new weights, so that a slow moment of the machine falls into either. It ends with an
error where an answer was wrong or a request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from benchmarks.models import save_addition
from benchmarks.processes import leave_nothing_behind
from benchmarks.serving import Service, service

if TYPE_CHECKING:
    from workbench.api import Workbench

SWAPS, ROLLBACKS, WEIGHTS = 50, 20, 20
"""Changes in all."""

ROUNDS = 6
CONNECTIONS = 8
SETTLED_S = 10.0
"""Within which the memory is to be back."""

_VERSION = re.compile(rb'"model_version":"(\d+)"')
_MOST_TOLD = 20
"""The most failures that are told."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the callers saw."""

    answered: int
    wrong: int
    failed: int
    told: list[str]
    """The first failures and wrong answers."""
    versions: int
    p50_s: dict[str, float]
    """Of the stretches by kind: "calm" or "changing"."""
    p99_s: dict[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    seen: Seen
    longest_s: dict[str, float]
    """The longest change of each kind: "load", "rollback", "weights"."""
    before_bytes: int
    """Resident memory of the service's processes before the changes, with one version loaded."""
    after_bytes: int
    """The same when all are done and the others are unloaded."""
    settled_s: float
    """Seconds until it was within a tenth of what it was before, or SETTLED_S."""

    @property
    def p99_ratio(self) -> float:
        return self.seen.p99_s["changing"] / self.seen.p99_s["calm"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.version_changes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of changes, and half as long without")
    parser.add_argument("--call", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.call:
        asyncio.run(call(*json.loads(sys.stdin.readline())))
        return
    leave_nothing_behind()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(Path(scratch), arguments.seconds)
    report(found)
    if found.seen.wrong or found.seen.failed:
        raise SystemExit("\n".join(found.seen.told))


def measure(folder: Path, seconds: float) -> Outcome:
    from workbench.api import connect

    with service(folder / "service", {}) as found, connect(found.url, found.token) as wb:
        wb.load("m", save_addition(1, folder / "1.onnx"), batching="auto", versions="latest:2")
        changes = Changes(wb, folder)
        changes.load()  # so that there is one to go back to
        before = found.running.resident_bytes()
        line = [sys.executable, "-m", "benchmarks.version_changes", "--call"]
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as callers:
            assert callers.stdin is not None and callers.stdout is not None

            def now(said: str) -> None:
                print(said, file=callers.stdin, flush=True)

            now(json.dumps([found.port, found.token]))  # not by the command line, where others can read it
            callers.stdout.readline()  # all are connected

            for plan in changes.rounds():
                now("calm")
                time.sleep(seconds / ROUNDS / 2)
                now("changing")
                changes.over(seconds / ROUNDS, plan)
            now("done")
            seen = Seen(**json.loads(callers.stdout.readline()))
        settled_s, after = settled(found, before)
        return Outcome(seen, changes.longest_s, before, after, settled_s)


class Changes:
    """Makes the changes, and times them."""

    def __init__(self, wb: Workbench, folder: Path) -> None:
        self._wb = wb
        self._folder = folder
        self._loaded = 1
        self.longest_s = {"load": 0.0, "rollback": 0.0, "weights": 0.0}

    def rounds(self) -> list[list[str]]:
        """The changes of each stretch, in an order of chance."""
        kinds = ["load"] * SWAPS + ["rollback"] * ROLLBACKS + ["weights"] * WEIGHTS
        random.Random(18).shuffle(kinds)
        return [kinds[first::ROUNDS] for first in range(ROUNDS)]

    def over(self, seconds: float, plan: list[str]) -> None:
        """Make the changes of one stretch, spread over its time."""
        began = time.monotonic()
        for number, kind in enumerate(plan):
            time.sleep(max(0.0, began + seconds * number / len(plan) - time.monotonic()))
            at = time.perf_counter()
            getattr(self, kind)()
            self.longest_s[kind] = max(self.longest_s[kind], time.perf_counter() - at)
        time.sleep(max(0.0, began + seconds - time.monotonic()))

    def load(self) -> None:
        self._loaded += 1
        path = save_addition(self._loaded, self._folder / f"{self._loaded}.onnx")
        found = self._wb.load("m", path)
        if found.version != str(self._loaded):
            raise SystemExit(f"version {found.version} was loaded where {self._loaded} was to be")
        path.unlink()

    def rollback(self) -> None:
        """The other version that is loaded serves; of a split the split ends."""
        if not any(each.before for each in self._wb.versions("m")):
            self.load()
        self._wb.rollback("m")

    def weights(self) -> None:
        other = next((each for each in self._wb.versions("m") if each.state == "Ready" and not each.routed), None)
        if other is not None:
            self._wb.route("m", {other.version: random.Random(self._loaded).uniform(0.05, 0.95)})


def settled(found: Service, before: int) -> tuple[float, int]:
    """Seconds until the memory was back, and the bytes then."""
    began = time.monotonic()
    while True:
        waited, now = time.monotonic() - began, found.running.resident_bytes()
        if now <= before * 1.1 or waited >= SETTLED_S:
            return min(waited, SETTLED_S), now
        time.sleep(0.5)


async def call(port: int, token: str) -> None:
    """In the process of the callers: call until standard input says "done", and print what was seen."""
    kind = "calm"
    done = False
    taken: dict[str, list[float]] = {"calm": [], "changing": []}
    told: list[str] = []
    versions: set[bytes] = set()
    counts = {"wrong": 0, "failed": 0}
    row = np.zeros((1, 4), np.float32).tobytes()
    head = json.dumps(
        {
            "inputs": [
                {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": len(row)}}
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    request = (
        f"POST /v2/models/m/infer HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/octet-stream\r\ninference-header-content-length: {len(head)}\r\n"
        f"content-length: {len(head) + len(row)}\r\n\r\n"
    ).encode() + head
    request += row

    def failed(which: str, words: str) -> None:
        counts[which] += 1
        if len(told) < _MOST_TOLD:
            told.append(f"{which}: {words}")

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not done:
            began, of = time.perf_counter(), kind
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"\ncontent-length: (\d+)", answer, re.IGNORECASE)
            assert length is not None, answer
            body = await reader.readexactly(int(length[1]))
            taken[of].append(time.perf_counter() - began)
            if not answer.startswith(b"HTTP/1.1 200"):
                failed("failed", f"{answer[9:12].decode()} {body[:300].decode('utf-8', 'replace')}")
                continue
            said = _VERSION.search(body)
            value = float(np.frombuffer(body[-16:], np.float32)[0])
            if said is None or value != int(said[1]):
                failed("wrong", f"{body[:200]!r} answered {value:g}")
            else:
                versions.add(said[1])
        writer.close()

    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    print("connected", flush=True)
    calls = [asyncio.ensure_future(one(*each)) for each in connections]
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while (said := (await orders.readline()).decode().strip()) in taken:
        kind = said
        for each in calls:
            if each.done():
                each.result()
    done = True
    await asyncio.gather(*calls)
    seen = Seen(
        answered=sum(map(len, taken.values())) - counts["failed"],
        told=told,
        versions=len(versions),
        p50_s={which: float(np.percentile(each, 50)) for which, each in taken.items()},
        p99_s={which: float(np.percentile(each, 99)) for which, each in taken.items()},
        **counts,
    )
    print(json.dumps(asdict(seen)), flush=True)


def report(found: Outcome) -> None:
    seen = found.seen
    changes = f"{SWAPS} loads, {ROLLBACKS} rollbacks and {WEIGHTS} changes of weights"
    print(f"{len(os.sched_getaffinity(0))} cores, callers included, {CONNECTIONS} connections; {changes}")
    print(f"{seen.answered:,} answers of {seen.versions} versions, {seen.failed} failed, {seen.wrong} wrong")
    for name, figures in (("p50", seen.p50_s), ("p99", seen.p99_s)):
        calm, changing = figures["calm"] * 1e3, figures["changing"] * 1e3
        print(f"{name}: {calm:.2f} ms without changes, {changing:.2f} ms with, {changing / calm:.2f} times")
    print("longest: " + ", ".join(f"{kind} {taken * 1e3:.0f} ms" for kind, taken in found.longest_s.items()))
    mib = 1 << 20
    print(
        f"memory: {found.before_bytes / mib:.0f} MiB before, {found.after_bytes / mib:.0f} MiB {found.settled_s:.1f} s "
        f"after; this machine has {psutil.virtual_memory().total / mib:.0f}"
    )


if __name__ == "__main__":
    main()

"""Full load for minutes, with vanishing clients, bad requests and swaps mixed in: what is wrong, lost or left behind.

Every answer is compared with bare `session.run` of the version that it says it came from. The worker's memory, threads
and descriptors are noted each second; memory counts from the second minute on, when buffers and caches are filled.

python -m benchmarks.soak --minutes 10
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import uvloop

from benchmarks.bodies import Row, oip_body, oip_row, rows_of
from benchmarks.estimates import Slope, slope
from benchmarks.load import Body
from benchmarks.models import SMALL, save_mlp
from benchmarks.processes import leave_nothing_behind
from benchmarks.serving import Service, service
from benchmarks.wire import Answer, connect, request_bytes

CALLERS, VANISHERS, SENDERS_OF_BAD = 28, 4, 2
ROWS = 64
ANSWER_S = 30.0
"""An answer that takes longer counts as lost."""
SWAP_S = 5.0
SETTLE_S = 5.0
"""After the load, what the service may take to let go of what it held for it."""
WARM_UP_S = 60.0
MODEL = "soak"
PATH = f"/v2/models/{MODEL}/infer"


@dataclass(slots=True)
class Tally:
    """What came back."""

    answered: int = 0
    wrong: int = 0
    """Answers that are not what the version they name makes of the row."""
    lost: int = 0
    """Good requests that were not answered with 200."""
    vanished: int = 0
    refused: int = 0
    """Bad requests that got the status they should."""
    misjudged: int = 0
    """Bad requests that got another."""
    swaps: int = 0
    complaints: Counter[str] = field(default_factory=Counter)
    """What was lost or misjudged, by how."""


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float
    resident_bytes: int
    threads: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Rest:
    """The worker with nothing to do."""

    resident_bytes: int
    threads: int
    descriptors: int
    tasks: tuple[str, ...]
    """The asyncio tasks that are not done, by their coroutines."""


class Soak:
    """One service under load. `versions` says which weights each version has, once its load was answered."""

    def __init__(self, found: Service, paths: tuple[Path, Path], folder: Path) -> None:
        self.tally = Tally()
        self.samples: list[Sample] = []
        self._found = found
        self._paths = paths
        self._folder = folder
        self._rows = rows_of("small", ROWS)
        self._truth = [_outputs(path, self._rows) for path in paths]
        # version -> index of the weights that its answers agreed with -> answers
        self._agreed: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._versions: dict[str, int] = {"1": 0}
        self._worker = psutil.Process(worker_pid(found))
        self._began = time.monotonic()

    async def run(self, seconds: float) -> None:
        """Loads it for so long. Awaits all it started."""
        self._began = time.monotonic()
        end = self._began + seconds
        kinds: list[Callable[[float, int], Coroutine[None, None, None]]] = [self._call] * CALLERS
        kinds += [self._vanish] * VANISHERS + [self._send_bad] * SENDERS_OF_BAD + [self._swap, self._watch]
        async with asyncio.TaskGroup() as group:
            for index, kind in enumerate(kinds):
                group.create_task(kind(end, index))
        for version, agreed in self._agreed.items():
            right = self._versions.get(version)
            self.tally.wrong += sum(count for which, count in agreed.items() if which != right)

    def sample(self) -> Sample:
        with self._worker.oneshot():
            memory, threads = self._worker.memory_info().rss, self._worker.num_threads()
            return Sample(time.monotonic() - self._began, memory, threads, self._worker.num_fds())

    async def rest(self) -> Rest:
        self._worker.send_signal(signal.SIGRTMIN + 1)
        told = self._folder / str(self._worker.pid)
        async with asyncio.timeout(ANSWER_S):
            while not told.exists():
                await asyncio.sleep(0.02)
        tasks = tuple(json.loads(told.read_text()))
        told.unlink()
        now = self.sample()
        return Rest(now.resident_bytes, now.threads, now.descriptors, tasks)

    async def once(self) -> None:
        """A good request of each row, so that what a first one costs is spent."""
        connection = await connect(self._found.port)
        for index in range(ROWS):
            self._judge(index, await connection.send(self._request(index)))
        connection.close()

    # Kinds of client

    async def _call(self, end: float, seed: int) -> None:
        dice = random.Random(seed)
        connection = await connect(self._found.port)
        while time.monotonic() < end:
            index = dice.randrange(ROWS)
            try:
                async with asyncio.timeout(ANSWER_S):
                    if connection.closed:
                        connection = await connect(self._found.port)
                    self._judge(index, await connection.send(self._request(index)))
            except (OSError, TimeoutError) as error:
                self._lose(f"{type(error).__name__}: {error}")
                connection = await connect(self._found.port)
        connection.close()

    async def _vanish(self, end: float, seed: int) -> None:
        """Leaves in the middle of a request, or after it, before the answer."""
        dice = random.Random(seed)
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                connection = await connect(self._found.port)
                request = self._request(dice.randrange(ROWS))
                answer = connection.send(
                    request[: dice.choice((10, len(request) // 2, len(request) - 1, len(request)))]
                )
                await asyncio.sleep(dice.random() * 0.004)
                connection.vanish()
                self.tally.vanished += 1
                with contextlib.suppress(OSError):
                    await answer

    async def _send_bad(self, end: float, seed: int) -> None:
        dice = random.Random(seed)
        bad = list(bad_requests(self._found, self._rows[0]).items())
        while time.monotonic() < end:
            (what, status), request = dice.choice(bad)
            try:
                async with asyncio.timeout(ANSWER_S):
                    connection = await connect(self._found.port)
                    answer = await connection.send(request)
                    connection.close()
                good = answer.status == status
                self.tally.refused += good
                self._misjudge(good, f"{what}: {answer.status} instead of {status}")
            except (OSError, TimeoutError) as error:
                self._misjudge(False, f"{what}: {type(error).__name__}")
            await asyncio.sleep(0.005)

    async def _swap(self, end: float, _: int) -> None:
        """The other weights take over, under load."""
        which = 0
        while (await _sleep_until(min(end, time.monotonic() + SWAP_S))) < end:
            which = 1 - which
            path = f"/control/models/{MODEL}/load"
            body = Body(json.dumps({"path": str(self._paths[which])}).encode(), {"Content-Type": "application/json"})
            connection = await connect(self._found.port)
            answer = await connection.send(request_bytes(path, Body(body.data, body.headers | self._found.headers)))
            connection.close()
            if answer.status != 200:
                self._lose(f"a swap: {answer.status} {answer.body[:120]!r}")
                continue
            self._versions[json.loads(answer.body)["model"]["version"]] = which
            self.tally.swaps += 1

    async def _watch(self, end: float, _: int) -> None:
        at = time.monotonic()
        while at < end:
            self.samples.append(self.sample())
            at = await _sleep_until(at + 1)

    # Judgement

    def _request(self, index: int) -> bytes:
        encoding = "binary" if index % 2 else "json"
        return request_bytes(PATH, oip_body(self._rows[index], encoding, self._found.headers))

    def _judge(self, index: int, answer: Answer) -> None:
        if answer.status != 200:
            self._lose(f"{answer.status} {answer.body[:120]!r}")
            return
        self.tally.answered += 1
        length = int(answer.headers.get("inference-header-content-length", len(answer.body)))
        version = json.loads(answer.body[:length]).get("model_version", "")
        row = oip_row(answer.body, answer.headers)
        near = [which for which in (0, 1) if np.allclose(row, self._truth[which][index], rtol=1e-3, atol=1e-4)]
        self._agreed[version][near[0] if near else -1] += 1

    def _lose(self, how: str) -> None:
        self.tally.lost += 1
        self.tally.complaints[how] += 1

    def _misjudge(self, good: bool, how: str) -> None:
        if not good:
            self.tally.misjudged += 1
            self.tally.complaints[how] += 1


def bad_requests(found: Service, row: Row) -> dict[tuple[str, int], bytes]:
    """(what is wrong, the status it should get) -> the request."""
    good = oip_body(row, "json", found.headers)
    wide = oip_body(np.append(row, row), "json", found.headers)
    plain = {"Content-Type": "text/plain"}
    return {
        ("no JSON", 400): request_bytes(PATH, Body(b"{", good.headers)),
        ("too wide", 400): request_bytes(PATH, wide),
        ("no inputs", 400): request_bytes(PATH, Body(b"{}", good.headers)),
        ("no token", 401): request_bytes(PATH, Body(good.data, {"Content-Type": "application/json"})),
        ("no such model", 404): request_bytes("/v2/models/nobody/infer", good),
        ("another type", 415): request_bytes(PATH, Body(good.data, good.headers | plain)),
    }


def worker_pid(found: Service) -> int:
    """Of the keeper's children, the one that holds the model."""
    children = psutil.Process(found.running.process.pid).children()
    return max(children, key=lambda child: child.memory_info().rss).pid


def measure(minutes: float, folder: Path) -> dict[str, Any]:
    paths = save_mlp(SMALL, folder / "a.onnx"), save_mlp(SMALL, folder / "b.onnx", seed=1)
    asked = {"PYTHONPATH": str(Path(__file__).with_name("inside")), "BENCH_TASKS": str(folder)}
    with service(folder / "service", {MODEL: paths[0]}, environment=asked) as found:
        soak = Soak(found, paths, folder)

        async def story() -> tuple[Rest, Rest]:
            await soak.once()
            await asyncio.sleep(SETTLE_S)
            before = await soak.rest()
            await soak.run(minutes * 60)
            await asyncio.sleep(SETTLE_S)
            return before, await soak.rest()

        before, after = uvloop.run(story())
        late = [sample for sample in soak.samples if sample.at_s >= min(WARM_UP_S, minutes * 30)]
        grown = slope([sample.at_s for sample in late], [sample.resident_bytes for sample in late])
        return {
            "minutes": minutes,
            "tally": {**asdict(soak.tally), "complaints": dict(soak.tally.complaints)},
            "grown_bytes_per_s": asdict(grown),
            "before": asdict(before),
            "after": asdict(after),
            "samples": [asdict(sample) for sample in soak.samples],
        }


def report(figures: dict[str, Any]) -> str:
    tally, before, after = figures["tally"], figures["before"], figures["after"]
    grown = Slope(**figures["grown_bytes_per_s"])
    kib = 60 / 1024
    lines = [
        f"{figures['minutes']:g} minutes: {tally['answered']:,} answers, {tally['wrong']} wrong, {tally['lost']} lost",
        f"{tally['vanished']:,} clients vanished; of the bad requests {tally['refused']:,} were refused as they should "
        f"be, {tally['misjudged']} were not; {tally['swaps']} swaps",
        f"resident memory {grown.value * kib:+.1f} ± {grown.error * kib:.1f} KiB a minute "
        f"({before['resident_bytes'] / 2**20:.0f} MiB before, {after['resident_bytes'] / 2**20:.0f} MiB after)",
        f"threads {before['threads']} before, {after['threads']} after; "
        f"descriptors {before['descriptors']} before, {after['descriptors']} after; "
        f"tasks {len(before['tasks'])} before, {len(after['tasks'])} after",
    ]
    more = Counter(after["tasks"]) - Counter(before["tasks"])
    lines += [f"  left behind: {count} x {name}" for name, count in sorted(more.items())]
    return "\n".join(lines + [f"  {count:,} x {how}" for how, count in sorted(tally["complaints"].items())])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "soak.json")
    arguments = parser.parse_args()
    leave_nothing_behind()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments.minutes, Path(folder))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(figures, indent=1))
    print(report(figures))
    sys.exit(1 if any(figures["tally"][name] for name in ("wrong", "lost", "misjudged")) else 0)


def _outputs(path: Path, rows: Row) -> Row:
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: Row = session.run(None, {"x": rows})[0]
    return found


async def _sleep_until(at: float) -> float:
    await asyncio.sleep(max(0.0, at - time.monotonic()))
    return time.monotonic()


if __name__ == "__main__":
    main()

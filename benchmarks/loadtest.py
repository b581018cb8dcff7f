"""Is the load tester right, and how far does it go? Known latencies against what it says, its own limits, wrk, a
search that is repeated, and the service afterwards.

    python -m benchmarks.loadtest [truth] [limit] [wrk] [search] [afterwards]        all of them without a name

Needs a machine that does nothing else: `truth` holds milliseconds to 2 %, `limit` a schedule to 1 ms.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bodies import oip_body, rows_of
from benchmarks.load import Body, drive
from benchmarks.models import SMALL, save_mlp
from benchmarks.serving import service
from tests.loadtest.precise import Precise, Timing
from tests.loadtest.servers import Process, Script
from workbench.api import connect
from workbench.loadtest.analysis.latency_histogram import counted
from workbench.loadtest.job import start
from workbench.loadtest.patterns import Constant, Pattern, Users
from workbench.loadtest.plan import Plan, Target
from workbench.loadtest.store.recording import Recording

ROUNDS = 5
BOUND = 0.02
RATE_PER_S = 12_000
SLOW_PER_S = 1000
SLO = "p99<20ms,errors<0.1%"
WORK_S = 0.0004
"""Of the processor for each request: about 2,000 a second, well below half of what the generator sends."""


@dataclass(frozen=True)
class Known:
    name: str
    timing: Timing
    pattern: Pattern
    duration_s: float
    truth_s: dict[float, float]
    """Quantile -> seconds."""


TRUTHS = (
    Known("constant 20 ms", Timing(delays_s=(0.02,)), Constant(500), 10, dict.fromkeys((0.5, 0.99, 0.999, 1.0), 0.02)),
    Known(
        "19 of 20 take 10 ms, one 100 ms",
        Timing(delays_s=(0.01,) * 19 + (0.1,)),
        Constant(500),
        10,
        {0.5: 0.01, 0.99: 0.1, 0.999: 0.1, 1.0: 0.1},
    ),
    Known(
        "10 ms, and frozen 1 s in 5 s",
        Timing(delays_s=(0.01,), freeze_every_s=5, freeze_s=1),
        Constant(1000),
        20,
        {0.5: 0.01, 0.99: 0.95, 0.999: 0.995, 1.0: 1.0},
    ),
)


def run(script: Script, pattern: Pattern, duration_s: float, warm_up_s: float = 0.0) -> Recording:
    with Process(script) as server:
        return start(Plan(Target("m", server.url), pattern, duration_s=duration_s, warm_up_s=warm_up_s)).result()


def truth() -> None:
    """What a run says, against what was asked of the server, and what the server saw itself do: a core that is lent to
    somebody else for some milliseconds makes late what no program can make right."""
    for known in TRUTHS:
        with Precise(known.timing) as server:
            found = start(
                Plan(Target("m", server.url), known.pattern, duration_s=known.duration_s, warm_up_s=0.0)
            ).result()
        histogram = counted(found.measured_rows.ok.latency_s)
        took_s = sorted(server.took_s)
        print(f"{known.name}, {known.pattern}:")
        for q, asked_s in known.truth_s.items():
            said_s = histogram.quantile(q) or 0.0
            # A request that came in a freeze has waited since it was due, of which the server knows nothing.
            did_s = took_s[max(0, math.ceil(q * len(took_s)) - 1)]
            off = said_s / asked_s - 1
            word = "ok" if abs(off) <= BOUND else "ok by the server" if abs(said_s / did_s - 1) <= BOUND else "OFF"
            print(
                f"    q {q:<6g} asked {asked_s * 1e3:8.2f} ms   the server {did_s * 1e3:8.2f} ms   "
                f"said {said_s * 1e3:8.2f} ms   {off:+7.2%}  {word}"
            )
        print(f"    {found.limit or 'the generator was not the limit'}")


def limit() -> None:
    for pattern, what in (
        (Constant(SLOW_PER_S), "keeps its schedule within 1 ms at p99"),
        (Constant(RATE_PER_S), f"sustains {RATE_PER_S:,} requests/s from one core"),
        (Users(32), "and as many as go"),
    ):
        found = run(Script(), pattern, 10, 1.0)
        own, answered = found.generator, len(found.measured_rows.ok) / 10
        print(
            f"{pattern}, {what}: answered {answered:,.0f}/s, lag p50 {own.lag_p50_s * 1e3:.3f} ms, "
            f"p99 {own.lag_p99_s * 1e3:.3f} ms, max {own.lag_max_s * 1e3:.2f} ms, {own.cpu_share:.2f} of a core"
        )


def against_wrk(connections: int = 8, seconds: int = 3) -> None:
    """Both with the same connections on a server that saturates, in turn."""
    ratios, ours, theirs = list[float](), list[float](), list[float]()
    with Process(Script(work_s=WORK_S)) as server, tempfile.TemporaryDirectory() as scratch:
        body = Body(b'{"inputs": []}', {"Content-Type": "application/json"})
        plan = Plan(Target("m", server.url), Users(connections), duration_s=seconds, warm_up_s=0.5)
        for _ in range(ROUNDS):
            found = start(plan).result()
            ours.append(len(found.measured_rows.ok) / seconds)
            load = drive(f"{server.url}/v2/models/m/infer", body, connections, seconds, Path(scratch))
            theirs.append(load.requests_per_s)
            ratios.append(ours[-1] / theirs[-1])
            print(f"    {ours[-1]:8,.0f}/s   wrk {theirs[-1]:8,.0f}/s   ratio {ratios[-1]:.3f}")
    print(
        f"{connections} connections: median {statistics.median(ours):,.0f}/s, wrk {statistics.median(theirs):,.0f}/s, "
        f"median ratio {statistics.median(ratios):.3f}"
    )


def search() -> None:
    """The highest rate that the quickstart's model holds, asked three times."""
    from sklearn.datasets import load_digits
    from sklearn.neighbors import KNeighborsClassifier

    features, labels = load_digits(return_X_y=True)
    with tempfile.TemporaryDirectory() as folder, service(Path(folder), {}) as found:
        wb = connect(found.url, found.token)
        wb.load("digits", KNeighborsClassifier(10).fit(features[360:], labels[360:]), sample=features[:360])
        rates = list[float]()
        for _ in range(3):
            report = wb.bench("digits", features[:360], slo=SLO, duration="3s").result()
            held = [point.offered_per_s for point in report.run.points if point.held]
            rates.append(max(held, default=0.0))
            print(f"    {len(report.run.points)} probes: {report.sentence}")
    spread = (max(rates) - min(rates)) / statistics.median(rates)
    print(f"{SLO}: {', '.join(f'{rate:,.0f}' for rate in rates)} requests/s, {spread:.1%} between the outermost")


def afterwards() -> None:
    """Is a service that was load-tested slower than its twin that was not?"""
    row = rows_of("small", 1)[0]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = save_mlp(SMALL, folder / "small.onnx")
        with (
            service(folder / "tested", {"small": model}) as tested,
            service(folder / "twin", {"small": model}) as twin,
        ):

            def ratio() -> float:
                found = list[float]()
                for _ in range(ROUNDS):
                    of = [
                        drive(
                            f"{each.url}/v2/models/small/infer",
                            oip_body(row, "json", each.headers),
                            8,
                            2,
                            folder,
                        ).requests_per_s
                        for each in (tested, twin)
                    ]
                    found.append(of[0] / of[1])
                return statistics.median(found)

            before = ratio()
            wb = connect(tested.url, tested.token)
            loads: list[dict[str, Any]] = [{"rate": 2000}, {"users": 32}]
            for load in loads:
                print(f"    {wb.bench('small', duration='10s', **load).result().sentence}")
            print(f"    {wb.bench('small', sweep='batch=1:8:32', users=8, duration='3s').result().sentence}")
            after = ratio()
    print(f"against a twin: {before:.3f} before, {after:.3f} after; {after / before:.3f} times as fast as before")


PARTS = {"truth": truth, "limit": limit, "wrk": against_wrk, "search": search, "afterwards": afterwards}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loadtest", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="; ".join(PARTS))
    for name in parser.parse_args().part or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()

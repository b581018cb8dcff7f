"""The service beside bare `session.run` and a bare uvicorn echo, in one run on one machine.

Everything is on (the token gate, telemetry, batching). Rounds are interleaved, so that a machine that is slow for a
while is slow for all; figures are medians of the rounds, and only ratios are meant to be quoted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.bodies import oip_body, rows_of
from benchmarks.load import Load, drive
from benchmarks.models import LARGE, SMALL, save_mlp
from benchmarks.peers.right import call
from benchmarks.processes import leave_nothing_behind
from benchmarks.serving import bare_runs, echo, service

CONNECTIONS = (1, 8, 32)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.served", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each load in each round")
    parser.add_argument("--out", type=Path, help="write the raw figures here, as JSON")
    arguments = parser.parse_args()
    leave_nothing_behind()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.rounds, arguments.seconds)
    report(figures)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(figures, indent=1))


def measure(folder: Path, rounds: int, seconds: int) -> dict[str, Any]:
    """model/encoding -> connections -> list of (served, echo) rounds, and the bare runs of each model."""
    figures: dict[str, Any] = {"rounds": rounds, "seconds": seconds, "loads": {}, "bare": {}}
    paths = {"small": save_mlp(SMALL, folder / "small.onnx"), "large": save_mlp(LARGE, folder / "large.onnx")}
    with service(folder / "service", paths) as found:
        url = found.url
        kinds = (("small", "json"), ("small", "binary"), ("large", "binary"))
        cases = {
            f"{model}/{encoding}": (model, oip_body(rows_of(model, 1)[0], encoding, found.headers))
            for model, encoding in kinds
        }
        with contextlib.ExitStack() as stack:
            echoes = {}
            for case, (model, body) in cases.items():
                size = len(call(f"{url}/v2/models/{model}/infer", body)[0])
                echoes[case] = stack.enter_context(echo(size, folder))
            for round_ in range(rounds):
                for model, path in paths.items():
                    figures["bare"].setdefault(model, []).append(bare_runs(path, seconds / 6))
                for case, (model, body) in cases.items():
                    for connections in CONNECTIONS:
                        served = drive(f"{url}/v2/models/{model}/infer", body, connections, seconds, folder)
                        echoed = drive(echoes[case], body, connections, seconds, folder)
                        check(case, served)
                        key = f"{case}/{connections}"
                        figures["loads"].setdefault(key, []).append([_plain(served), _plain(echoed)])
                print(f"round {round_ + 1} of {rounds}", file=sys.stderr)
    return figures


def check(case: str, load: Load) -> None:
    if load.errors:
        raise SystemExit(f"{case}: {load.errors} answers were errors, so its figures mean nothing")


def report(figures: dict[str, Any]) -> None:
    print(
        f"\n{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load generator included; "
        f"medians of {figures['rounds']} interleaved rounds of {figures['seconds']:g} s\n"
    )
    print(
        f"{'model/encoding':<14} {'conn.':>5} {'req/s':>8} {'p50 ms':>7} {'p99 ms':>7}"
        f" {'x echo req/s':>13} {'x echo p50':>11} {'x bare rows/s':>14}"
    )
    for key, rounds in figures["loads"].items():
        case, _, connections = key.rpartition("/")
        bare = [each["best"] for each in figures["bare"][case.split("/")[0]]]
        served, echoed = [pair[0] for pair in rounds], [pair[1] for pair in rounds]
        rate = [s["requests_per_s"] / e["requests_per_s"] for s, e in zip(served, echoed, strict=True)]
        slow = [s["p50_s"] / e["p50_s"] for s, e in zip(served, echoed, strict=True)]
        runs = [s["requests_per_s"] / b for s, b in zip(served, bare, strict=True)]
        print(
            f"{case:<14} {connections:>5} {_median(served, 'requests_per_s'):>8.0f}"
            f" {_median(served, 'p50_s') * 1e3:>7.2f} {_median(served, 'p99_s') * 1e3:>7.2f}"
            f" {statistics.median(rate):>13.2f} {statistics.median(slow):>11.2f} {statistics.median(runs):>14.3f}"
        )
    for model, rounds in figures["bare"].items():
        best = statistics.median(each["best"] for each in rounds)
        print(f"bare session.run, {model}: best {best:.0f} rows/s ({rounds[0]['best_of']}: threads/batch)")


def _plain(load: Load) -> dict[str, float]:
    return {"requests_per_s": load.requests_per_s, "p50_s": load.p50_s, "p99_s": load.p99_s}


def _median(rounds: list[dict[str, float]], key: str) -> float:
    return statistics.median(each[key] for each in rounds)


if __name__ == "__main__":
    main()

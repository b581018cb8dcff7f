"""What a result cache gains and costs: `python -m benchmarks.result_cache [--rounds 5] [--seconds 3]`.

One service with a model of some 5 ms a run, and one of some microseconds, each unbatched. wrk sends rows of which a
given part repeats (drawn from 50), with the cache off and on in turn; each time that it is turned on it is empty. Every
row that is no repeat is a new one. The part that was answered from the cache is read from the service.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import drive_script
from benchmarks.models import SMALL, save_mlp
from benchmarks.processes import leave_nothing_behind
from benchmarks.serving import Service, service

CONNECTIONS = 8
TARGET_S = 5e-3
WIDTH = 1024

POOL = 50
"""The rows that repeat."""

_SCRIPT = """
local fresh, first, share = 0, %d, %f
math.randomseed(first)
request = function()
  local row
  if math.random() < share then row = "0," .. math.random(%d) else fresh = fresh + 1; row = first .. "," .. fresh end
  return wrk.format(nil, nil, nil, '{"inputs":[{"name":"x","shape":[1,16],"datatype":"FP32","data":['
    .. row .. ',1,2,3,4,5,6,7,8,9,10,11,12,13,14]}]}')
end
"""


@dataclass(frozen=True, slots=True)
class Case:
    model: str
    share: float
    """The part of the requests whose row repeats."""


CASES = (Case("slow", 0.8), Case("slow", 0.0), Case("small", 0.8), Case("small", 0.0))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.result_cache", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each load in each round")
    arguments = parser.parse_args()
    leave_nothing_behind()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        slow, run_s = slow_model(folder)
        print(f"the slow model takes {run_s * 1e3:.1f} ms a run")
        with service(folder / "service", {"slow": slow, "small": save_mlp(SMALL, folder / "small.onnx")}) as found:
            for model in ("slow", "small"):
                control(found, model, batching="never", intra_op_threads=1)
            measure(found, folder, arguments.rounds, arguments.seconds)


def slow_model(folder: Path) -> tuple[Path, float]:
    """A model that takes some TARGET_S a run with one thread, and what it takes."""
    layers, run_s = 8, 0.0
    for _ in range(3):
        path = save_mlp((16, *[WIDTH] * layers, 16), folder / "slow.onnx")
        run_s = timed_run(path)
        layers = max(2, round(layers * TARGET_S / run_s))
    return path, run_s


def timed_run(path: Path) -> float:
    """The median seconds of a bare run of one row with one thread."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    times = []
    for _ in range(50):
        began = time.perf_counter()
        session.run(None, {"x": np.ones((1, 16), np.float32)})
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure(found: Service, folder: Path, rounds: int, seconds: int) -> None:
    rates: dict[tuple[Case, bool], list[float]] = {}
    hits: dict[Case, list[float]] = {}
    number = 0
    for round_ in range(rounds):
        for case in CASES:
            for on in (False, True) if round_ % 2 else (True, False):
                number += 1
                control(found, case.model, cache="64MB" if on else "off")
                script = _SCRIPT % (number, case.share, POOL)
                url = f"{found.url}/v2/models/{case.model}/infer"
                headers = {"Content-Type": "application/json", **found.headers}
                load = drive_script(url, script, headers, CONNECTIONS, seconds, folder)
                if load.errors:
                    raise SystemExit(f"{case}: {load.errors} answers were errors, so its figures mean nothing")
                rates.setdefault((case, on), []).append(load.requests_per_s)
                if on:
                    hits.setdefault(case, []).append(hit_rate(found, case.model))
        print(f"round {round_ + 1} of {rounds}", file=sys.stderr)
    for case in CASES:
        off, kept = rates[case, False], rates[case, True]
        ratio = statistics.median(b / a for a, b in zip(off, kept, strict=True))
        print(
            f"{case.model:6} {case.share:4.0%} repeated: {statistics.median(off):7.0f}/s without, "
            f"{statistics.median(kept):7.0f}/s with a cache, {ratio:5.2f} times; "
            f"{statistics.median(hits[case]):.1%} not run"
        )


def control(found: Service, model: str, **settings: object) -> dict[str, Any]:
    body = json.dumps(settings).encode()
    headers = {"Content-Type": "application/json", **found.headers}
    request = urllib.request.Request(f"{found.url}/control/models/{model}/set", body, headers)
    with urllib.request.urlopen(request) as answer:
        said: dict[str, Any] = json.load(answer)
    return said


def hit_rate(found: Service, model: str) -> float:
    request = urllib.request.Request(f"{found.url}/control/models/{model}", headers=found.headers)
    with urllib.request.urlopen(request) as answer:
        cache = json.load(answer)[0]["cache"]
    return float((cache["hits"] + cache["joined"]) / max(1, cache["hits"] + cache["joined"] + cache["misses"]))


if __name__ == "__main__":
    main()

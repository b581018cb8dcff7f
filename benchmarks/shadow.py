"""What a shadow at 100 % costs callers at half of a model's capacity: `python -m benchmarks.shadow` (four minutes).

One service with a model of some milliseconds a run, and beside it a version whose last layer adds PLANTED to one
output. The capacity is measured with wrk; then an open loop sends half of it. Seconds with the shadow and seconds
without it take turns, so that a slow moment of the machine falls into either. Both is done for a model that is batched,
and for one whose requests run alone. It ends with an error where a request failed, or where the shadow did not find the
planted difference in its size.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.load import Body, drive
from benchmarks.models import save_mlp
from benchmarks.poisson import Answered, answers_open, prompt_loop
from benchmarks.processes import leave_nothing_behind
from benchmarks.serving import Service, service
from benchmarks.wire import request_bytes

if TYPE_CHECKING:
    from workbench.api import Workbench
    from workbench.core.shadow_figures import ShadowFigures

PLANTED: Final = 0.25
SIZES: Final = (16, *[1024] * 6, 16)
CONNECTIONS: Final = 16
LOAD: Final = 0.5
"""Of the capacity."""
CAPACITY_S: Final = 3
"""Of wrk."""
RESAMPLED: Final = 1000


@dataclass(slots=True)
class Seen:
    """Of one way to serve, a pair of stretches a round."""

    off: list[Answered] = field(default_factory=list)
    on: list[Answered] = field(default_factory=list)
    found: list[ShadowFigures] = field(default_factory=list)

    def ratios(self) -> np.ndarray:
        """For each round, the p99 with a shadow as a multiple of that without."""
        return np.array(
            [_quantile([on], 0.99) / _quantile([off], 0.99) for on, off in zip(self.on, self.off, strict=True)]
        )

    def interval(self) -> tuple[float, float]:
        """Of the median of the ratios, 95 %, by drawing rounds anew."""
        ratios = self.ratios()
        drawn = np.random.default_rng(5).choice(ratios, (RESAMPLED, len(ratios)))
        low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
        return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shadow", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="each a stretch with the shadow, and one without")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a stretch")
    arguments = parser.parse_args()
    leave_nothing_behind()
    with tempfile.TemporaryDirectory() as scratch:
        for batching, capacity, seen in measure(Path(scratch), arguments.rounds, arguments.seconds):
            report(batching, capacity, seen)


def measure(folder: Path, rounds: int, seconds: float) -> Iterator[tuple[str, float, Seen]]:
    """The setting `batching`, the capacity in requests/s, and what was seen."""
    from workbench.api import connect

    one = save_mlp(SIZES, folder / "one.onnx")
    two = save_planted(one, folder / "two.onnx")
    with service(folder / "service", {}) as found, connect(found.url, found.token) as wb:
        for batching in ("auto", "never"):
            settings = {"batching": batching, "versions": "latest:2"}
            wb.load(batching, one, **settings)
            wb.load(batching, two, route=False, **settings)
            yield batching, *rounds_of(wb, found, batching, folder, rounds, seconds)


def save_planted(one: Path, path: Path) -> Path:
    """The same model, but for one output that is larger by PLANTED."""
    model = onnx.load(one)
    bias = next(each for each in model.graph.initializer if each.name == f"b{len(SIZES) - 2}")
    added = numpy_helper.to_array(bias).copy()
    added[3] += PLANTED
    bias.CopyFrom(numpy_helper.from_array(added, bias.name))
    onnx.save(model, path)
    return path


def rounds_of(
    wb: Workbench, found: Service, model: str, folder: Path, rounds: int, seconds: float
) -> tuple[float, Seen]:
    """(the capacity in requests/s, what was seen)."""
    row = np.random.default_rng(3).normal(size=16).round(3).tolist()
    data = json.dumps({"inputs": [{"name": "x", "shape": [1, 16], "datatype": "FP32", "data": row}]}).encode()
    body = Body(data, {"Content-Type": "application/json", **found.headers})
    path = f"/v2/models/{model}/infer"
    capacity = drive(f"{found.url}{path}", body, CONNECTIONS, CAPACITY_S, folder).requests_per_s
    request = request_bytes(path, body)
    seen = Seen()
    with asyncio.Runner(loop_factory=prompt_loop) as runner:
        for round_ in range(rounds):
            for on in (False, True) if round_ % 2 else (True, False):
                wb.route(model, shadow={"2": 1.0} if on else {})
                # The same arrivals for both.
                load = runner.run(answers_open(found.port, request, capacity * LOAD, seconds, round_))
                (seen.on if on else seen.off).append(load)
                if on:
                    seen.found.append(wb.shadow(model).figures)
            print(f"{model}: round {round_ + 1} of {rounds}", file=sys.stderr)
    return capacity, seen


def report(model: str, capacity: float, seen: Seen) -> None:
    failed = sum(each.failed for each in (*seen.on, *seen.off))
    before, after = (_quantile(side, 0.99) * 1e3 for side in (seen.off, seen.on))
    p50 = [_quantile(side, 0.5) * 1e3 for side in (seen.off, seen.on)]
    low, high = seen.interval()
    compared, chosen = (sum(getattr(each, count) for each in seen.found) for count in ("compared", "chosen"))
    print(
        f"batching {model}: {capacity:.0f} requests/s at most, half of it sent; {failed} of "
        f"{sum(each.sent for each in (*seen.on, *seen.off))} failed\n"
        f"    p99 of a stretch {np.median(seen.ratios()):.2f} times with a shadow ({low:.2f} to {high:.2f}, median of "
        f"{len(seen.on)} pairs); over all answers p99 {after:.2f} ms with and {before:.2f} ms without, "
        f"p50 {p50[1]:.2f} and {p50[0]:.2f} ms\n"
        f"    {compared} of {chosen} copies compared"
    )
    if failed:
        raise SystemExit(f"{failed} requests failed, and none may")
    found = [output for each in seen.found for output in each.outputs]
    if not found or any(each.failed for each in seen.found):
        raise SystemExit(f"no copy was compared, or some failed: {seen.found}")
    if wrong := [each for each in found if each.largest is None or abs(each.largest - PLANTED) > 1e-4]:
        raise SystemExit(f"planted was {PLANTED}, found {wrong[0]}")
    print(f"    the planted difference of {PLANTED} was found as {max(each.largest or 0 for each in found):.6f}")


def _quantile(side: list[Answered], q: float) -> float:
    return float(np.quantile(np.concatenate([each.latencies_s for each in side]), q))


if __name__ == "__main__":
    main()

"""What all telemetry together costs: the small model's throughput with it, as a share of that without.

Both services run at once and are loaded in turn, which of them first changing each time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.bodies import oip_body, rows_of
from benchmarks.load import drive
from benchmarks.models import SMALL, save_mlp
from benchmarks.processes import leave_nothing_behind
from benchmarks.serving import service


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=32)
    arguments = parser.parse_args()
    leave_nothing_behind()
    with tempfile.TemporaryDirectory() as folder:
        shares = measure(Path(folder), arguments.rounds, arguments.seconds, arguments.connections)
    lost = sorted(1 - share for share in shares)
    print(
        f"telemetry costs {statistics.median(lost):.1%} of the small model's requests/s "
        f"({lost[0]:.1%} to {lost[-1]:.1%} in {len(lost)} rounds)"
    )


def measure(folder: Path, rounds: int, seconds: int, connections: int) -> list[float]:
    """Requests/s with telemetry over requests/s without, of each round."""
    models = {"small": save_mlp(SMALL, folder / "small.onnx")}
    row = rows_of("small", 1)[0]
    on, off = ("benchmarks.alone", "on"), ("benchmarks.alone", "off")
    with service(folder / "on", models, on) as told, service(folder / "off", models, off) as silent:
        shares = []
        for round_ in range(rounds + 1):
            rates = {}
            for which in (told, silent) if round_ % 2 else (silent, told):
                body = oip_body(row, "json", which.headers)
                load = drive(f"{which.url}/v2/models/small/infer", body, connections, seconds, folder)
                if load.errors:
                    raise SystemExit(f"{load.errors} answers were errors, so the figures mean nothing")
                rates[which.url] = load.requests_per_s
            if round_:  # the first warms up
                shares.append(rates[told.url] / rates[silent.url])
        return shares


if __name__ == "__main__":
    main()

"""Our service beside MLServer, LitServe, BentoML, Ray Serve and PyTriton, on this machine.

Each peer is installed from PyPI into an environment of its own (kept in .peers), serves the same two ONNX models as its
own documentation advises, must answer rightly first, and is driven by wrk. What was measured is kept as JSON, and the
peers' part of docs/performance.md and its picture are written from that.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.models import LARGE, SMALL, save_mlp
from benchmarks.peers import report
from benchmarks.peers.measure import Comparison, Plan
from benchmarks.peers.roster import PEERS
from benchmarks.processes import leave_nothing_behind

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "peers.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=1, help="of each load in each round")
    parser.add_argument("--open-seconds", type=float, default=4, help="of each open loop")
    parser.add_argument("--only", nargs="+", choices=[peer.key for peer in PEERS], help="these peers")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures go, as JSON")
    parser.add_argument("--no-docs", action="store_true", help="leave docs/performance.md as it is")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the docs from --out")
    arguments = parser.parse_args()
    if not arguments.report:
        leave_nothing_behind()
        plan = Plan(arguments.rounds, arguments.seconds, arguments.open_seconds)
        peers = [peer for peer in PEERS if not arguments.only or peer.key in arguments.only]
        with tempfile.TemporaryDirectory(prefix="peers") as folder:
            scratch = Path(folder)
            paths = {name: save_mlp(sizes, scratch / f"{name}.onnx") for name, sizes in MODELS.items()}
            records = Comparison(plan, peers, paths, scratch).run()
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(records, indent=1))
    records = json.loads(arguments.out.read_text())
    print(report.section(records))
    if not arguments.no_docs:
        report.write_docs(records, ROOT / "docs")


MODELS = {"small": SMALL, "large": LARGE}

if __name__ == "__main__":
    main()

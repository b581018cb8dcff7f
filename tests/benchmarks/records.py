"""Records of a comparison that never took place."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchmarks.peers.measure import CASES, ECHO, OURS

ROUNDS = 3


def records() -> dict[str, Any]:
    """Ours makes 1000 (1 + round) requests/s, the echo twice as many; "quick" a tenth of ours, and "slow" a hundredth,
    without a binary encoding; "absent" could not be installed."""
    loads = []
    for round_ in range(ROUNDS):
        ours = 1000.0 * (1 + round_)
        for case in CASES:
            servers = [(OURS, "", ours), (ECHO, "", 2 * ours)]
            servers += [("quick", "advised", ours / 10), ("quick", "0", ours / 20)]
            servers += [("slow", "0", ours / 100)] if case.encoding == "json" else []
            loads += [load(round_, server, delay, rate) | asdict(case) for server, delay, rate in servers]
    peers = [("quick", "installed", ""), ("slow", "installed", ""), ("absent", "could not be installed", "no | wheel")]
    return {
        "machine": {"cpu": "abacus", "architecture": "wood", "cores": 2, "python": "3.11.7", "month": "May 1970"},
        "plan": {"rounds": ROUNDS, "seconds": 1, "open_seconds": 1.0},
        "peers": [
            {
                "key": key,
                "name": key.title(),
                "settings": "as advised",
                "version": "1.0",
                "outcome": outcome,
                "said": said,
            }
            for key, outcome, said in peers
        ],
        "trial": [],
        "loads": loads,
        "bare": [{"round": r, "model": "large", "best": 4000.0 * (1 + r)} for r in range(ROUNDS)],
        "memory": [{"round": 0, "server": OURS, "delay": "", "workers": 1, "bytes": 100 * 2**20, "models": 2}],
        "open": [
            {"round": r, "server": server, "delay": "", "workers": 1, "model": "small", "encoding": "json"}
            | {"rate_per_s": 70.0, "sent": 70, "failed": 0, "p50_s": p99 / 2, "p99_s": p99, "lag_p99_s": 0.0001}
            for r in range(ROUNDS)
            for server, p99 in ((OURS, 0.001), ("quick", 0.004))
        ],
        "failures": [],
        "idle_worker_bytes": 90 * 2**20,
        "took_s": 60,
    }


def load(round_: int, server: str, delay: str, rate: float, errors: int = 0) -> dict[str, Any]:
    names = {"round": round_, "server": server, "delay": delay, "workers": 1}
    return {**names, "requests_per_s": rate, "p50_s": 1 / rate, "p99_s": 2 / rate, "errors": errors}

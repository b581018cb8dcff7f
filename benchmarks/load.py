"""Drives a URL with wrk, a public load generator, and reads what it prints."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SLACK_S = 30
"""What wrk may take beyond its time, with a server that answers no more."""

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Load:
    requests_per_s: float
    """Answers of any status."""
    p50_s: float
    p99_s: float
    errors: int


@dataclass(frozen=True, slots=True)
class Body:
    """One request, sent again and again."""

    data: bytes
    headers: dict[str, str]


def drive(url: str, body: Body, connections: int, seconds: int, scratch: Path) -> Load:
    """One thread of wrk with so many connections; errors count answers that are not 200 and broken connections."""
    payload = scratch / "body.bin"
    payload.write_bytes(body.data)
    script = f'local f = io.open("{payload}", "rb")\nwrk.body = f:read("*a")\nf:close()\n'
    return drive_script(url, script, body.headers, connections, seconds, scratch)


def drive_script(url: str, lua: str, headers: Mapping[str, str], connections: int, seconds: int, scratch: Path) -> Load:
    """As `drive`, with what `lua` sends: it sets wrk.body, or makes each request in a function of that name."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is not installed; on Debian: apt-get install wrk")
    script = scratch / "post.lua"
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
    script.write_text(f'wrk.method = "POST"\n{lines}\n{lua}')
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + SLACK_S).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    assert rate is not None, printed
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed)
    errors = int(bad.group(1)) if bad else 0
    errors += sum(map(int, broken.groups())) if broken else 0
    return Load(float(rate.group(1)), _quantile(printed, 50), _quantile(printed, 99), errors)


def _quantile(printed: str, percent: int) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)\s*$", printed, re.MULTILINE)
    assert found is not None, printed
    return float(found.group(1)) * _UNITS[found.group(2)]

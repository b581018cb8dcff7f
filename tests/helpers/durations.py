"""How long each file of tests takes, as `tests/durations.txt` says it: those that take longest are begun first.

    python -m pytest -n 2 --dist loadfile -m 'not (gpu or long or serial)' --junitxml=REPORT.xml
    python -m tests.helpers.durations REPORT.xml        writes the file anew

Begun last, a long file would be left to one process while the others have nothing to do.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

KEPT = Path(__file__).parents[1] / "durations.txt"
BROWSER = "tests/browser/"
LEAST_S = 1.0
"""Files and tests that take less are not listed."""

HEAD = """\
# Seconds of files of tests that take one or more, and then of such tests, with their fixtures. conftest.py begins the
# longest files first. Written by `python -m tests.helpers.durations`, which says how; figures of a busy machine do too.
"""


def seconds_of_files(text: str) -> dict[str, float]:
    """What the list says of whole files, by their path from the repository on."""
    return {path: float(seconds) for seconds, path in re.findall(r"^ *([\d.]+) (\S+\.py)$", text, re.MULTILINE)}


def unit_of(nodeid: str) -> str:
    """What one process runs at a stretch: a file, or all that share one browser and one JupyterLab."""
    return BROWSER if nodeid.startswith(BROWSER) else nodeid.partition("::")[0]


def longest_first(nodeids: Iterable[str], seconds: Mapping[str, float]) -> list[str]:
    """Files in the order in which they are begun: by the seconds of their units, then by their own."""
    units: Counter[str] = Counter()
    for path, taken in seconds.items():
        units[unit_of(path)] += taken  # type: ignore[assignment]  # a Counter of float
    paths = dict.fromkeys(nodeid.partition("::")[0] for nodeid in nodeids)
    return sorted(paths, key=lambda path: (-units[unit_of(path)], -seconds.get(path, 0.0)))


def listing(seconds: Mapping[str, float]) -> str:
    """The list, of the seconds of each test by its id."""
    files: Counter[str] = Counter()
    for name, taken in seconds.items():
        files[name.partition("::")[0]] += taken  # type: ignore[assignment]  # a Counter of float
    lines = [HEAD]
    for part in (files, seconds):
        longest = sorted(part.items(), key=lambda item: (-item[1], item[0]))
        lines += [f"{taken:7.1f} {name}\n" for name, taken in longest if taken >= LEAST_S]
        lines.append("\n")
    return "".join(lines[:-1])


def _reported(report: Path) -> dict[str, float]:
    """The seconds of each test in a report as JUnit writes it."""
    return {
        f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}": float(case.get("time", 0))
        for case in ET.parse(report).iter("testcase")
    }


if __name__ == "__main__":
    KEPT.write_text(listing(_reported(Path(sys.argv[1]))), encoding="utf-8")

"""Counts the cores that this process may use: those that it may run on, and no more than its CPU quota pays for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_V2 = "cpu.max"
_V1_QUOTA, _V1_PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"


def usable_cores(root: Path = Path("/")) -> int:
    """The cores that this process may use, which in a container is fewer than the machine has; at least 1.

    A quota of 2.5 cores counts as 2: with more threads than it pays for, the kernel stops all of them for the rest of
    each period once it is spent, in the middle of runs.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS
    quota = cpu_quota(root)
    return cores if quota is None else max(1, min(cores, int(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The smallest CPU quota, in cores, of this process's control groups and those around them; None: there is none.

    Reads cgroups of version 2 and 1. `root` is where the file system begins.
    """
    quotas = [quota for folder in _groups(root) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the groups that may have a quota, from this process's own outwards as far as they are mounted."""
    own = root / "proc/self"
    with suppress(OSError, ValueError, IndexError):
        mounts = list(_mounts((own / "mountinfo").read_text(encoding="utf-8")))
        for line in (own / "cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            for kind, options, top, point in mounts:
                if kind != ("cgroup" if controllers else "cgroup2") or (controllers and "cpu" not in options):
                    continue
                # Without a namespace of its own, a container is told its path on the host, and its mount begins there.
                inside = path.removeprefix(top) if path == top or path.startswith(top.rstrip("/") + "/") else "/"
                base = root / point.lstrip("/")
                folder = base / inside.lstrip("/")
                while folder != base and base in folder.parents:
                    yield folder
                    folder = folder.parent
                yield base


def _mounts(text: str) -> Iterator[tuple[str, list[str], str, str]]:
    """(kind, options of the file system, the part that is mounted, where) of each mount of control groups."""
    for line in text.splitlines():
        where, _, what = line.partition(" - ")
        kind, _, options = what.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            _, _, _, top, point, *_ = where.split(" ")
            yield kind, options.split(","), top, point


def _quota(folder: Path) -> float | None:
    with suppress(OSError, ValueError):
        if (folder / _V2).exists():
            quota, period = (folder / _V2).read_text(encoding="utf-8").split()
        else:
            quota, period = (((folder / name).read_text(encoding="utf-8").strip()) for name in (_V1_QUOTA, _V1_PERIOD))
        if quota not in ("max", "-1") and float(quota) > 0 and float(period) > 0:
            return float(quota) / float(period)
    return None

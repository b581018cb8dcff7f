"""CPU quotas in made-up trees of control groups, as kernels and container engines lay them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workbench.core.cores import cpu_quota, usable_cores

V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "35 25 0:31 {top} /sys/fs/cgroup/cpu,cpuacct rw master:11 - cgroup cgroup rw,cpu,cpuacct"
OTHER = "36 25 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n20 1 8:1 / / rw - ext4 /dev/sda1 rw"


def tree(root: Path, mounts: str, groups: str, files: dict[str, str]) -> Path:
    for name, content in {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


def v2(path: str, quota: str) -> dict[str, str]:
    return {f"sys/fs/cgroup{path}/cpu.max": quota}


def v1(path: str, quota: int, period: int = 100_000) -> dict[str, str]:
    folder = f"sys/fs/cgroup/cpu,cpuacct{path}"
    return {f"{folder}/cpu.cfs_quota_us": str(quota), f"{folder}/cpu.cfs_period_us": str(period)}


@pytest.mark.parametrize(
    ("mounts", "groups", "files", "expected"),
    [
        (V2, "0::/", v2("", "150000 100000"), 1.5),
        (V2, "0::/", v2("", "max 100000"), None),
        (V2, "0::/", {}, None),  # the machine's own root, which has no limits
        (V2, "0::/a/b", v2("/a/b", "max 100000") | v2("/a", "400000 100000") | v2("", "300000 100000"), 3.0),
        (V2, "0::/a/b", v2("/a/b", "50000 100000") | v2("/a", "400000 100000"), 0.5),
        (V2, "0::/a", v2("/other", "100000 100000"), None),
        (V2, "0::/../../out", v2("", "200000 100000"), 2.0),  # a process that was moved out of its namespace
        (V1.format(top="/"), "4:memory:/a\n3:cpu,cpuacct:/a\n0::/", v1("/a", 250_000) | v1("", -1), 2.5),
        (V1.format(top="/"), "3:cpu,cpuacct:/a/b", v1("/a/b", -1) | v1("/a", 20_000, 10_000), 2.0),
        (V1.format(top="/docker/f00"), "3:cpu,cpuacct:/docker/f00", v1("", 100_000), 1.0),
        (V1.format(top="/docker/f00"), "3:cpu,cpuacct:/docker/f00/in", v1("/in", 70_000) | v1("", 100_000), 0.7),
        (V1.format(top="/docker/f00"), "3:cpu,cpuacct:/docker/f001", v1("", 300_000), 3.0),
        (f"{V1.format(top='/')}\n{V2}", "3:cpu,cpuacct:/a\n0::/a", v1("/a", 300_000) | v2("/a", "200000 100000"), 2.0),
        (V2, "0::/", v2("", "no numbers"), None),
        (V2, "0::/", v2("", "100000 0"), None),
        ("what is this", "0::/", v2("", "100000 100000"), None),
    ],
)
def test_the_smallest_quota_of_the_groups_around_this_process_counts(
    tmp_path: Path, mounts: str, groups: str, files: dict[str, str], expected: float | None
) -> None:
    assert cpu_quota(tree(tmp_path, f"{OTHER}\n{mounts}", groups, files)) == expected


def test_where_there_are_no_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(("quota", "cores"), [("250000", 2), ("100000", 1), ("30000", 1), ("1600000", 4), ("max", 4)])
def test_a_quota_is_rounded_down_to_whole_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert usable_cores(tree(tmp_path, V2, "0::/", v2("", f"{quota} 100000"))) == cores

"""The limit of open files, and what of it is left to connections."""

from __future__ import annotations

import subprocess
import sys

import pytest

from workbench.server.process.descriptors import most_connections


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "expected"),
    [(256, 1024, 4096, 1024), (512, 512, 10, 512), (256, 70_000, 10, 65_536), (256, 70_000, 69_000, 69_512)],
)
def test_the_soft_limit_is_raised_as_far_as_it_can_be(soft: int, hard: int, connections: int, expected: int) -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import resource, sys\n"
            "from workbench.server.process.descriptors import raise_descriptor_limit\n"
            "soft, hard, connections = map(int, sys.argv[1:])\n"
            "most = min(hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1])\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))\n"
            "print(raise_descriptor_limit(connections), *resource.getrlimit(resource.RLIMIT_NOFILE))",
            *map(str, (soft, hard, connections)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    returned, raised, most = map(int, said.stdout.split())
    assert returned == raised == min(expected, most)


def test_some_are_left_to_all_else() -> None:
    assert most_connections(4096, 65_536) == 4096
    assert most_connections(4096, 1024) == 768
    assert most_connections(4096, 4096) == 3584
    assert most_connections(10, 1024) == 10
    assert most_connections(4096, 1) == 1

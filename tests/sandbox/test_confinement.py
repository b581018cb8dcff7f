"""What a process that a file took over can still do: real attempts in a real process, as far as this kernel goes.

Where the kernel lacks a part, what that part keeps is expected to succeed, so the test says which were in force.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.sandbox.confinement import (
    CAPABILITIES,
    LANDLOCK,
    LIMITS,
    NO_NEW_PRIVILEGES,
    SECCOMP,
    scrubbed,
    supported,
)
from workbench.sandbox.landlock import landlock_abi

ALLOWED = ("read its own", "start a thread", "compute")
KEPT_BY: dict[str, tuple[str, ...]] = {
    LANDLOCK: (
        "read a secret",
        "read /etc/passwd",
        "read its parent's environment",
        "read its parent's memory",
        "list a folder",
        "write outside",
        "write over its own",
        "make a file of its own",
        "make a folder",
        "make a link",
        "delete",
        "rename",
    ),
    SECCOMP: (
        "socket AF_INET",
        "socket AF_INET6",
        "socket AF_UNIX",
        "socket AF_NETLINK",
        "connect",
        "bind",
        "chmod",
        "chown",
        "change times",
        "fork",
        "start a program",
        "become one",
        "signal its parent",
        "trace its parent",
        "open its parent",
        "io_uring",
        "new namespaces",
        "mount",
        "change user",
        "limits of its parent",
    ),
    LIMITS: ("take more memory", "open many files"),
}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def confined(folder: Path, listener: socket.socket, *more: str) -> dict[str, Any]:
    own, secret = folder / "own", folder / "data" / "token"
    for path in (own / "model.onnx", secret):
        path.parent.mkdir()
        path.write_bytes(b"secret")
    arguments = [str(own), str(secret), str(listener.getsockname()[1]), *more]
    command = [sys.executable, "-m", "tests.sandbox.confined", *arguments]
    ended = subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == -signal.SIGABRT, ended.stderr.decode()
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_a_confined_process_can_do_what_models_need_and_nothing_else(tmp_path: Path, listener: socket.socket) -> None:
    found = confined(tmp_path, listener)
    came, in_force = found["came"], found["in_force"]
    print("in force:", ", ".join(in_force))
    assert sorted(in_force) == sorted(supported()), "the kernel has a part that was not applied"
    assert [came[name] for name in ALLOWED] == ["done"] * len(ALLOWED)
    for part, kept in KEPT_BY.items():
        for name in kept:
            assert came[name] != "done" or part not in in_force, f"{name}: {part} is in force"
    status = dict(line.split(":", 1) for line in found["status"].splitlines())
    expected = {"NoNewPrivs": "1", "CapEff": "0000000000000000", "CapPrm": "0000000000000000"}
    if SECCOMP in in_force:
        expected["Seccomp"] = "2"
    assert {name: status[name].strip() for name in expected} == expected
    assert {NO_NEW_PRIVILEGES, CAPABILITIES, LIMITS} <= set(in_force)


def test_what_confined_processes_tried_came_to_nothing(tmp_path: Path, listener: socket.socket) -> None:
    in_force = confined(tmp_path, listener)["in_force"]
    if LANDLOCK in in_force:
        assert (tmp_path / "data" / "token").read_bytes() == b"secret"
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["data", "model.onnx", "own", "token"]
    listener.settimeout(0.1)
    if SECCOMP in in_force:
        with pytest.raises(TimeoutError):
            listener.accept()


def test_landlock_alone_keeps_files_and_from_abi_4_on_tcp(tmp_path: Path, listener: socket.socket) -> None:
    abi = landlock_abi()
    came = confined(tmp_path, listener, "landlock")["came"]
    print("Landlock ABI", abi)
    for name in KEPT_BY[LANDLOCK] if abi else ():
        assert came[name] != "done", name
    assert (came["cut short"] == "done") is (abi < 3)
    assert (came["connect"] == "done", came["bind"] == "done") == (abi < 4, abi < 4)
    assert (came["signal its parent"] == "done") is (abi < 6)
    assert came["start a program"] != "done" or not abi


def test_an_environment_is_left_with_what_finds_libraries() -> None:
    secrets = {
        "INFER_WORKBENCH_TOKEN": "t",
        "HTTPS_PROXY": "http://user:password@proxy",
        "AWS_SECRET_ACCESS_KEY": "k",
        "GOOGLE_APPLICATION_CREDENTIALS": "/k",
        "JUPYTER_TOKEN": "t",
        "SSH_AUTH_SOCK": "/s",
        "CUDA_VISIBLE_DEVICES": "0",
    }
    kept = {"PATH": "/bin", "PYTHONPATH": "/p", "LD_LIBRARY_PATH": "/l", "LC_ALL": "C.UTF-8"}
    found = scrubbed(secrets | kept)
    assert not secrets.keys() & found.keys()
    assert kept.items() <= found.items()


def test_a_worker_gets_no_new_privileges_where_no_driver_needs_a_program_with_more() -> None:
    code = (
        "from workbench.sandbox.confinement import lessen_worker\n"
        "print(lessen_worker())\n"
        "print(open('/proc/self/status').read())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    has_driver = os.path.exists("/proc/driver/nvidia")
    assert (f"NoNewPrivs:\t{0 if has_driver else 1}" in said, NO_NEW_PRIVILEGES in said) == (True, not has_driver)

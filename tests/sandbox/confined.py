"""Run as a program: confines itself, tries what a file that took over a trial might, and tells as JSON what came of it.

    python -m tests.sandbox.confined OWN_FOLDER SECRET_FILE PORT [landlock]

With "landlock" nothing but that is in force, to see that it alone keeps what it should.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from workbench.sandbox.confinement import confine, libraries
from workbench.sandbox.kernel import libc, prctl
from workbench.sandbox.landlock import restrict


def main() -> None:
    own, secret, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    parent = os.getppid()
    told = os.dup(1)
    if sys.argv[4:] == ["landlock"]:
        prctl(38, 1)
        restrict([*libraries(), str(own)])
        in_force: tuple[str, ...] = ()
    else:
        in_force = confine([str(own)], memory_mib=256, cpu_s=60)

    status = Path("/proc/self/status").read_text(encoding="ascii") if in_force else ""

    def system(number: dict[str, int], *arguments: int) -> None:
        libc().syscall.restype = ctypes.c_long
        result = libc().syscall(ctypes.c_long(number[platform.machine()]), *map(ctypes.c_long, arguments))
        if result < 0:
            raise OSError(ctypes.get_errno(), "")

    def connect() -> None:
        with socket.socket() as s:
            s.connect(("127.0.0.1", port))

    def bind() -> None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))

    def fork() -> None:
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    def descriptors() -> None:
        opened = []
        try:
            for _ in range(1000):
                opened.append(os.open(own / "model.onnx", os.O_RDONLY))
        finally:
            for each in opened:
                os.close(each)

    attempts: dict[str, Callable[[], Any]] = {
        "read its own": lambda: (own / "model.onnx").read_bytes(),
        "start a thread": lambda: _thread(),
        "compute": lambda: np.linalg.inv(np.eye(50)),
        "socket AF_INET": lambda: socket.socket(socket.AF_INET).close(),
        "socket AF_INET6": lambda: socket.socket(socket.AF_INET6).close(),
        "socket AF_UNIX": lambda: socket.socket(socket.AF_UNIX).close(),
        "socket AF_NETLINK": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
        "connect": connect,
        "bind": bind,
        "read a secret": secret.read_bytes,
        "read /etc/passwd": lambda: Path("/etc/passwd").read_bytes(),
        "read its parent's environment": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
        "list a folder": lambda: os.listdir(secret.parent),
        "write outside": lambda: (secret.parent / "new").write_bytes(b"x"),
        "write over its own": lambda: (own / "model.onnx").write_bytes(b"x"),
        "make a file of its own": lambda: (own / "new").write_bytes(b"x"),
        "make a folder": lambda: (own / "folder").mkdir(),
        "make a link": lambda: (own / "link").symlink_to("/etc/passwd"),
        "delete": secret.unlink,
        "rename": lambda: (own / "model.onnx").rename(own / "other.onnx"),
        "cut short": lambda: os.truncate(secret, 0),
        "chmod": lambda: secret.chmod(0o777),
        "chown": lambda: os.chown(own, os.getuid(), os.getgid()),
        "change times": lambda: os.utime(secret),
        "fork": fork,
        "start a program": lambda: subprocess.run(["/bin/true"], check=True),
        "become one": lambda: os.execv("/bin/true", ["true"]),
        "signal its parent": lambda: os.kill(parent, 0),
        "trace its parent": lambda: system({"x86_64": 101, "aarch64": 117}, 16, parent, 0, 0),
        "read its parent's memory": lambda: Path(f"/proc/{parent}/mem").read_bytes(),
        "open its parent": lambda: os.pidfd_open(parent),
        "io_uring": lambda: system({"x86_64": 425, "aarch64": 425}, 1, 0),
        "new namespaces": lambda: system({"x86_64": 272, "aarch64": 97}, 0x10000000),
        "mount": lambda: system({"x86_64": 165, "aarch64": 40}, 0, 0, 0, 0, 0),
        "change user": lambda: os.setuid(os.getuid()),
        "limits of its parent": lambda: _limits_of(parent),
        "take more memory": lambda: np.ones(8 << 27),
        "open many files": descriptors,
    }
    if not in_force:  # which would have it all
        del attempts["take more memory"], attempts["open many files"]
    came: dict[str, str] = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            came[name] = "done"
        except (OSError, MemoryError, subprocess.SubprocessError, RuntimeError) as error:
            came[name] = f"{type(error).__name__}: {error}"
    os.write(told, json.dumps({"in_force": in_force, "came": came, "status": status}).encode())
    os.kill(os.getpid(), signal.SIGABRT)  # which a library may do to itself


def _thread() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def _limits_of(pid: int) -> None:
    import resource

    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()

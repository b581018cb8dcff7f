"""A Python whose wall clock can be moved while its programs run: what they read is off by the seconds in a file."""

from __future__ import annotations

import sys
from pathlib import Path

PROGRAM = """#!{python}
import runpy, sys, time

real, real_ns = time.time, time.time_ns

def offset():
    with open({offset!r}) as file:
        return int(file.read() or 0)

time.time = lambda: real() + offset()
time.time_ns = lambda: real_ns() + offset() * 1_000_000_000
sys.executable = {path!r}  # which the keeper starts its worker with
while sys.argv[1:2] and sys.argv[1] in ("-P", "-m"):
    del sys.argv[1]
module = sys.argv.pop(1)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


class JumpingClock:
    """`python` is what to start programs with, as `python -P -m MODULE`."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "jumping python"
        self._offset = folder / "offset"
        self.jump(0)
        program = PROGRAM.format(python=sys.executable, path=str(self.python), offset=str(self._offset))
        self.python.write_text(program, encoding="utf-8")
        self.python.chmod(0o700)

    def jump(self, seconds: int) -> None:
        """Be this far ahead of the real time from now on."""
        following = self._offset.with_suffix(".new")
        following.write_text(str(seconds), encoding="ascii")
        following.replace(self._offset)

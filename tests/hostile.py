"""A runtime that harms its process where a model's graph name says so: on the path of a process, not in the product."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from onnx import ModelProto

from tests import models

_SITE = '''
"""Found by Python at its start, before anything else: wraps what opens ONNX files."""
import dataclasses, os, pathlib, sys, time
from workbench.core.runtime import ONNX, imported, register

in_trial = "workbench.sandbox.trial_main" in " ".join(sys.orig_argv)
told = pathlib.Path(__file__).with_name("told")

class Session:
    def __init__(self, inner, act, where):
        self.inner, self.act = inner, act
        self.where, _, number = where.partition(" ")
        self.number = int(number)
        self.platform, self.device, self.notes = inner.platform, inner.device, inner.notes
        self.signature, self.runner_threads, self.close = inner.signature, inner.runner_threads, inner.close

    def run(self, inputs, outputs):
        if self.where == "run":
            self.number -= 1
        if self.number in ([0] if self.where == "run" else inputs["x"]):
            self.act()
        return self.inner.run(inputs, outputs)

def hang():
    if not in_trial:  # where nothing can be written
        told.with_name("hanging").touch()
    while True:
        time.sleep(1)

def open_hostile(path, config, *, instances):
    import onnx
    name = onnx.load(path, load_external_data=False).graph.name
    inner = imported(ONNX.opener)(path, config, instances=instances)
    what, _, where = name.partition(" in ")
    where, _, only = where.partition(", ")
    act = {"abort": os.abort, "hang": hang}.get(what)
    if act is None or ("not in a trial" in only and in_trial) or ("once told" in only and not told.exists()):
        return inner
    if where == "load":
        act()
    return Session(inner, act, where)

register(dataclasses.replace(ONNX, opener="sitecustomize:open_hostile"))
'''


def hostile_runtime(folder: Path, setenv: Callable[[str, str], None]) -> Path:
    """From now on, processes that are started with this environment open models as their graph's name says. The file
    that tells them "now", once somebody makes it; beside it they make "hanging" when they do."""
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(_SITE)
    setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]))
    return site / "told"


def hostile_model(name: str, amount: float = 1.0) -> ModelProto:
    """y = x + amount for exactly one row.

    `name` is WHAT in WHERE: "abort in load", "abort in run 1", "hang in row 13" (the one that holds this number, which
    warm-up makes up nowhere), and may end with ", not in a trial" or ", once told" or both.
    """
    proto = models.add_constant(amount, (1, 4))
    proto.graph.name = name
    return proto

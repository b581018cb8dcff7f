"""The one place that imports onnxruntime, after the environment has been put right for it.

from workbench.runtimes.ort import ort
"""

from __future__ import annotations

import os

# Since 1.29 the Linux wheels upload usage data unless this is set before the library is first loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Lets a model file set the options of its own session; a model is untrusted.
os.environ.pop("ORT_LOAD_CONFIG_FROM_MODEL", None)

import onnxruntime as ort

VERSION = ".".join(ort.__version__.split(".")[:2])
"""The version as messages show it: "1.31"."""

QUIET = 4
"""Log severity "fatal". Every failure is raised as well; below this, ONNX Runtime also prints it to stderr, with
paths of its own sources."""

__all__ = ["QUIET", "VERSION", "ort"]

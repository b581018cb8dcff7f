"""What a client tells the service that it is, which the audit shows: User-Agent."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version
from pathlib import PurePath

_speaker = ""


def speak_as(face: str) -> None:
    """Have clients of this process say that they are `face`, in place of what they find out themselves."""
    global _speaker
    _speaker = face


def user_agent() -> str:
    """The name and version of this library, and in parentheses who uses it."""
    return f"infer-workbench/{version('infer-workbench')} ({_speaker or _found()}; pid {os.getpid()})"


def _found() -> str:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return "Python"
    # Jupyter servers tell a kernel whose it is.
    notebook = re.sub(r"[^A-Za-z0-9._ -]", "_", PurePath(os.environ.get("JPY_SESSION_NAME", "")).name)
    return f"kernel of {notebook[:80]}" if notebook else "kernel"

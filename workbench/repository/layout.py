"""How models lie on disk, and the rule that a path stays inside its root.

ROOT/NAME/VERSION/model.onnx    a repository, as Triton users have it; ROOT/NAME/model.toml holds settings,
                                ROOT/NAME/config.pbtxt Triton's
ROOT/DIGEST/model.onnx          the store

Another runtime's file has the name that its descriptor gives (core.runtime.Runtime.model_file).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from workbench.core.runtime import runtimes
from workbench.errors import UntrustedModel

SETTINGS_FILE = "model.toml"
TRITON_FILE = "config.pbtxt"
WARMUP_FOLDER = "warmup"
"""Beside a model's versions: inputs that its config.pbtxt has it warmed up with."""

INITIAL_STATE_FOLDER = "initial_state"
"""Beside a model's versions: the states with which its sequences begin."""


def model_file_in(folder: Path) -> Path | None:
    """The model's file in a folder that holds one model, by the name that a runtime gives it; None: there is none."""
    return next((path for each in runtimes() if os.path.isfile(path := folder / each.model_file)), None)  # noqa: PTH113 - False where it may not be read


def contained(path: Path, root: Path, what: str) -> Path:
    """`path` with every symbolic link followed, when that lies in `root`; UntrustedModel names `what` otherwise."""
    try:
        resolved = path.resolve(strict=True)
        inside = resolved.is_relative_to(root.resolve(strict=True))
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise UntrustedModel(f"{what} cannot be followed to a file: {words(error)}") from None
    if not inside:
        raise UntrustedModel(
            f"{what} leads out of the folder {root.name!r}, by a symbolic link or '..'; put a copy there instead"
        )
    return resolved


def check_own_file(path: Path, what: str) -> int:
    """The size of a regular file that has one name only; UntrustedModel for anything else."""
    try:
        status = path.stat(follow_symlinks=False)
    except OSError as error:
        raise UntrustedModel(f"{what} cannot be read: {words(error)}") from None
    check_own_status(status, what)
    return status.st_size


def check_own_status(status: os.stat_result, what: str) -> None:
    """UntrustedModel for anything but a regular file with one name.

    A second name (a hard link) may lie anywhere, and so show a file from outside the folder.
    """
    if not stat.S_ISREG(status.st_mode):
        raise UntrustedModel(f"{what} is no regular file; put a copy there instead")
    if status.st_nlink > 1:
        raise UntrustedModel(
            f"{what} is a hard link: {status.st_nlink} names lead to it, and the others may lie anywhere; put a copy "
            "there instead (cp FILE FILE.copy && mv FILE.copy FILE)"
        )


def words(error: Exception) -> str:
    """What went wrong with a file, without its path."""
    return getattr(error, "strerror", None) or type(error).__name__

"""Whether strangers could put another folder in a folder's place: every user who may write the folder above it can.

As sshd does before it believes a user's files, the folders above are looked at up to the user's home. Where the
sticky bit is set, as in /tmp, others cannot move what is not theirs.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path


def own_groups() -> tuple[int, ...]:
    """Groups that count as the user."""
    return 0, os.getegid()


def replaceable_by_others(path: Path) -> str:
    """Why strangers could put another folder in the place of `path`, which is absolute; empty: they could not.

    A group that is this process's own counts as the user, since many systems give each user a group of theirs.
    """
    if sys.platform == "win32":
        return ""
    try:
        home = Path.home()
    except RuntimeError:  # the user of a container that has neither HOME nor an entry in /etc/passwd
        home = None
    for folder in path.parents:
        if folder == home:
            break
        try:
            found = folder.stat()
        except OSError:
            continue  # whoever cannot be asked about it cannot open what is in it either
        mode = stat.S_IMODE(found.st_mode)
        if mode & stat.S_ISVTX:
            continue
        if mode & 0o002:
            return f"others can write {folder} (mode {mode:04o}), which it lies in: chmod o-w {folder}"
        if mode & 0o020 and found.st_gid not in own_groups():
            return f"a group can write {folder} (mode {mode:04o}), which it lies in: chmod g-w {folder}"
    return ""

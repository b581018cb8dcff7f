"""Removes the folders that earlier boots of this machine left behind."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from contextlib import ExitStack

from workbench.rendezvous.folder import Rendezvous, host_name
from workbench.rendezvous.locks import try_lock

UNTOUCHED_S = 3600.0
"""For how long nothing must have happened in a folder: another machine of the same name may be about to use it."""

_NAME = re.compile(r"(?P<host>.+)-(?P<boot>[0-9a-f]{8})-[0-9]+")


def forget_earlier_boots(room: Rendezvous) -> list[str]:
    """Remove the folders beside `room` of other boots of this host, and give their names.

    Only what is provably dead goes: this user's own, untouched for an hour, and with none of its locks held.
    """
    here = _NAME.fullmatch(room.path.name)
    if here is None or here["host"] != host_name():
        return []
    gone = []
    try:
        names = sorted(os.listdir(room.path.parent))  # noqa: PTH208
    except OSError:
        return []
    for name in names:
        there = _NAME.fullmatch(name)
        if there is None or there["host"] != here["host"] or there["boot"] == here["boot"]:
            continue
        try:
            if _is_dead(earlier := Rendezvous(room.path.parent / name)):
                shutil.rmtree(earlier.path)
                gone.append(name)
        except OSError:
            pass  # somebody is at it already, or it cannot be removed: it does no harm
    return gone


def _is_dead(room: Rendezvous) -> bool:
    found = room.path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return False
    touched = max(path.lstat().st_mtime for path in (room.path, *room.path.iterdir()))
    if time.time() - touched < UNTOUCHED_S:
        return False
    with ExitStack() as held:
        for path in (room.start_lock, room.keeper_lock):
            try:
                descriptor = try_lock(path, create=False)
            except FileNotFoundError:
                continue  # it was never held
            if descriptor is None:
                return False
            held.callback(os.close, descriptor)
    return True

"""Tells when something may have changed in a folder, where its file system says so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

GATHERED_MS = 400
"""Events within this time are told together."""

STEP_MS = 50
"""How often the end is looked for, and whether further events have come."""

log = logging.getLogger("workbench.repository")


class FolderEvents:
    """Runs one thread between `start` and `close`. Where the system has no events, as on most network drives, or has
    no more of them to give, nothing is told, so the caller has to look from time to time as well."""

    def __init__(self, folders: Sequence[Path], told: Callable[[], object], look_s: float) -> None:
        """`told` is called on the thread. A folder that another one has replaced is followed anew within `look_s`."""
        self._folders = tuple(folders)
        self._told = told
        self._look_s = look_s
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells each change
        self._thread = threading.Thread(target=self._follow, name="folder events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Blocks for as long as a look takes."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        from watchfiles import watch

        complained = False
        while not self._ended.is_set():
            places = self._places()
            try:
                if places:
                    for changes in watch(
                        *places,
                        watch_filter=None,
                        debounce=GATHERED_MS,
                        step=STEP_MS,
                        stop_event=self._ended,
                        rust_timeout=max(STEP_MS, int(self._look_s * 1000)),
                        yield_on_timeout=True,
                        raise_interrupt=False,
                        ignore_permission_denied=True,
                    ):
                        if changes:
                            self._told()
                        if self._places() != places:
                            break
                    continue
            except (OSError, RuntimeError) as error:  # folders that vanish, or too many for inotify
                if not complained:
                    complained = True
                    log.warning("changes of the model repositories are found by looking alone: %s", error)
            self._ended.wait(self._look_s)

    def _places(self) -> dict[Path, tuple[int, int]]:
        """The folders that are there, and what they are."""
        found = {}
        for folder in self._folders:
            try:
                status = folder.stat()
            except OSError:
                continue
            found[folder] = status.st_dev, status.st_ino
        return found

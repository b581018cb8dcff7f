"""Where others reach the Jupyter server with our extension, which it writes down for kernels and command lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from workbench.errors import StorageError
from workbench.rendezvous.atomic_files import write_private
from workbench.rendezvous.own_file import read_own
from workbench.rendezvous.process_identity import ProcessKey, this_process

_FILE: Final = "jupyter.json"

_MAX_BYTES: Final = 8192


def publish_jupyter_address(folder: Path, url: str) -> None:
    """Write down the address of this process's endpoint for shares, in place of another one's. StorageError."""
    process = this_process()
    write_private(folder / _FILE, json.dumps({"url": url, "pid": process.pid, "began": process.began}))


def jupyter_address(folder: Path) -> str:
    """The address that a Jupyter server which still runs has written down; empty where there is none."""
    try:
        found = json.loads(read_own(folder / _FILE, _MAX_BYTES))
        process = ProcessKey(int(found["pid"]), int(found["began"]))
        return str(found["url"]) if process.alive else ""
    except (OSError, StorageError, ValueError, KeyError, TypeError):
        return ""  # the service's own address does instead

"""The rendezvous folder: one for each user, machine and boot, which nobody else may look into.

Home folders lie on network file systems, so what is said of processes is kept apart by host, boot and container; pids
of another one mean nothing here.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import sys
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from workbench.config import ENVIRONMENT_PREFIX
from workbench.errors import StorageError
from workbench.rendezvous.atomic_files import write_private
from workbench.rendezvous.own_file import read_own
from workbench.rendezvous.parent_folders import replaceable_by_others
from workbench.rendezvous.process_identity import ProcessKey
from workbench.rendezvous.service_record import ServiceRecord, ServiceState, decode_record

RUNTIME_VARIABLE = f"{ENVIRONMENT_PREFIX}RUNTIME_DIR"
DATA_VARIABLE = f"{ENVIRONMENT_PREFIX}DATA_DIR"

STARTED_AS_VARIABLE = f"{ENVIRONMENT_PREFIX}STARTED_AS"
"""Tells the shared service whose environment it has, in words; only the process that starts the service sets it."""


MAX_RECORD_BYTES = 256 * 1024


class Rendezvous:
    """The folder at `path`. `open` first: it makes the folder, or says why it is not to be trusted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.leases = path / "leases"
        self.service_file = path / "service.json"
        self.start_lock = path / "start.lock"
        """Held by the process that is starting a keeper."""
        self.keeper_lock = path / "keeper.lock"
        """Held by the keeper for as long as it lives."""
        self.start_log = path / "start.log"
        """Output of a supervisor before it has a log."""

    def open(self) -> Rendezvous:
        """Make it, or check that it is this user's and closed to others. StorageError."""
        for folder in (self.path, self.leases):
            _own_folder(folder)
        return self

    def read(self) -> ServiceRecord | None:
        """The record of a supervisor that still lives; None where there is none."""
        record = self.last()
        return record if record is not None and record.keeper.alive else None

    def last(self) -> ServiceRecord | None:
        """The last record, also of a supervisor that has ended. Raises Unsupported for a file of a newer schema, and
        StorageError for one that is not this user's: it could name a process to signal, and where to call."""
        try:
            return decode_record(read_own(self.service_file, MAX_RECORD_BYTES))
        except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
            return None
        except OSError as error:
            raise StorageError(f"the file service.json in {self.path} cannot be read: {error.strerror}") from None

    def publish(self, record: ServiceRecord) -> None:
        """StorageError where it cannot be written; what was there before then stays."""
        write_private(self.service_file, record.encode())

    def withdraw(self, keeper: ProcessKey, reason: str, since: float) -> None:
        """Say that the service of `keeper` has ended, and why; what another one published stays."""
        record = self.last()
        if record is not None and record.keeper == keeper:
            self.publish(replace(record, state=ServiceState.STOPPED, reason=reason, since=since, worker=None))


def rendezvous(environment: Mapping[str, str] = os.environ) -> Rendezvous:
    """This user's rendezvous on this machine, not opened yet."""
    if (given := environment.get(RUNTIME_VARIABLE)) is not None:
        root = Path(given).absolute()
    else:
        from jupyter_core.paths import jupyter_runtime_dir

        root = Path(jupyter_runtime_dir()) / "infer-workbench"
    return Rendezvous(root / machine_name())


def data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The data folder of the shared service."""
    if (given := environment.get(DATA_VARIABLE)) is not None:
        return Path(given).absolute()
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir()) / "infer-workbench"


def standalone_data_folder(http_port: int) -> Path:
    """The default data folder of a service that is started by hand: one for each working folder and port.

    It lies in Jupyter's data folder, so that `serve` leaves nothing in the working folder. Raises StorageError where
    the working folder has been deleted.
    """
    from jupyter_core.paths import jupyter_data_dir

    try:
        here = Path.cwd()
    except OSError as error:
        raise StorageError(
            f"the working folder cannot be read ({error.strerror}): start in another, or give a data folder with "
            "--data-dir"
        ) from None
    # Told apart by the whole path too, since two folders may share a name. CRC-32 needs no OpenSSL, as hashlib does.
    name = f"{_file_name(here.name) or 'root'}-{http_port}-{zlib.crc32(os.fsencode(here)):08x}"
    return Path(jupyter_data_dir()) / "infer-workbench-serve" / name


def host_name() -> str:
    """This machine's name, as a part of a file's name."""
    return _file_name(socket.gethostname()) or "host"


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", text)[:40]


def machine_name() -> str:
    """Names this host, boot and container as a folder."""
    parts = [host_name()]
    if sys.platform == "linux":
        try:
            parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8])
            # Containers share the host's boot id; what pids mean is what its namespace says.
            parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
        except OSError:
            pass
    return "-".join(parts)


def _own_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise StorageError(
            f"the folder {path} cannot be made ({error.strerror}): check who owns it, or name another with "
            f"{RUNTIME_VARIABLE}"
        ) from None
    if not stat.S_ISDIR(found.st_mode):
        raise StorageError(f"{path} is not a directory; remove it, or name another with {RUNTIME_VARIABLE}")
    if found.st_uid != os.geteuid():
        raise StorageError(
            f"the folder {path} belongs to another user, who could hand out a service that is not yours: remove it, "
            f"or name another with {RUNTIME_VARIABLE}"
        )
    if why := replaceable_by_others(path):
        raise StorageError(f"the folder {path} is not used: {why}, or name another folder with {RUNTIME_VARIABLE}")
    if open_to := stat.S_IMODE(found.st_mode) & 0o077:
        raise StorageError(
            f"the folder {path} is open to others (mode {stat.S_IMODE(found.st_mode):04o}, of which {open_to:03o} is "
            f"too much), and it holds your token: chmod 700 it"
        )
    if not os.access(path, os.W_OK | os.X_OK):
        raise StorageError(
            f"the folder {path} cannot be written: chmod 700 it, or name another with {RUNTIME_VARIABLE}"
        )

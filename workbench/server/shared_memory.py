"""Registry of POSIX shared memory that local clients registered: tensors are read and written there at given offsets.

They are read with pread and never mapped: a client that cuts its object short would end a process that has it mapped.
No name of a region or an object is ever in an error: whoever learns one could register it as their own.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.errors import Cancelled, Conflict, InvalidInput, NotFound, TooLarge, TooManyRequests, Unsupported
from workbench.protocols.region_params import RegionSlice

FOLDER: Final = Path("/dev/shm")

RESERVED: Final = "infer_workbench"
"""Names that begin with this are the service's own."""

MAX_REGIONS: Final = 1024

DISABLED: Final = (
    "client shared memory is disabled; start the service with --allow-shared-memory, or send tensors in the body"
)

NO_CUDA_REGION: Final = "Unable to find cuda shared memory region: none can be registered"

_KEY: Final = re.compile(r"/?([A-Za-z0-9_][A-Za-z0-9_.\-]{0,199})")
_MAX_NAME: Final = 256


@dataclass(slots=True, eq=False)
class Region:
    """An open object. Closed when it is unregistered and no request has it any more."""

    name: str
    key: str
    offset: int
    byte_size: int
    descriptor: int
    users: int = 1
    """The registry, while it is registered, and the requests that named it."""

    def place(self, place: RegionSlice, what: str) -> int:
        """Where in the object `place` begins. InvalidInput where it leaves the region, or the object has shrunk."""
        if place.offset > self.byte_size or place.size > self.byte_size - place.offset:
            invalid = "offset + byte size" if place.offset < self.byte_size else "offset"
            raise InvalidInput(
                f"{what}: Invalid {invalid} for shared memory region: {place.size} bytes from {place.offset} on do not "
                f"lie in its {self.byte_size}"
            )
        begin = self.offset + place.offset
        if os.fstat(self.descriptor).st_size < begin + place.size:
            raise InvalidInput(f"{what}: the shared memory is smaller than it was when it was registered")
        return begin


class SharedMemory:
    """The regions by name. Methods may be called from any thread."""

    def __init__(self, most: int, folder: Path = FOLDER) -> None:
        """`most` bytes are copied out of it at once."""
        self._most = most
        self._copied = 0
        self._folder = folder
        self._regions: dict[str, Region] = {}
        self._lock = threading.Lock()

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """InvalidInput, Conflict, NotFound, TooLarge; Unsupported where the system has no such objects as files."""
        if not self._folder.is_dir():
            raise Unsupported("system shared memory is served on Linux only")
        if len(name) > _MAX_NAME:
            raise TooLarge(f"the region's name has {len(name)} characters; {_MAX_NAME} at most")
        found = _KEY.fullmatch(key)
        if found is None or found[1].startswith(RESERVED):
            raise InvalidInput("the key cannot name a client's shared memory: use letters, digits, '_', '-' and '.'")
        if not (0 <= offset < 1 << 62 and 0 < byte_size < 1 << 62):
            raise InvalidInput(
                "Invalid offset for shared memory region: offset and byte_size are whole, byte_size over 0"
            )
        region = Region(name, key, offset, byte_size, _opened(self._folder / found[1]))
        try:
            if offset + byte_size > os.fstat(region.descriptor).st_size:
                raise InvalidInput(
                    "Invalid offset for shared memory region: offset and byte_size lead out of the object"
                )
            with self._lock:
                if name in self._regions:
                    raise Conflict("a region of this name is registered already; unregister it first")
                if len(self._regions) >= MAX_REGIONS:
                    raise TooLarge(f"{MAX_REGIONS} regions are registered, and no more can be; unregister some")
                self._regions[name] = region
        except BaseException:
            os.close(region.descriptor)
            raise

    def unregister(self, name: str | None = None) -> None:
        """One region, or all; what is not there is gone already."""
        with self._lock:
            names = list(self._regions) if name is None else [name]
            regions = [region for each in names if (region := self._regions.pop(each, None)) is not None]
        for region in regions:
            self.release(region)

    def regions(self, name: str | None = None) -> list[Region]:
        """By name. NotFound where the one named is not there."""
        with self._lock:
            found = [region for key, region in sorted(self._regions.items()) if name in (None, key)]
        if name is not None and not found:
            raise NotFound("Unable to find system shared memory region: no region of this name is registered")
        return found

    def hold(self, name: str, what: str) -> Region:
        """The region, kept open until `release`. InvalidInput."""
        with self._lock:
            region = self._regions.get(name)
            if region is None:
                raise InvalidInput(f"{what}: Unable to find shared memory region: none of this name is registered")
            region.users += 1
        return region

    def take(self, size: int) -> None:
        """TooManyRequests over the cap. `give` for each `take` that returned."""
        with self._lock:
            if self._copied + size > self._most:
                raise TooManyRequests(
                    "inputs in shared memory under way are over max_body_bytes_in_flight; try again later"
                )
            self._copied += size

    def give(self, size: int) -> None:
        with self._lock:
            self._copied -= size

    def release(self, region: Region) -> None:
        with self._lock:
            region.users -= 1
            if region.users == 0:
                os.close(region.descriptor)


class RegionLease:
    """The regions that one request has named. `give_back` when it has ended, whatever came of it.

    Subtleness ahead: a request that is cancelled ends while a thread may still read or write for it. The lock lets that
    one call end first, and the next find that all is over; else its descriptor might be another file's by now.
    """

    def __init__(self, memory: SharedMemory) -> None:
        self._memory = memory
        self._regions: dict[str, Region] = {}
        self._copied = 0
        self._ended = False
        self._lock = threading.Lock()

    def read(self, place: RegionSlice, what: str) -> bytes:
        with self._lock:
            region = self._region(place, what)
            begin = region.place(place, what)
            self._memory.take(place.size)
            self._copied += place.size
            data = os.pread(region.descriptor, place.size, begin)
        if len(data) != place.size:
            raise InvalidInput(f"{what}: the shared memory is smaller than it was when it was registered")
        return data

    def claim(self, place: RegionSlice, what: str) -> None:
        with self._lock:
            self._region(place, what).place(place, what)

    def write(self, place: RegionSlice, data: bytes | memoryview, what: str) -> None:
        if len(data) > place.size:
            raise InvalidInput(f"{what} has {len(data)} bytes, and its place in shared memory {place.size}")
        with self._lock:
            region = self._region(place, what)
            begin = region.place(place, what)
            try:
                written = os.pwrite(region.descriptor, data, begin)
            except OSError:
                written = -1
        if written != len(data):
            raise InvalidInput(f"{what}: the shared memory cannot be written")

    def give_back(self) -> None:
        with self._lock:
            self._ended = True
            for region in self._regions.values():
                self._memory.release(region)
            self._regions.clear()
            self._memory.give(self._copied)
            self._copied = 0

    def _region(self, place: RegionSlice, what: str) -> Region:
        if self._ended:
            raise Cancelled("the request ended before its tensors in shared memory were read and written")
        region = self._regions.get(place.region)
        if region is None:
            region = self._regions[place.region] = self._memory.hold(place.region, what)
        return region


def _opened(path: Path) -> int:
    """A descriptor of an object that belongs to this user. InvalidInput."""
    missing = InvalidInput("Unable to open shared memory: there is no such object of this user")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        raise missing from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
        os.close(descriptor)
        raise missing
    return descriptor

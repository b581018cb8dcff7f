"""Unpacks a zip with a model in it: an ONNX file and its data, or a folder. The zip is a stranger's.

What it says of itself is not believed: what comes out is counted as it comes.
"""

from __future__ import annotations

import errno
import stat
import zipfile
import zlib
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

from workbench.core.foreign_formats import foreign_model
from workbench.core.runtime import suffixes
from workbench.core.zip_directory import open_zip
from workbench.errors import ModelError, TooLarge, UntrustedModel
from workbench.repository.incoming import IncomingFolder

MAX_MEMBERS = 10_000
MAX_FOLDERS = 1_000
MAX_DEPTH = 16
"""Folders inside each other. Neither they nor empty files take any of the bytes that are counted."""
MAX_RATIO = 200
"""Bytes out for each byte in, of a zip that becomes large."""
LARGE_BYTES = 64 * 1024 * 1024
_CHUNK = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpack(path: Path, incoming: IncomingFolder, into: Path, max_bytes: int | None = None) -> Path:
    """All of the zip at `path`, in `into`, a folder in `incoming`; the one folder in it that holds everything, if it
    has such. Raises ModelError, UntrustedModel for what would lie elsewhere, TooLarge, and OSError."""
    packed = path.stat().st_size
    out = 0
    try:
        with path.open("rb") as file, open_zip(file, MAX_MEMBERS) as archive:
            places = [(member, _place(member, into)) for member in archive.infolist()]
            _check_folders(places, into)
            for member, place in places:
                if member.is_dir():
                    place.mkdir(parents=True, exist_ok=True)
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, place.open("xb", buffering=0) as target:
                    while chunk := source.read(_CHUNK):
                        out += len(chunk)
                        _check_size(out, packed, max_bytes)
                        incoming.append(target, chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ModelError(f"the zip cannot be unpacked ({str(error)[:200]}); it is damaged, or was not whole") from None
    except (FileExistsError, NotADirectoryError) as error:
        raise UntrustedModel(f"the zip has {Path(error.filename).name!r} twice, or as a file and a folder") from None
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EINVAL):
            raise
        raise ModelError("the zip has a member whose name is too long for this system") from None
    return _only_folder(into)


def _place(member: zipfile.ZipInfo, into: Path) -> Path:
    name = member.filename
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    shown = repr(name[:80])
    if not posix.parts or posix.is_absolute() or windows.anchor or ".." in (*posix.parts, *windows.parts):
        raise UntrustedModel(f"the zip's member {shown} would lie outside the folder that it is unpacked to")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UntrustedModel(f"the zip's member {shown} is a link or a device; pack the file itself")
    if member.flag_bits & 0x1:
        raise ModelError(f"the zip's member {shown} is encrypted; pack it without a password")
    if member.compress_type not in _METHODS:
        raise ModelError(f"the zip's member {shown} is packed in a way that is not read here; use deflate, or store it")
    return into.joinpath(*posix.parts)


def _check_folders(places: list[tuple[zipfile.ZipInfo, Path]], into: Path) -> None:
    folders: set[PurePath] = set()
    for member, place in places:
        inner = place.relative_to(into)
        if len(inner.parts) > MAX_DEPTH:
            raise UntrustedModel(f"the zip has more than {MAX_DEPTH} folders inside each other")
        folders.update([inner] if member.is_dir() else [], inner.parents)
        if len(folders) > MAX_FOLDERS:
            raise UntrustedModel(f"the zip has more than {MAX_FOLDERS} folders; no model needs so many")


def _check_size(out: int, packed: int, max_bytes: int | None) -> None:
    if max_bytes is not None and out > max_bytes:
        raise TooLarge(f"the zip holds more than {max_bytes} bytes, which is the most that one upload may have")
    if out > max(LARGE_BYTES, MAX_RATIO * packed):
        raise UntrustedModel(
            f"the zip of {packed} bytes becomes more than {out} bytes; no model packs so well. Load it unpacked"
        )


def _only_folder(folder: Path) -> Path:
    """Where a folder was packed, that folder."""
    inside = [each for each in folder.iterdir() if each.name != "__MACOSX"]
    whole = len(inside) == 1 and inside[0].is_dir() and not inside[0].name.isdigit()  # not VERSION/model.onnx
    return _only_folder(inside[0]) if whole else folder


def only_model_in(folder: Path) -> Path | None:
    """The one file of a folder that can be served, whatever it is called; None: there is none. ModelError where there
    are several, or only files of another kind."""
    files = sorted(each for each in folder.iterdir() if each.is_file() and not each.name.startswith("."))
    found = [each for each in files if each.suffix.lower() in suffixes()]
    if len(found) == 1:
        return found[0]
    if found:
        raise ModelError(f"the folder holds several models, {_listed(found)}; load one of them by its path")
    for each in files:
        if said := foreign_model(each.name):
            raise ModelError(f"the folder holds no ONNX file; its {each.name[:80]!r} {said}")
    return None


def _listed(paths: list[Path]) -> str:
    names = ", ".join(each.name[:80] for each in paths[:6])
    return names + (f" and {len(paths) - 6} more" if len(paths) > 6 else "")

"""Whatever a user calls a model becomes a served version.

A path is loaded by the service itself where it runs on this machine, so that files beside the model come along; what
is in memory is uploaded. A live object is converted here, staged there, compared with the original, and only then
routed to: until that moment, and if anything goes wrong, the version that serves stays as it is.
"""

from __future__ import annotations

import asyncio
import difflib
import math
import os
import shutil
import textwrap
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from workbench.client.client import AsyncClient
from workbench.client.load_progress import LoadProgress
from workbench.client.predict import Predictor
from workbench.client.request_body import CHUNK
from workbench.client.results import LoadReport
from workbench.convert.agreement import compare
from workbench.convert.converters import Check, Converted, converter_for
from workbench.core.model import check_model_name
from workbench.errors import ExecutionError, InvalidInput, ModelError, NotFound, WorkbenchError


class DoesNotAgree(ModelError):
    """An export does not answer as its original does."""


_LOADING = "the service loads it and warms it up"

_SAMPLE = "give rows like its training data, as sample=X[:100] (--sample X[:100])"
_BY_HAND = "export it yourself and load the file"
"""What may help where an export is refused."""


async def load(
    client: AsyncClient,
    name: str,
    source: object,
    settings: Mapping[str, object],
    *,
    sample: object | None = None,
    tolerance: float | None = None,
    force: bool = False,
    progress: LoadProgress | None = None,
) -> LoadReport:
    """Serve `source` (a path, bytes, an onnx.ModelProto or a live object) as `name`.

    `sample` and `tolerance` concern live objects only. Raises ModelError for an export that does not answer as the
    original does, Unsupported for an object that has no converter.
    """
    began = time.perf_counter()
    progress = progress or LoadProgress()
    check_model_name(name)  # before a conversion that may take seconds
    if tolerance is not None and not (isinstance(tolerance, int | float) and tolerance >= 0):  # NaN is refused too
        raise InvalidInput(f"tolerance is {tolerance!r}; it takes 0 or more, a share of the output's largest value")
    if isinstance(source, str | os.PathLike):
        path = _existing(os.fspath(source))
        if not _is_loopback(client.url):
            return await _upload(client, name, path, settings, began, progress, force=force)
        progress.begin(_LOADING)
        done = await client.load(name, path, settings, force=force)
        return LoadReport(done.status, done.unchanged, done.previous, time.perf_counter() - began)
    if isinstance(source, bytes | bytearray | memoryview):
        return await _upload(client, name, bytes(source), settings, began, progress, force=force)
    if callable(serialize := getattr(source, "SerializeToString", None)):  # an onnx.ModelProto
        return await _upload(client, name, _serialized(source, serialize), settings, began, progress, force=force)

    progress.begin(f"exporting the {type(source).__name__} to ONNX")
    converted = await asyncio.to_thread(_converted, source, sample)
    while True:
        try:
            return await _checked(client, name, converted, settings, began, progress, tolerance, force=force)
        except DoesNotAgree:
            if converted.retry is None:
                raise
            progress.begin(f"exporting the {type(source).__name__} in another way, since that did not agree")
            converted = await asyncio.to_thread(_again, converted)


async def _checked(
    client: AsyncClient,
    name: str,
    converted: Converted,
    settings: Mapping[str, object],
    began: float,
    progress: LoadProgress,
    tolerance: float | None,
    *,
    force: bool,
) -> LoadReport:
    """Serve an export that answers as the original does; DoesNotAgree otherwise."""

    async def check(version: str) -> str:
        progress.begin("comparing its answers with the original's")
        return await _compared(
            client, name, version, converted, converted.tolerance if tolerance is None else tolerance
        )

    exported = " · ".join([converted.exported, *converted.notes])
    try:
        return await _upload(client, name, converted.model, settings, began, progress, exported, check, force=force)
    finally:
        if isinstance(converted.model, Path):
            shutil.rmtree(converted.model.parent, ignore_errors=True)


async def _upload(
    client: AsyncClient,
    name: str,
    model: bytes | Path,
    settings: Mapping[str, object],
    began: float,
    progress: LoadProgress,
    exported: str = "",
    check: Callable[[str], Awaitable[str]] | None = None,
    *,
    force: bool,
) -> LoadReport:
    """Stage, check and commit; a version that fails its check, or whose load is cancelled, is discarded."""
    size = _size(model)

    def sent(count: int) -> None:
        progress.advance(count)
        if progress.step.done >= size:
            progress.begin(_LOADING)

    progress.begin("uploading", size, "byte")
    sent(0 if size >= CHUNK else size)  # a small one goes out in one piece
    try:
        staged = await client.stage(name, model, settings, sent=sent)
    except ModelError as error:
        raise type(error)(
            f"{exported}, which the service refuses: {error.message}" if exported else error.message
        ) from None
    if staged.unchanged:
        return LoadReport(staged.status, True, None, time.perf_counter() - began, exported)
    version = staged.status.version
    try:
        compared = "" if check is None else await check(version)
        progress.begin("swapping it in")
        done = await client.commit(name, version, force=force)
    except BaseException:
        await asyncio.shield(_discard(client, name, version))
        raise
    return LoadReport(done.status, False, done.previous, time.perf_counter() - began, exported, compared)


def _serialized(source: object, serialize: Callable[..., bytes]) -> bytes:
    try:
        return serialize(deterministic=True)
    except Exception as error:  # of protobuf, for a message over 2 GB
        raise ModelError(
            f"the {type(source).__name__} cannot be written as one message ({_words(error)}); save it to a file, with "
            "save_as_external_data=True where it is over 2 GB, and load that by its path"
        ) from error


def _converted(source: object, sample: object | None) -> Converted:
    """What the converter gives. Its libraries raise exceptions of any class; none of them is of use to the caller."""
    try:
        return converter_for(source)(source, sample)
    except WorkbenchError:
        raise
    except Exception as error:
        raise ModelError(
            f"the export of {type(source).__name__} failed in a library, with {_words(error)}; nothing was loaded. Try "
            "it with rows of your own, as sample=X[:100] (--sample X[:100]), or export it yourself and load the file"
        ) from error


def _again(converted: Converted) -> Converted:
    assert converted.retry is not None
    return converted.retry()


def _words(error: Exception) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")


async def _compared(client: AsyncClient, name: str, version: str, converted: Converted, tolerance: float) -> str:
    """One sentence on how the two agree; DoesNotAgree where they do not."""
    said = [await _compared_on(client, name, version, converted, check, tolerance) for check in converted.checks]
    return "; ".join(said)


async def _compared_on(
    client: AsyncClient, name: str, version: str, converted: Converted, check: Check, tolerance: float
) -> str:
    rows = f"{check.row_count} made-up rows" if converted.made_up else f"{check.row_count} rows of yours"
    rows += f" {converted.like}" if converted.like else ""
    rows += f" {check.what}" if check.what else ""
    discarded = f"so version {version} was discarded"
    try:
        answer = await Predictor(client).predict(name, check.rows, version=version)
    except (InvalidInput, ExecutionError) as error:
        raise DoesNotAgree(
            f"the export of {converted.source} does not take the rows that the original does ({error.message}), on "
            f"{rows}, {discarded}; {_SAMPLE if converted.made_up else _BY_HAND}"
        ) from error
    try:
        comparison = compare(check.expected, answer, converted.labels, tolerance)
    except Exception as error:  # numpy's, for answers of a form that nobody has seen yet
        raise DoesNotAgree(
            f"the answers of {converted.source} and of its export could not be compared on {rows} ({_words(error)}), "
            f"{discarded}; {_BY_HAND}"
        ) from error
    if not comparison.agrees:
        hint = _SAMPLE
        if not math.isfinite(comparison.needed):
            hint = _BY_HAND
        elif not converted.made_up:
            hint = f"where that is near enough, load it with tolerance={math.ceil(comparison.needed * 1000) / 1000:g}"
        raise DoesNotAgree(
            f"the export of {converted.source} does not answer as the original on {rows} ({comparison.summary}; "
            f"the tolerance is {tolerance:g}), {discarded}; {hint}"
        )
    return f"compared with the original on {rows}: {comparison.summary}"


async def _discard(client: AsyncClient, name: str, version: str) -> None:
    try:
        await client.discard(name, version)
    except WorkbenchError:
        pass  # the service went, and the staged version with it: the first error is the one to tell


def _size(model: bytes | Path) -> int:
    return model.stat().st_size if isinstance(model, Path) else len(model)


def _existing(path: str) -> Path:
    """`path`, absolute; NotFound with the nearest name beside it where there is none."""
    try:
        found = Path(path).expanduser().absolute()
        if found.exists():
            return found
        beside = [entry.name for entry in found.parent.iterdir()] if found.parent.is_dir() else []
    except (OSError, ValueError, RuntimeError) as error:  # too long, not readable, no such user
        raise InvalidInput(f"{path[:200]!r} cannot be used as a path: {error}") from None
    near = difflib.get_close_matches(found.name, beside, n=1)
    hint = f"; did you mean {str(Path(path).parent / near[0])!r}?" if near else ""
    if "://" in path:
        hint = "; nothing is fetched from a URL, so download the file first"
    raise NotFound(f"there is no file or folder {path!r}{hint}")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")

"""Whatever a user calls a model becomes a served version.

A path is loaded by the service itself where it runs on this machine, so that files beside the model come along; what
is in memory is uploaded. A live object is converted here, staged there, compared with the original, and only then
routed to: until that moment, and if anything goes wrong, the version that serves stays as it is.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from workbench.client.client import AsyncClient
from workbench.client.load_progress import LoadProgress
from workbench.client.request_body import CHUNK
from workbench.client.results import LoadReport
from workbench.convert.conversion import conversion
from workbench.convert.converters import Converted, converter_for, words
from workbench.convert.export_check import Comparison, DoesNotAgree, compare_with_original
from workbench.convert.export_folder import discard
from workbench.convert.exporter_age import too_old
from workbench.convert.python.python_function import PythonFunction, is_function
from workbench.convert.python.python_way import python_way
from workbench.convert.python.sample_arrays import unsendable
from workbench.convert.serving_version import ServingVersion, serving_version
from workbench.core.foreign_formats import HEAD_BYTES, foreign
from workbench.core.model import check_model_name
from workbench.core.provenance import Provenance
from workbench.errors import (
    InvalidInput,
    ModelError,
    NotFound,
    Unsupported,
    WorkbenchError,
)

_LOADING = "the service loads it and warms it up"

STAGED_S = 1800.0
"""Seconds after which the service discards what was staged here and never committed, since this process was killed. A
comparison takes some seconds."""

_BUNDLING = "finding the function's source and values"


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
    as_python: bool = False,
    batch: bool = False,
    allow_code: bool = False,
    signature: str = "",
    route: bool = True,
) -> LoadReport:
    """Serve `source` (a path, bytes, an onnx.ModelProto, a live object or a function) as `name`.

    `as_python`: an object by its source and its values, without an export; `batch`: the function takes rows, and those
    of several requests at once. `sample` and `tolerance` concern live objects only. `allow_code`: a path or
    bytes may be a Python function that was exported, whose code then runs; a live function says so by itself.
    `signature` chooses one of a SavedModel's. Without `route` it is loaded beside what serves, for requests that name
    its version.

    Raises ModelError for an export that does not answer as the original does, Unsupported for an object that has no
    converter.
    """
    began = time.perf_counter()
    progress = progress or LoadProgress()
    check_model_name(name)  # before a conversion that may take seconds
    if tolerance is not None and not (isinstance(tolerance, int | float) and tolerance >= 0):  # NaN is refused too
        raise InvalidInput(f"tolerance is {tolerance!r}; it takes 0 or more, a share of the output's largest value")
    if isinstance(source, str | os.PathLike):
        source = await asyncio.to_thread(_of_a_folder, os.fspath(source), progress, signature)
    if signature and "tensorflow" not in {cls.__module__.partition(".")[0] for cls in type(source).__mro__}:
        raise InvalidInput("signature= (--signature) chooses one of a SavedModel's of TensorFlow; leave it out here")
    if isinstance(source, str):
        path = _existing(os.fspath(source))
        _check_kind(path)
        if not _is_loopback(client.url):
            return await _upload(
                client, name, path, settings, began, progress, force=force, allow_code=allow_code, route=route
            )
        progress.begin(_LOADING)
        done = await client.load(name, path, settings, force=force, allow_code=allow_code, route=route)
        return LoadReport(done.status, done.unchanged, done.previous, time.perf_counter() - began)
    if isinstance(source, bytes | bytearray | memoryview):
        if other := foreign(bytes(source[:HEAD_BYTES])):
            raise ModelError(f"what these bytes hold {other}")
        data = bytes(source)
        return await _upload(
            client, name, data, settings, began, progress, force=force, allow_code=allow_code, route=route
        )
    if callable(serialize := getattr(source, "SerializeToString", None)):  # an onnx.ModelProto
        model = _serialized(source, serialize)
        return await _upload(client, name, model, settings, began, progress, force=force, route=route)

    if as_python or batch:
        source = PythonFunction(source, batch)
    allow_code = is_function(source)
    serving = None if force or not route else await serving_version(client, name)
    progress.begin(_BUNDLING if allow_code else f"exporting the {type(source).__name__} to ONNX")
    with conversion(progress, signature, serving):
        converted = await _in_a_thread(_converted, source, sample)
    tried = ""
    if serving is not None and converted.retry is not None and serving.differs_in_types_only(converted.model):
        with conversion(progress, signature, serving):  # it is served in double precision, since float32 did not agree
            converted = await _in_a_thread(_again, converted)
    refused: DoesNotAgree | None = None
    while True:
        try:
            return await _checked(
                client,
                name,
                converted,
                settings,
                began,
                progress,
                tolerance,
                tried,
                serving,
                force=force,
                allow_code=allow_code,
                route=route,
            )
        except DoesNotAgree as error:
            if converted.retry is None:
                raise error if refused is None else _also(refused, converted, error.flaw) from None
            refused = refused or error
            progress.begin(f"exporting the {type(source).__name__} in another way, since that did not agree")
            before = converted
            try:
                with conversion(progress, signature, serving):
                    converted = await _in_a_thread(_again, before)
            except WorkbenchError as none:  # there is no other way after all
                if not force or isinstance(before.model, Path):
                    raise DoesNotAgree(
                        f"{refused.message}. Another way to export it was tried, and there is none: {none.message}",
                        refused.flaw,
                    ) from None
                converted = replace(before, retry=None)
                continue
            first = "float32" if "double" in converted.way else before.way or "the first export"
            tried = f"{converted.way or 'exported in another way'}, since {first} {error.flaw}"
        except ModelError as error:  # of the service, about the other way
            if refused is None:
                raise
            raise _also(refused, converted, f"was refused ({error.message})") from None


def _also(refused: DoesNotAgree, second: Converted, flaw: str) -> DoesNotAgree:
    """The first export's refusal, with what came of the second one."""
    way = second.way or "in another way"
    return DoesNotAgree(f"{refused.message}. Exported {way} it {flaw} too", refused.flaw)


def _of_a_folder(source: str, progress: LoadProgress, signature: str) -> object:
    """What a SavedModel or a folder in the Hugging Face hub's layout holds, or `hf:NAME`; any other path as it is."""
    from workbench.convert.frameworks.saved_model import opened_saved_model, saved_model_folder
    from workbench.convert.hub.hub_folder import HUB, hub_folder, opened_folder

    if source.startswith(HUB):
        progress.begin(f"fetching {source}")
    if (folder := saved_model_folder(source)) is not None:
        progress.begin("reading the SavedModel")
        return opened_saved_model(folder, signature)
    if (folder := hub_folder(source)) is None:
        return source
    progress.begin("reading the model's folder")
    return opened_folder(folder)


async def _checked(
    client: AsyncClient,
    name: str,
    converted: Converted,
    settings: Mapping[str, object],
    began: float,
    progress: LoadProgress,
    tolerance: float | None,
    tried: str,
    serving: ServingVersion | None,
    *,
    force: bool,
    allow_code: bool,
    route: bool,
) -> LoadReport:
    """Serve an export that answers as the original does; DoesNotAgree otherwise. With `force`, serve the last way to
    export it whatever it answers. `tried`: what came of an earlier way. SignatureChanged where callers of `serving`
    would break."""

    async def check(version: str, serving: bool) -> Comparison:
        progress.begin("comparing its answers with the original's")
        limit = converted.tolerance if tolerance is None else tolerance
        found = await compare_with_original(client, name, version, converted, limit, serving=serving)
        if found.refusal and not (force and converted.retry is None):
            raise DoesNotAgree(found.refusal, found.flaw)
        return found

    notes = tuple(filter(None, [tried, *converted.notes]))
    exported = " · ".join([converted.exported, *notes])
    if converted.max_batch_size:
        settings = {"max_batch_size": converted.max_batch_size, **settings}
    try:
        if serving is not None:
            await asyncio.to_thread(serving.refuse_file, converted.model)
        return await _upload(
            client,
            name,
            converted.model,
            settings,
            began,
            progress,
            exported,
            check,
            Provenance(converted.source, converted.versions, time.time(), notes),
            serving,
            force=force,
            allow_code=allow_code,
            route=route,
        )
    finally:
        _delete_files(converted)


async def _in_a_thread(convert: Callable[..., Converted], *args: object) -> Converted:
    """Convert beside the loop. A thread cannot be cancelled: what it still gives, when nobody waits, is deleted."""
    task = asyncio.ensure_future(asyncio.to_thread(convert, *args))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_drop)
        raise


def _drop(task: asyncio.Task[Converted]) -> None:
    if not task.cancelled() and task.exception() is None:
        _delete_files(task.result())


def _delete_files(converted: Converted) -> None:
    if isinstance(converted.model, Path):
        discard(converted.model.parent)


async def _upload(
    client: AsyncClient,
    name: str,
    model: bytes | Path,
    settings: Mapping[str, object],
    began: float,
    progress: LoadProgress,
    exported: str = "",
    check: Callable[[str, bool], Awaitable[Comparison]] | None = None,
    provenance: Provenance | None = None,
    serving: ServingVersion | None = None,
    *,
    force: bool,
    allow_code: bool = False,
    route: bool = True,
) -> LoadReport:
    """Stage, check and commit; a version that fails its check, or whose load is cancelled, is discarded. What serves
    already is checked too, and goes on whatever comes of it."""
    size = _size(model)
    beside = exported and isinstance(model, Path) and model.with_name(f"{model.name}.data").exists()
    if beside and not _is_loopback(client.url):
        raise Unsupported(
            f"{exported}, whose weights are in a file beside it, since they are over the 2 GB of one file; such a "
            "model is loaded by a service on this machine only. Save it there, and load it there by its path"
        )

    def sent(count: int) -> None:
        progress.advance(count)
        if progress.step.done >= size:
            progress.begin(_LOADING)

    progress.begin("uploading", size, "byte")
    sent(0 if size >= CHUNK else size)  # a small one goes out in one piece
    try:
        if beside and isinstance(model, Path):
            progress.begin(_LOADING)
            staged = await client.stage_path(name, model, settings, keep_s=STAGED_S, route=route)
        else:
            options = {"allow_code": allow_code, "route": route}
            staged = await client.stage(name, model, settings, sent=sent, keep_s=STAGED_S, **options)
    except ModelError as error:
        raise type(error)(
            f"{exported}, which the service refuses: {error.message}" if exported else error.message
        ) from None
    version = staged.status.version
    if staged.unchanged:
        compared = Comparison() if check is None else await check(version, True)
        seconds = time.perf_counter() - began
        return LoadReport(staged.status, True, None, seconds, exported, compared.clause, compared.details)
    try:
        if serving is not None and staged.status.signature is not None:
            serving.refuse(staged.status.signature)  # as `commit` does, but before a comparison that may take long
        compared = Comparison() if check is None else await check(version, False)
        progress.begin("swapping it in" if route else "keeping it beside the version that serves")
        if provenance is not None:
            provenance = replace(provenance, check=compared.check)
        done = await client.commit(name, version, force=force, provenance=provenance, route=route)
    except BaseException:
        await asyncio.shield(_discard(client, name, version))
        raise
    seconds = time.perf_counter() - began
    return LoadReport(done.status, False, done.previous, seconds, exported, compared.clause, compared.details)


def _serialized(source: object, serialize: Callable[..., bytes]) -> bytes:
    try:
        return serialize(deterministic=True)
    except Exception as error:  # of protobuf, for a message over 2 GB
        raise ModelError(
            f"the {type(source).__name__} cannot be written as one message ({words(error)}); save it to a file, with "
            "save_as_external_data=True where it is over 2 GB, and load that by its path"
        ) from error


def _converted(source: object, sample: object | None) -> Converted:
    """What the converter gives. Its libraries raise exceptions of any class; none of them is of use to the caller."""
    try:
        return converter_for(source)(source, sample)
    except Unsupported as error:
        way, cell = ("", "") if is_function(source) or "as_python" in error.message else python_way(source)
        if not way:
            raise
        if why := unsendable(sample):
            raise Unsupported(f"{error.message}. It cannot be served as Python either while {why}") from error
        advised = Unsupported(f"{error.message}. Or {way}")
        if cell:
            advised.add_note(f"\n{cell}")
        raise advised from error
    except WorkbenchError:
        raise
    except Exception as error:
        if told := too_old(error):
            raise Unsupported(f"{type(source).__name__} was not exported: {told}") from error
        raise ModelError(
            f"the export of {type(source).__name__} failed in a library, with {words(error)}; nothing was loaded. Try "
            "it with rows of your own, as sample=X[:100] (--sample X[:100]), or export it yourself and load the file"
        ) from error


def _again(converted: Converted) -> Converted:
    assert converted.retry is not None
    return converted.retry()


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


def _check_kind(path: Path) -> None:
    """ModelError for a file of another kind, before it is sent anywhere. Its content is looked at, and never opened."""
    if path.is_file():
        try:
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
        except OSError:  # the service may read it, or says why not
            return
        if other := foreign(head, path.name):
            raise ModelError(f"{path.name!r} {other}")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")

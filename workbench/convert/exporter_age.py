"""Finds out that an exporter failed since its library is newer than it knows, and says which package to renew."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

_EXPORTERS: Mapping[str, str] = MappingProxyType(
    {
        "jax2onnx": "jax",
        "onnxmltools": "skl2onnx",
        "onnxscript": "torch",
        "paddle2onnx": "paddlepaddle",
        "skl2onnx": "scikit-learn",
        "tf2onnx": "tensorflow",
    }
)
"""Package that exports -> the distribution whose objects it reads."""


def too_old(error: BaseException) -> str:
    """What to say where an exporter asked its library for what is no longer there; empty for any other failure.

    "skl2onnx 1.20.0 failed with AttributeError: ..., as one that is older than scikit-learn 1.9.1 does: pip install
    --upgrade skl2onnx".
    """
    for each in _causes(error):
        if not (exporter := _at_fault(each)):
            continue
        library = _EXPORTERS[exporter]
        said = " ".join(f"{type(each).__name__}: {each}".split())[:200]
        return (
            f"{exporter} {_version(exporter)} failed with {said}, as one that is too old for {library} "
            f"{_version(library)} does; try pip install --upgrade {exporter}, and restart the kernel"
        )
    return ""


def _at_fault(error: BaseException) -> str:
    """The exporter inside which a name, or an argument, of another version was missing."""
    if isinstance(error, ModuleNotFoundError) and error.name in _EXPORTERS:
        return ""  # it is not installed at all
    if isinstance(error, ImportError) and (named := (error.name or "").partition(".")[0]) in _EXPORTERS:
        return named
    asked_wrongly = isinstance(error, TypeError) and "argument" in str(error)
    if not (asked_wrongly or isinstance(error, AttributeError | ImportError)):
        return ""
    modules = [
        str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    inside = isinstance(error, ImportError) or (modules and modules[-1] in _EXPORTERS)
    return next((name for name in reversed(modules) if name in _EXPORTERS), "") if inside else ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "of an unknown version"

"""Finds, checks and opens a SavedModel of TensorFlow: a folder with saved_model.pb, whose signatures can be called.

A SavedModel is a program. What is wrong with it, or with the choice of a signature, is told from saved_model.pb, before
TensorFlow opens the folder; operators that read or write files or call Python are refused there too.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from workbench.core.runtime import runtimes
from workbench.errors import InvalidInput, ModelError, Unsupported

FILE: Final = "saved_model.pb"
DEFAULT: Final = "serving_default"
"""The signature that TensorFlow Serving answers where none is asked for."""

_OUTSIDE: Final = (
    "ReadFile",
    "WriteFile",
    "MatchingFiles",
    "FileSystemSetConfiguration",
    "WholeFileReader",
    "TextLine",
    "TFRecord",
    "FixedLengthRecord",
    "SaveDataset",
    "LoadDataset",
    "SnapshotDataset",
    "DistributedSave",
    "CacheDataset",
    "PyFunc",
    "EagerPyFunc",
)
"""What operators are called, at their beginning, that touch files or call Python while the model answers."""


def saved_model_folder(source: str) -> Path | None:
    """The folder with saved_model.pb that `source` names: itself, or its highest version, as in TensorFlow Serving."""
    try:
        folder = Path(source).expanduser().absolute()
        if not folder.is_dir() or any((folder / each.model_file).exists() for each in runtimes()):
            return None
        if (folder / FILE).is_file():
            return folder
        versions = [each for each in folder.iterdir() if each.name.isdecimal() and (each / FILE).is_file()]
        return max(versions, key=lambda each: int(each.name), default=None)
    except (OSError, ValueError, RuntimeError):  # whoever uses it as a path says so
        return None


def opened_saved_model(folder: Path, wanted: str = "") -> object:
    """What `tf.saved_model.load` gives for `folder`, once its file and the signature `wanted` are found to be right."""
    if lacking := [name for name in ("tensorflow", "tf2onnx") if importlib.util.find_spec(name) is None]:
        raise Unsupported(
            f"a SavedModel is exported by tensorflow and tf2onnx, in this environment: pip install {' '.join(lacking)}"
        )
    import tensorflow as tf

    saved = _read(folder / FILE)
    signature_of([name for graph in saved.meta_graphs for name in graph.signature_def], wanted, f"{folder.name!r}")
    if outside := sorted({operator for operator in _operators(saved) if operator.startswith(_OUTSIDE)}):
        raise Unsupported(
            f"{folder.name!r} reads or writes files, or calls Python, by {', '.join(outside[:3])}; ONNX has no form "
            "for that, so save the model without it"
        )
    try:
        return tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises what its parts raise: of files, of checkpoints, of protobuf
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise ModelError(
            f"{folder.name!r} cannot be opened ({type(error).__name__}: {first[:200]}); copy the whole folder, "
            "saved_model.pb and variables/, or save the model again"
        ) from None


def signature_of(names: Sequence[str], wanted: str, what: str) -> str:
    """The signature to export: the one wanted, or serving_default, or the only one. InvalidInput lists them."""
    known = sorted(name for name in names if not name.startswith("__"))
    listed = ", ".join(known)
    if not known:
        raise InvalidInput(
            f"{what} has no signature to serve; in a cell, load one of its functions: loaded = "
            "tf.saved_model.load(FOLDER), %infer load NAME loaded.FUNCTION; or save it with signatures="
        )
    if wanted and wanted not in known:
        raise InvalidInput(f"{what} has no signature {wanted[:80]!r}; it has {listed}")
    if not wanted and DEFAULT not in known and len(known) > 1:
        raise InvalidInput(
            f"{what} has {len(known)} signatures, {listed}, and none is called {DEFAULT}; choose one, as "
            f"signature={known[0]!r} (--signature {known[0]})"
        )
    return wanted or (DEFAULT if DEFAULT in known else known[0])


def _read(path: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(path.read_bytes())
    except Exception as error:  # DecodeError of whichever protobuf is there, or of the file
        raise ModelError(
            f"{FILE} of {path.parent.name!r} cannot be read ({type(error).__name__}); copy the whole folder again"
        ) from None
    if not saved.meta_graphs:
        raise ModelError(f"{FILE} of {path.parent.name!r} holds no graph; copy the whole folder again")
    return saved


def _operators(saved: Any) -> Iterator[str]:
    for graph in saved.meta_graphs:
        yield from (node.op for node in graph.graph_def.node)
        for function in graph.graph_def.library.function:
            yield from (node.op for node in function.node_def)

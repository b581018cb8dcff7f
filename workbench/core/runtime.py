"""Describes the runtimes that serve models: names, files, and where their code lies. Light: it loads none of them.

A new runtime is one module with an opener and an inspector, and one `register`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from workbench.core.onnx_operators import ABORTING_OPERATORS, STEADY_OPERATORS
from workbench.core.pipeline_document import MARK


@dataclass(frozen=True, slots=True)
class Runtime:
    """One kind of model and what serves it. `opener` and `inspector` are "module:function", imported at first use."""

    name: str
    """As Triton's `backend` names it."""
    title: str
    """As people write it: "ONNX Runtime"."""
    format: str
    """The name of its models' format: "ONNX"."""
    platform: str
    """As the protocol's metadata and Triton's `platform` name it."""
    model_file: str
    """The name of the model's file in a version's folder and in the store."""
    suffixes: tuple[str, ...]
    """Endings of its files, in small letters, that of `model_file` among them."""
    mark: bytes = field(default=b"", kw_only=True)
    """What its files have at `mark_at`, by which one is known whatever it is called; empty: nothing of the kind."""
    mark_at: int = field(default=0, kw_only=True)
    opener: str
    """Makes a session: runtimes.registry.Opener. Empty: the engine runs it itself, by the models that it names."""
    inspector: str
    """Validates a file before `opener` sees it: repository.validate.Inspector."""
    platform_prefix: str = ""
    """A `platform` in a config.pbtxt that begins so means this runtime too; empty: only `platform` does."""
    steady_operators: frozenset[str] = frozenset()
    """Operators whose time depends on shapes alone. A model of only these may run on the event loop's thread."""
    aborting_operators: frozenset[str] = frozenset()
    """Operators that end the process on an input without elements. A model with one of these never gets such."""
    more_runners: bool = True
    """False where one runner more costs a process, so that only the settings give it several."""
    sandboxed: bool = True
    """True where a model may crash its process, so that its first load is tried in one of its own."""
    runs_code: bool = False
    """True where a model is its author's code, so that a load has to say that it may run."""

    def is_meant_by(self, platform: str, backend: str) -> bool:
        """True where a config.pbtxt with these fields, each of which may be empty, is for this runtime."""
        prefixed = bool(self.platform_prefix) and platform.startswith(self.platform_prefix)
        return backend in ("", self.name) and (platform in ("", self.platform) or prefixed)


ONNX: Final = Runtime(
    name="onnxruntime",
    title="ONNX Runtime",
    format="ONNX",
    platform="onnxruntime_onnx",
    platform_prefix="onnx",
    model_file="model.onnx",
    suffixes=(".onnx",),
    opener="workbench.runtimes.onnx:open_onnx",
    inspector="workbench.repository.onnx_file:inspect_onnx",
    steady_operators=STEADY_OPERATORS,
    aborting_operators=ABORTING_OPERATORS,
)
"""Also what a file with an unknown ending is taken for."""

ORT_FORMAT: Final = replace(
    ONNX,
    name="onnxruntime_ort",
    format="ORT",
    platform="onnxruntime_ort",
    platform_prefix="",
    model_file="model.ort",
    suffixes=(".ort",),
    mark=b"ORTM",
    mark_at=4,
    inspector="workbench.repository.ort_file:inspect_ort",
)
"""Models that ONNX Runtime has saved in its own format. Nothing is known of their operators."""

PIPELINE: Final = Runtime(
    name="ensemble",
    title="pipelines",
    format="pipeline",
    platform="ensemble",
    model_file="model.pipeline",
    suffixes=(".pipeline",),
    mark=MARK,
    opener="",
    inspector="workbench.repository.pipeline_file:inspect_pipeline",
    sandboxed=False,
)
"""Pipelines of models (core.pipeline). Their files hold nothing that could harm."""

BUNDLE: Final = Runtime(
    name="bundle",
    title="ONNX Runtime",
    format="bundle",
    platform="workbench_bundle",
    model_file="model.bundle",
    suffixes=(".bundle",),
    mark=b"workbench-bundle",
    mark_at=30,
    opener="workbench.runtimes.bundle_session:open_bundle",
    inspector="workbench.repository.bundle_file:inspect_bundle",
    aborting_operators=ABORTING_OPERATORS,
)
"""Models that take text or images; see core.bundle. The mark is the name of a zip's first member."""

PYTHON: Final = Runtime(
    name="python",
    title="Python",
    format="Python function",
    platform="python",
    model_file="model.function",
    suffixes=(".function",),
    mark=b"workbench-function",
    mark_at=30,
    opener="workbench.functions.function_session:open_function",
    inspector="workbench.repository.function_file:inspect_function",
    more_runners=False,
    sandboxed=False,
    runs_code=True,
)
"""A function from its source, which runs in processes of its own."""

_registered: dict[str, Runtime] = {each.name: each for each in (ONNX, ORT_FORMAT, PIPELINE, BUNDLE, PYTHON)}


def register(runtime: Runtime) -> None:
    """Serve models with `runtime` too, or instead of the one of its name. Before the service starts."""
    if Path(runtime.model_file).suffix not in runtime.suffixes:
        raise ValueError(f"the suffixes of {runtime.name} lack that of {runtime.model_file}")
    for other in _registered.values():
        if other.name != runtime.name and set(other.suffixes) & set(runtime.suffixes):
            raise ValueError(f"{runtime.name} and {other.name} both claim {runtime.suffixes}")
    _registered[runtime.name] = runtime


def runtimes() -> tuple[Runtime, ...]:
    """All of them, ONNX first."""
    return tuple(_registered.values())


def runtime_of_file(path: Path) -> Runtime | None:
    """The runtime for a file of this name; None where no runtime has its ending."""
    suffix = path.suffix.lower()
    return next((each for each in runtimes() if suffix in each.suffixes), None)


def runtime_of_content(head: bytes) -> Runtime | None:
    """The runtime whose mark the beginning of a file bears; None where it bears none."""
    return next((each for each in runtimes() if each.mark and head.startswith(each.mark, each.mark_at)), None)


def runtime_of_platform(platform: str) -> Runtime:
    """The runtime that a model's status names; ONNX where the model has not been opened yet."""
    return next((each for each in runtimes() if each.platform == platform), ONNX)


def runtime_meant_by(platform: str, backend: str) -> Runtime | None:
    """The runtime that a config.pbtxt is for."""
    if backend == PYTHON.name and not platform:  # Triton's own, whose models are a model.py; ours says both
        return None
    return next((each for each in runtimes() if each.is_meant_by(platform, backend)), None)


def suffixes() -> tuple[str, ...]:
    """The endings of all files that can be served."""
    return tuple(suffix for each in runtimes() for suffix in each.suffixes)


def model_files(folder: str = "") -> str:
    """The names of all model files, as messages list them, each in `folder`."""
    return " or ".join(f"{folder}{each.model_file}" for each in runtimes() if each.opener)


def imported(reference: str) -> Any:
    """The object that "module:name" refers to."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)

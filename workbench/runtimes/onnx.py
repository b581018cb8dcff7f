"""ONNX models on ONNX Runtime: CUDA where it really runs, the CPU everywhere else."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from workbench.config import MIB, ModelConfig
from workbench.core.cores import usable_cores
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.runtime import ONNX
from workbench.core.table_columns import METADATA_KEY, with_columns
from workbench.core.tensor import BYTES, EXTENSION_DTYPES, Array, dtype_of
from workbench.errors import ExecutionError, InvalidInput, ModelError
from workbench.runtimes.binding import DeviceBinding
from workbench.runtimes.cuda_probe import preload
from workbench.runtimes.devices import (
    cuda_index,
    cuda_problem,
    free_gpu_memory,
    has_nvidia_driver,
    wheel_conflict,
)
from workbench.runtimes.first_run import warmup_inputs
from workbench.runtimes.ort import QUIET, ort
from workbench.runtimes.ort_arrays import (
    DATATYPE_OF_ELEMENT,
    READS_TEXT,
    array_of,
    bytes_behind_stand_ins,
    bytes_of,
    text_of,
    text_with_stand_ins,
    value_of,
)
from workbench.runtimes.ort_errors import run_error
from workbench.runtimes.session_opening import OpenedSession, open_session_of

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"

SPIN_US = "50"
"""Microseconds for which an intra-op thread waits for its next part of a run before it sleeps."""

_gpu_loading = threading.Lock()
"""Creating two sessions on one GPU at the same time has crashed ONNX Runtime."""


class OnnxSession:
    """One model, loaded. On the CPU any number of threads may run it at once, on CUDA one."""

    platform = ONNX.platform

    def __init__(self, opened: OpenedSession, *, device: str = "cpu", notes: tuple[str, ...] = ()) -> None:
        session = opened.session
        self.signature, unserved = signature_of(session, opened.unranked)
        self.device = device
        self.notes = (*notes, *opened.notes, *unserved)
        self.placement: Mapping[str, Mapping[str, int]] = placement_of(session)
        self.runner_threads = 0 if device == "cpu" else 1
        datatypes_in = {spec.datatype for spec in self.signature.inputs}
        datatypes_out = {spec.datatype for spec in self.signature.outputs}
        self._text_in = frozenset(spec.name for spec in self.signature.inputs if spec.datatype == BYTES)
        extended_in, extended_out = (
            {spec.name: spec.datatype for spec in specs if dtype_of(spec.datatype) in EXTENSION_DTYPES}
            for specs in (self.signature.inputs, self.signature.outputs)
        )
        self._extended_out = frozenset(extended_out)
        if self._text_in and extended_out:
            raise ModelError(
                f"{BYTES} inputs beside {' and '.join(sorted(set(extended_out.values())))} outputs cannot be run; "
                f"cast the outputs {sorted(extended_out)} to FP32"
            )
        self._plain = not (extended_in or extended_out or BYTES in datatypes_in | datatypes_out)
        self._session: ort.InferenceSession | None = session
        self._run = session.run
        self._under_way: dict[int, ort.RunOptions] = {}
        """By thread, the options of its last run. Options that were terminated stay so, hence new ones for each run."""
        self._binding: DeviceBinding | None = None
        if device != "cpu" and BYTES not in datatypes_in | datatypes_out:
            self._binding = DeviceBinding(session, self.signature, "cuda", cuda_index(device))

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """The named outputs, in order; see core.ports.Session."""
        try:
            options = self._under_way[threading.get_ident()] = ort.RunOptions()
            if self._binding is not None:
                return self._binding.run(inputs, outputs, options)
            if self._plain:
                results: list[Array] = self._run(outputs, inputs if type(inputs) is dict else dict(inputs), options)
                return results
            return self._run_converting(inputs, outputs, options)
        except Exception as error:
            raise run_error(error) from None

    def interrupt(self, thread: int) -> None:
        """See core.ports.Interruptible. ONNX Runtime looks between two nodes and two turns of a loop."""
        if (options := self._under_way.get(thread)) is not None:
            options.terminate = True

    def trim(self) -> None:
        """See core.ports.Trimmable. ONNX Runtime does it at the end of a run, also of one that is ended before its
        first node; so nothing is computed. Of a GPU's memory nothing is given back."""
        session = self._session
        if session is None or self.device != "cpu":
            return
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        options.terminate = True
        with suppress(Exception):  # that it was ended
            feeds = {name: self._fed(name, array) for name, array in warmup_inputs(self.signature, 1, 1).items()}
            session.run([self.signature.outputs[0].name], feeds, options)

    def close(self) -> None:
        """Give back the memory, on the GPU too; a run after this raises ExecutionError."""
        if self._binding is not None:
            self._binding.close()
        self._binding = None
        self._session = None
        self._plain = True
        self._run = _closed

    def _run_converting(
        self, inputs: Mapping[str, Array], outputs: Sequence[str], options: ort.RunOptions
    ) -> list[Array]:
        session = self._session
        if session is not None and self._extended_out.intersection(outputs):
            # Only OrtValues can hold a dtype that numpy lacks, and this call neither takes nor gives anything else.
            values = {name: value_of(array) for name, array in inputs.items()}
            given = [array_of(value) for value in session.run_with_ort_values(outputs, values, options)]
        else:
            try:
                feeds = {name: self._fed(name, array) for name, array in inputs.items()}
            except UnicodeDecodeError:
                return self._run_bytes(inputs, outputs, options)
            given = self._run(outputs, feeds, options)
        return [bytes_of(array) if array.dtype.kind == "O" else array for array in given]

    def _run_bytes(self, inputs: Mapping[str, Array], outputs: Sequence[str], options: ort.RunOptions) -> list[Array]:
        """Run on strings some of which are not UTF-8. Raises InvalidInput for a model that reads what they say."""
        operators = {name.rpartition(":")[2] for nodes in self.placement.values() for name in nodes}
        if reading := sorted(READS_TEXT & operators):
            raise InvalidInput(f"an input has an element that is not UTF-8, as strings of {reading[0]} must be")
        feeds = {
            name: text_with_stand_ins(name, array) if name in self._text_in else self._fed(name, array)
            for name, array in inputs.items()
        }
        given = self._run(outputs, feeds, options)
        return [bytes_behind_stand_ins(array) if array.dtype.kind == "O" else array for array in given]

    def _fed(self, name: str, array: Array) -> Any:
        if name in self._text_in:
            return text_of(name, array)
        return value_of(array) if array.dtype in EXTENSION_DTYPES else array


def open_onnx(path: Path, config: ModelConfig, *, instances: int = 1, content: bytes | None = None) -> OnnxSession:
    """The model at `path`, already validated, on the device that `config` asks for; with `content`, the ONNX file of
    these bytes, which lies in the file at `path`.

    `instances` is how many threads will run it, which share the cores. Raises ModelError with the reason, also where
    an explicit "cuda" does not run.
    """
    if config.device == "cpu":
        return _on_cpu(path, config, instances, (), content)
    index = cuda_index(config.device)
    problem = cuda_problem(index)
    if problem is None:
        try:
            return _on_cuda(path, config, index, content)
        except ModelError as error:
            if config.device != "auto":
                raise
            problem = error.message
    elif config.device != "auto":
        raise ModelError(f"device {config.device!r} was asked for, but {problem}; device 'cpu' or 'auto' serves it now")
    # A machine without a GPU is nothing to remark on.
    remarkable = has_nvidia_driver() or wheel_conflict()
    notes = (f"It runs on the CPU: {problem}.",) if remarkable else ()
    return _on_cpu(path, config, instances, notes, content)


def signature_of(
    session: ort.InferenceSession, unranked: frozenset[str] = frozenset()
) -> tuple[Signature, tuple[str, ...]]:
    """Inputs and outputs in the protocol's terms, and remarks on outputs that it cannot carry and so are not served.
    `unranked` are those whose number of axes is not known.

    Raises ModelError where it cannot carry an input, or no output at all.
    """
    inputs = []
    for argument in session.get_inputs():
        if (spec := _spec(argument, unranked)) is None:
            raise ModelError(f"input {argument.name!r} is {_described(argument.type)}")
        inputs.append(spec)
    outputs = [(argument, _spec(argument, unranked)) for argument in session.get_outputs()]
    served = tuple(spec for _, spec in outputs if spec is not None)
    notes = tuple(
        f"Output {argument.name!r} is not served: it is {_described(argument.type)}."
        for argument, spec in outputs
        if spec is None
    )
    if notes and not served:
        argument, _ = outputs[0]
        raise ModelError(f"output {argument.name!r} is {_described(argument.type)}; no output is a tensor to serve")
    signature = Signature(tuple(inputs), served)
    said = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    return with_columns(signature, said) if said else signature, notes


def _spec(argument: Any, unranked: frozenset[str]) -> TensorSpec | None:
    """None where the protocol has no such type."""
    kind: str = argument.type
    datatype = DATATYPE_OF_ELEMENT.get(kind.removeprefix("tensor(").removesuffix(")"))
    if datatype is None:
        return None
    shape = tuple(size if isinstance(size, int) and size >= 0 else FREE for size in argument.shape)
    return TensorSpec(argument.name, datatype, shape, argument.name not in unranked)


def _described(kind: str) -> str:
    if kind.startswith(("seq(", "map(", "optional(", "sparse_tensor(")):
        return f"a {kind}, which is no plain tensor; let the model take or give its parts as tensors instead"
    return f"a {kind}, whose element type the protocol does not have; cast it inside the model"


def _on_cpu(
    path: Path, config: ModelConfig, instances: int, notes: tuple[str, ...], content: bytes | None
) -> OnnxSession:
    threads = config.intra_op_threads or max(1, usable_cores() // max(1, instances))
    return OnnxSession(_create(path, _options(threads), [_CPU], content), notes=notes)


def _on_cuda(path: Path, config: ModelConfig, index: int, content: bytes | None) -> OnnxSession:
    limit = config.gpu_memory_limit_mib * MIB or free_gpu_memory(index) // 2
    provider: dict[str, int | str] = {
        "device_id": index,
        # The GPU is shared with the user's own kernels: grow by what is asked for, not by powers of two.
        "arena_extend_strategy": "kSameAsRequested",
        # The default tries every algorithm anew for each shape, and each new batch size is a new shape.
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    if limit:
        provider["gpu_mem_limit"] = limit
    options = _options(config.intra_op_threads or usable_cores())
    with _gpu_loading:
        preload()
        opened = _create(path, options, [(_CUDA, provider), _CPU], content)
    return OnnxSession(opened, device=f"cuda:{index}", notes=_placed(opened.session, index))


def placement_of(session: ort.InferenceSession) -> dict[str, Counter[str]]:
    """Execution provider -> operator -> nodes, as they were shared out once the graph had been simplified."""
    nodes: dict[str, Counter[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        nodes.setdefault(part.ep_name, Counter()).update(
            f"{node.domain}:{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
            for node in part.get_nodes()
        )
    return nodes


def _placed(session: ort.InferenceSession, index: int) -> tuple[str, ...]:
    """A remark on nodes that stayed on the CPU; ModelError when nothing at all is on the GPU."""
    nodes = placement_of(session)
    on_gpu = nodes.pop(_CUDA, Counter()).total()
    elsewhere: Counter[str] = sum(nodes.values(), Counter())
    if _CUDA not in session.get_providers() or not on_gpu:
        raise ModelError(f"none of its operators runs on cuda:{index}; load it with device 'cpu'")
    if not elsewhere:
        return ()
    named = ", ".join(operator for operator, _ in elsewhere.most_common(5))
    return (
        f"{elsewhere.total()} of {on_gpu + elsewhere.total()} nodes run on the CPU, having no CUDA kernel or only "
        f"working on shapes: {named}.",
    )


def _options(intra_op_threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    # Within a run the threads meet again every few microseconds, and sleeping in between halves a run's speed. Between
    # runs they must not go on spinning, as they would by default: the cores are the notebook's too.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_US)
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def _create(
    path: Path, options: ort.SessionOptions, providers: list[Any], content: bytes | None = None
) -> OpenedSession:
    opened = open_session_of(path, options, providers, content)
    opened.session.disable_fallback()
    return opened


def _closed(*_: object) -> list[Array]:
    raise ExecutionError("the model has been unloaded")

"""Triton's model configuration, read: which of our settings it means, and what of it cannot be honoured.

A message is a dict of lists by the field names of model_config.proto, as `repository.pbtxt` reads a config.pbtxt, and
as `from_json` makes it of the JSON form.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from workbench.config import ModelConfig
from workbench.config.byte_size import OFF
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.pipeline import Pipeline
from workbench.core.runtime import ONNX, PIPELINE, runtime_meant_by, runtimes
from workbench.core.sequence_config import HONOURED_SEQUENCES, SequenceConfig, read_sequence_batching
from workbench.core.tensor import DTYPES
from workbench.core.triton_ensemble import FIELD, STEP_FIELDS, read_ensemble
from workbench.core.triton_message import Message, element_type, file_name, flag, messages, number, says, text, whole
from workbench.errors import InvalidInput, ModelError

PREFIX: Final = "infer_workbench."
"""Before the names of our settings among Triton's `parameters`."""

EPOCH: Final = "model_epoch"
"""The parameter of a configuration that we write, and of a gRPC answer, that holds `ModelStatus.epoch`."""

MAX_LEVELS: Final = 16

CACHE_SIZE: Final = "64MB"
"""For `response_cache`, whose size Triton takes from a flag of its server."""

HONOURED: Final = {
    "name": "must be the folder's",
    "platform": f"`{ONNX.platform}`, or `{PIPELINE.platform}` with `ensemble_scheduling`, or the model is refused",
    "backend": f"`{ONNX.name}`, or the model is refused",
    "max_batch_size": "`max_batch_size`, unless rows influence each other: then requests run one by one, and the "
    "notes name the operator; 0 means `batching = never`",
    "version_policy": "`versions`: those that it names are loaded, and the highest of them is routed to",
    "input": "compared with the model's, which holds; `reshape` is done; `format` is told to clients",
    "output": "compared with the model's, which holds; `reshape` is done; `label_filename` names its classes' labels",
    "instance_group": "`instances` is the sum of `count`; `kind` and the first of `gpus` are `device`",
    "sequence_batching": "a model that keeps state between requests: see sequences.md",
    "dynamic_batching": "a model whose rows do not influence each other is batched with and without it",
    "ensemble_scheduling": "a pipeline of models, with `platform` `ensemble`: see models.md",
    "model_transaction_policy": "not decoupled, or the model is refused",
    "default_model_filename": "the file in the version's folder",
    "model_warmup": "its requests are run before the model is Ready, files of `warmup` beside its versions among them; "
    "one that fails is told in the notes",
    "response_cache": "`enable` is `cache = 64MB`, which keeps answers for equal requests",
    "parameters": "`intra_op_thread_count` is `intra_op_threads`; `infer_workbench.NAME` is the setting NAME",
}
"""Field -> what becomes of it, as docs/settings.md has it."""

HONOURED_BATCHING: Final = {
    "preferred_batch_size": "`preferred_batch_sizes`",
    "max_queue_delay_microseconds": "`max_queue_delay_s`",
    "priority_levels": "`priority_levels`",
    "default_priority_level": "`default_priority`",
    "default_queue_policy": "`default_timeout_microseconds` is `queue_timeout_s`, `max_queue_size` is `max_queue_size`",
}
"""The same of dynamic_batching."""

PASSED_OVER: Final = {
    "use_same_buffer_for_input_output": "a step's state is kept until the next one has succeeded",
    "use_growable_memory": "each state has the memory that it needs",
    "preserve_ordering": "answers are sent as they come",
    "priority_queue_policy": "all levels have the one queue policy",
    "optimization": "the runtime's own optimisation is used",
    "cc_model_filenames": "there is one file for all devices",
    "metric_tags": "metrics have the model's name and version",
    "model_metrics": "metrics have buckets of their own",
    "model_repository_agents": "no agents are run",
    "batch_input": "batches carry the requests' inputs only",
    "batch_output": "outputs are split by rows",
    "model_operations": "no libraries are loaded",
    "runtime": "the service has one runtime",
}
"""Field -> why it is not honoured; the model is served all the same."""

_TENSOR = ("name", "data_type", "dims", "reshape", "label_filename", "optional", "format")
_GROUP = ("name", "kind", "count", "gpus")
_WARMUP = ("name", "batch_size", "inputs", "count")
_WARMUP_INPUT = ("data_type", "dims", "zero_data", "random_data", "input_data_file")
_DIRECT = ("max_queue_delay_microseconds", "minimum_slot_utilization")
_OLDEST = ("max_candidate_sequences", "preferred_batch_size", "max_queue_delay_microseconds")
_STATE = ("input_name", "output_name", "data_type", "dims", "initial_state")
_SPECIFIC = "specific"
_MAPS = ("parameters", "metric_tags", "cc_model_filenames", "inputs", "input_map", "output_map")
_CAMEL = re.compile(r"(?<=[a-z0-9])([A-Z])")
_DEVICES = {"KIND_AUTO": "auto", "KIND_MODEL": "auto", "KIND_CPU": "cpu", "KIND_GPU": "cuda"}


@dataclass(frozen=True, slots=True)
class Declared:
    """A tensor as the configuration has it."""

    kind: str
    """"input" or "output"."""
    name: str
    datatype: str
    """Empty where it does not say."""
    dims: tuple[int, ...]
    """As callers have them, without the batch axis."""
    reshape: tuple[int, ...] | None = None
    """As the model has them, where that is something else."""


@dataclass(frozen=True, slots=True)
class WarmupInput:
    """One input of a request to warm up with. Exactly one of `random` and `file` says what it holds, or it is zero."""

    name: str
    datatype: str
    dims: tuple[int, ...]
    random: bool = False
    file: str = ""
    """In the folder `warmup` beside the model's versions: its raw bytes."""


@dataclass(frozen=True, slots=True)
class WarmupRequest:
    name: str
    inputs: tuple[WarmupInput, ...]
    batch_size: int = 0
    """Before the dims of each input; 0: they are whole."""
    count: int = 1


@dataclass(frozen=True, slots=True)
class TritonConfig:
    """The meaning of a configuration here."""

    settings: Mapping[str, object] = field(default_factory=dict)
    """For `config.model_config`."""
    notes: tuple[str, ...] = ()
    """The parts that are not honoured, each as one sentence."""
    unknown: tuple[str, ...] = ()
    """Fields that Triton's configuration does not have."""
    model_file: str = ""
    """In a version's folder; empty: by the name that a runtime gives it."""
    formats: Mapping[str, str] = field(default_factory=dict)
    """Input -> Triton's name of the layout of its images, told to clients that prepare them."""
    label_files: Mapping[str, str] = field(default_factory=dict)
    """Output -> file with its labels, in the model's folder."""
    declared: tuple[Declared, ...] = ()
    batched: bool = False
    """The dims of `declared` are without the batch axis."""
    warmup: tuple[WarmupRequest, ...] = ()
    sequences: SequenceConfig | None = None
    """None: each request stands alone."""
    pipeline: tuple[Pipeline, Signature] | None = None
    """Of an ensemble, with its own inputs and outputs; None: it is one model."""


def read(message: Message, name: str = "") -> TritonConfig:
    """What `message`, a ModelConfig, means for the model `name`; empty: any name.

    Raises InvalidInput where a field has no such value, ModelError for a model that is none of ours.
    """
    return _Reading(message, name).done()


def from_json(config: Mapping[str, Any]) -> Message:
    """The message in JSON's form, with names in snake case or as protobuf's own JSON has them."""
    message: dict[str, list[Any]] = {}
    for key, value in config.items():
        name = _CAMEL.sub(r"_\1", key).lower()
        if name in _MAPS and isinstance(value, dict):
            message[name] = [{"key": [each], "value": [_from_json(of)]} for each, of in value.items()]
        else:
            message[name] = [_from_json(each) for each in (value if isinstance(value, list) else [value])]
    return message


def differences(config: TritonConfig, signature: Signature) -> Iterator[str]:
    """The differences between the configuration and the model, each as a sentence."""
    specs = {"input": signature.inputs, "output": signature.outputs}
    for each in config.declared:
        spec = next((spec for spec in specs[each.kind] if spec.name == each.name), None)
        if spec is None:
            yield f"it names the {each.kind} {each.name[:80]!r}, which the model does not have"
        elif each.datatype not in ("", spec.datatype) or not fits(each.dims, spec, config.batched):
            said = f"{each.datatype or 'any type'} {list(each.dims)}"
            yield f"{each.kind} {each.name!r} is said to be {said}; the model has {spec}, which holds"


def fits(dims: tuple[int, ...], spec: TensorSpec, batched: bool) -> bool:
    """Whether `dims` are those of a tensor, without its batch axis where there is one."""
    if not spec.ranked:
        return True
    shape = spec.shape[1:] if batched else spec.shape
    if len(dims) != len(shape):
        return not shape and dims == (1,)
    return all(FREE in (said, found) or said == found for said, found in zip(dims, shape, strict=True))


def _from_json(value: Any) -> Any:
    return from_json(value) if isinstance(value, dict) else value


class _Reading:
    """One configuration on its way to its meaning."""

    def __init__(self, message: Message, name: str) -> None:
        self._message = message
        self._name = name
        self._settings: dict[str, object] = {}
        self._notes: list[str] = []
        self._unknown: list[str] = []

    def done(self) -> TritonConfig:
        message = self._message
        self._sort(message, HONOURED, "")
        usual_file = self._usual_file()
        size = whole(message, "max_batch_size")
        if size:
            self._settings["max_batch_size"] = size
        elif size == 0 or message.get("sequence_batching") or message.get(FIELD):  # as Triton has it where none is said
            self._settings["batching"] = "never"
        for batching in messages(message, "dynamic_batching"):
            self._batching(batching)
        sequences = self._sequences(size or 0)
        for cache in messages(message, "response_cache"):
            self._sort(cache, ("enable",), "response_cache.")
            self._settings["cache"] = CACHE_SIZE if flag(cache, "enable") else OFF
        if groups := messages(message, "instance_group"):
            self._instances(groups)
        self._versions()
        self._parameters()
        label_files: dict[str, str] = {}
        formats: dict[str, str] = {}
        declared: list[Declared] = []
        for kind in ("input", "output"):
            for tensor in messages(message, kind):
                self._sort(tensor, _TENSOR, f"{kind}.")
                declared.append(self._declared(kind, tensor, bool(size)))
                if kind == "input" and (layout := text(tensor, "format")) in ("FORMAT_NCHW", "FORMAT_NHWC"):
                    formats[declared[-1].name] = layout
                if file := text(tensor, "label_filename"):
                    label_files[declared[-1].name] = file_name("label_filename", file)
        return TritonConfig(
            self._settings,
            tuple(self._notes),
            tuple(self._unknown),
            file_name("default_model_filename", text(message, "default_model_filename") or usual_file),
            formats,
            label_files,
            tuple(each for each in declared if each.name),
            bool(size),
            tuple(self._warmup(request) for request in messages(message, "model_warmup")),
            sequences,
            self._pipeline(declared, bool(size)),
        )

    def _pipeline(self, declared: Sequence[Declared], batched: bool) -> tuple[Pipeline, Signature] | None:
        message = self._message
        scheduled, platform = messages(message, FIELD), text(message, "platform")
        if not scheduled and platform != PIPELINE.platform:
            return None
        if not scheduled or platform not in ("", PIPELINE.platform):
            raise InvalidInput(f'an ensemble has platform: "{PIPELINE.platform}" and {FIELD}')
        for scheduling in scheduled:
            self._sort(scheduling, ("step",), f"{FIELD}.")
            for step in messages(scheduling, "step"):
                self._sort(step, STEP_FIELDS, f"{FIELD}.step.")
        return read_ensemble(message, declared, batched)

    def _sort(self, message: Message, honoured: Mapping[str, str] | Sequence[str], where: str) -> None:
        """Note the fields that are passed over, and unknown ones."""
        for name, values in message.items():
            if name in honoured or not any(says(value) for value in values):
                continue
            if name in PASSED_OVER:
                self._notes.append(f"{where}{name} is not honoured: {PASSED_OVER[name]}")
            else:
                self._unknown.append(f"{where}{name}"[:80])

    def _usual_file(self) -> str:
        """The file name of the named runtime; empty where none is named. ModelError for an unknown runtime."""
        name, backend = text(self._message, "name"), text(self._message, "backend")
        platform = text(self._message, "platform")
        if self._name and name not in ("", self._name):
            raise InvalidInput(f"name is {name[:80]!r}, and the model's is {self._name!r}")
        runtime = runtime_meant_by(platform, backend)
        if runtime is None:
            formats = " and ".join(each.format for each in runtimes())
            raise ModelError(
                f"it is for the backend {(backend or platform)[:80]!r}, and {formats} models are served here"
            )
        for transaction in messages(self._message, "model_transaction_policy"):
            if text(transaction, "decoupled") == "true" or transaction.get("decoupled") == [True]:
                raise ModelError("its model_transaction_policy is decoupled, which is not served here")
        return runtime.model_file if platform or backend else ""

    def _batching(self, batching: Message) -> None:
        self._sort(batching, HONOURED_BATCHING, "dynamic_batching.")
        if sizes := batching.get("preferred_batch_size"):
            self._settings["preferred_batch_sizes"] = [number(each, "preferred_batch_size", low=1) for each in sizes]
        if (delay_us := whole(batching, "max_queue_delay_microseconds")) is not None:
            self._settings["max_queue_delay_s"] = delay_us / 1e6
        if levels := whole(batching, "priority_levels"):
            if levels > MAX_LEVELS:
                self._notes.append(f"of {levels} priority_levels there are {MAX_LEVELS}: a lower one means the default")
            default = whole(batching, "default_priority_level") or (levels + 1) // 2
            self._settings["priority_levels"] = min(levels, MAX_LEVELS)
            self._settings["default_priority"] = min(default, MAX_LEVELS)
        for policy in messages(batching, "default_queue_policy"):
            if timeout_us := whole(policy, "default_timeout_microseconds"):
                self._settings["queue_timeout_s"] = timeout_us / 1e6
            if size := whole(policy, "max_queue_size"):
                self._settings["max_queue_size"] = size
            if text(policy, "timeout_action") == "DELAY":
                self._notes.append("timeout_action DELAY is not honoured: what waits too long is refused")

    def _sequences(self, max_batch_size: int) -> SequenceConfig | None:
        if not (found := messages(self._message, "sequence_batching")):
            return None
        if self._message.get("dynamic_batching"):
            raise InvalidInput("dynamic_batching and sequence_batching exclude each other")
        for batching in found:
            self._sort(batching, [*HONOURED_SEQUENCES, "iterative_sequence"], "sequence_batching.")
            for name, known in (("direct", _DIRECT), ("oldest", _OLDEST), ("state", _STATE)):
                for each in messages(batching, name):
                    self._sort(each, known, f"sequence_batching.{name}.")
        sequences, settings = read_sequence_batching(found[-1], max_batch_size)
        self._settings.update(settings)
        return sequences

    def _instances(self, groups: Sequence[Message]) -> None:
        for group in groups:
            self._sort(group, _GROUP, "instance_group.")
        self._settings["instances"] = sum(whole(group, "count") or 1 for group in groups)
        kinds = {text(group, "kind") or "KIND_AUTO" for group in groups}
        gpus = [gpu for group in groups for gpu in group.get("gpus", ())]
        kind = text(groups[0], "kind") or ("KIND_GPU" if gpus else "KIND_AUTO")
        if kind not in _DEVICES:
            raise InvalidInput(f"instance_group.kind must be one of {', '.join(_DEVICES)}, got {kind[:40]!r}")
        device = _DEVICES[kind]
        if device == "cuda" and gpus:
            device = f"cuda:{number(gpus[0], 'instance_group.gpus')}"
        self._settings["device"] = device
        if len(kinds) > 1 or len(set(gpus)) > 1:
            self._notes.append(f"all instances are on one device ({device}), the first that is named")

    def _parameters(self) -> None:
        ours = {field.name for field in dataclasses.fields(ModelConfig)}
        for entry in messages(self._message, "parameters"):
            key = text(entry, "key")
            values = messages(entry, "value")
            value = text(values[0], "string_value") if values else ""
            setting = "intra_op_threads" if key == "intra_op_thread_count" else key.removeprefix(PREFIX)
            if setting in ours and (setting != key or key == "intra_op_thread_count"):
                self._settings[setting] = value
            elif key != EPOCH:  # a configuration of ours that comes back
                self._notes.append(f"the parameter {key[:80]!r} is not honoured: this service does not know it")

    def _declared(self, kind: str, tensor: Message, batched: bool) -> Declared:
        name = text(tensor, "name")
        dims = tuple(number(each, f"{kind}.dims", low=-1) for each in tensor.get("dims", ()))
        reshape = None
        for message in messages(tensor, "reshape"):
            shape = tuple(number(each, f"{kind}.reshape", low=-1) for each in message.get("shape", ()))
            reshape = shape if shape != dims else None
        return Declared(kind, name, element_type(tensor, "data_type"), dims, reshape)

    def _warmup(self, request: Message) -> WarmupRequest:
        self._sort(request, _WARMUP, "model_warmup.")
        name = text(request, "name")
        inputs = []
        for entry in messages(request, "inputs"):
            key = text(entry, "key")
            for value in messages(entry, "value"):
                self._sort(value, _WARMUP_INPUT, "model_warmup.inputs.")
                datatype = element_type(value, "data_type")
                if datatype not in DTYPES:
                    raise InvalidInput(f"model_warmup {name[:80]!r}: input {key[:80]!r} has no data_type of Triton's")
                dims = tuple(number(each, "model_warmup.inputs.dims") for each in value.get("dims", ()))
                file = text(value, "input_data_file")
                inputs.append(
                    WarmupInput(
                        key,
                        datatype,
                        dims,
                        random=flag(value, "random_data"),
                        file=file_name("input_data_file", file) if file else "",
                    )
                )
        size, count = whole(request, "batch_size") or 0, whole(request, "count") or 1
        return WarmupRequest(name[:80], tuple(inputs), size, count)

    def _versions(self) -> None:
        for policy in messages(self._message, "version_policy"):
            for latest in messages(policy, "latest"):
                self._settings["versions"] = f"latest:{min(whole(latest, 'num_versions') or 1, 9999)}"
            for specific in messages(policy, _SPECIFIC):
                if not (named := [number(each, "versions", low=1) for each in specific.get("versions", ())]):
                    raise InvalidInput("version_policy.specific names no versions")
                self._settings["versions"] = f"specific:{','.join(map(str, sorted(set(named))))}"
            if "all" in policy:
                self._settings["versions"] = "all"

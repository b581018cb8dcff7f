"""A model's configuration in the form of Triton's `ModelConfig`, as plain values for JSON and for the message."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from workbench.config import ModelConfig
from workbench.core.model import ModelStatus, Signature, TensorSpec
from workbench.core.pipeline import Pipeline, PipelineStep
from workbench.core.runtime import runtime_of_platform
from workbench.core.sequence_config import CORRID, Control, ImplicitStateConfig, SequenceConfig
from workbench.core.tensor import BYTES
from workbench.core.triton_config import EPOCH, PREFIX

_EXPRESSED = frozenset(
    {
        "max_batch_size",
        "max_queue_delay_s",
        "preferred_batch_sizes",
        "max_queue_size",
        "queue_timeout_s",
        "priority_levels",
        "default_priority",
        "instances",
    }
)
"""Settings that have a field in Triton's form."""


def triton_config(status: ModelStatus, versions: Sequence[str] = ()) -> dict[str, Any]:
    """Return the configuration of one version, by the field names of model_config.proto.

    Enums are their names. Shapes of a batched model have no batch axis. `versions` are all that serve; if empty, only
    this one does.
    """
    signature = status.signature or Signature((), ())
    batched = status.max_batch_size > 0
    runtime = runtime_of_platform(status.platform)
    config: dict[str, Any] = {
        "name": status.name,
        "platform": status.platform,
        "backend": runtime.name,
        "version_policy": {"specific": {"versions": [int(version) for version in versions or [status.version]]}},
        "max_batch_size": status.max_batch_size,
        "input": [
            _tensor(spec, batched) | {"optional": False, "format": status.formats.get(spec.name, "FORMAT_NONE")}
            for spec in signature.inputs
        ],
        "output": [_tensor(spec, batched) for spec in signature.outputs],
        "instance_group": [_instances(status)],
        "default_model_filename": runtime.model_file,
        "parameters": {
            PREFIX + field.name: {"string_value": _text(getattr(status.config, field.name))}
            for field in dataclasses.fields(ModelConfig)
            if field.name not in _EXPRESSED
        }
        | {EPOCH: {"string_value": status.epoch}},
    }
    if status.pipeline is not None:
        del config["backend"], config["instance_group"], config["default_model_filename"]
        config["ensemble_scheduling"] = {"step": [_step(step) for step in _by_tensor_names(status.pipeline).steps]}
    elif status.sequence_config is not None:
        config["sequence_batching"] = _sequence_batching(status.sequence_config, status.config)
    elif batched:
        config["dynamic_batching"] = _batching(status.config)
    return config


def _step(step: PipelineStep) -> dict[str, Any]:
    version = int(step.version) if step.version else -1
    maps = {"input_map": dict(step.inputs), "output_map": dict(step.outputs)}
    return {"model_name": step.model, "model_version": version, **maps}


def _by_tensor_names(pipeline: Pipeline) -> Pipeline:
    """The same pipeline, whose own inputs and outputs are called as their tensors, as Triton's form needs it."""
    names = {tensor: name for name, tensor in (*pipeline.inputs.items(), *pipeline.outputs.items())}

    def named(tensors: Mapping[str, str]) -> dict[str, str]:
        return {name: names.get(tensor, tensor) for name, tensor in tensors.items()}

    steps = (replace(step, inputs=named(step.inputs), outputs=named(step.outputs)) for step in pipeline.steps)
    return Pipeline(tuple(steps), named(pipeline.inputs), named(pipeline.outputs))


def _tensor(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    dims = list(spec.shape[1:] if batched and spec.ranked else spec.wire_shape)
    tensor: dict[str, Any] = {"name": spec.name, "data_type": _datatype(spec.datatype), "dims": dims or [1]}
    if not dims:  # Triton's dims are never empty: a reshape gives the rest
        tensor["reshape"] = {"shape": []}
    return tensor


def _instances(status: ModelStatus) -> dict[str, Any]:
    kind, _, number = status.device.partition(":")
    group: dict[str, Any] = {"name": status.name, "count": status.config.instances, "kind": "KIND_AUTO"}
    if kind in ("cpu", "cuda"):
        group["kind"] = "KIND_CPU" if kind == "cpu" else "KIND_GPU"
    if kind == "cuda":
        group["gpus"] = [int(number or 0)]
    return group


def _batching(config: ModelConfig) -> dict[str, Any]:
    return {
        "max_queue_delay_microseconds": round(config.max_queue_delay_s * 1e6),
        "preferred_batch_size": list(config.preferred_batch_sizes),
        "preserve_ordering": False,
        "priority_levels": config.priority_levels,
        "default_priority_level": min(config.default_priority, config.priority_levels),
        "default_queue_policy": {
            "timeout_action": "REJECT",
            "default_timeout_microseconds": round(config.queue_timeout_s * 1e6),
            "allow_timeout_override": True,
            "max_queue_size": config.max_queue_size,
        },
    }


def _sequence_batching(sequences: SequenceConfig, config: ModelConfig) -> dict[str, Any]:
    delay_us = round(config.max_queue_delay_s * 1e6)
    strategy: dict[str, Any] = {"max_queue_delay_microseconds": delay_us}
    if sequences.strategy == "oldest":
        strategy["max_candidate_sequences"] = sequences.candidates
        strategy["preferred_batch_size"] = list(config.preferred_batch_sizes)
    elif config.preferred_batch_sizes:
        strategy["minimum_slot_utilization"] = min(config.preferred_batch_sizes) / config.max_batch_size
    return {
        "max_sequence_idle_microseconds": round(sequences.max_idle_s * 1e6),
        sequences.strategy: strategy,
        "control_input": [{"name": each.name, "control": [_control(each)]} for each in sequences.controls],
        "state": [_state(each) for each in sequences.states],
    }


def _control(control: Control) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": f"CONTROL_SEQUENCE_{control.kind}"}
    if control.kind == CORRID:
        return {**told, "data_type": _datatype(control.datatype)}
    kind = {"INT32": int, "FP32": float, "BOOL": bool}[control.datatype]
    return {**told, f"{control.datatype.lower()}_false_true": [kind(value) for value in control.values]}


def _state(state: ImplicitStateConfig) -> dict[str, Any]:
    datatype = _datatype(state.datatype)
    initial: dict[str, Any] = {"name": state.input_name, "data_type": datatype, "dims": list(state.initial_dims)}
    initial |= {"data_file": state.initial_file} if state.initial_file else {"zero_data": True}
    return {
        "input_name": state.input_name,
        "output_name": state.output_name,
        "data_type": datatype,
        "dims": list(state.dims),
        "initial_state": [initial],
    }


def _datatype(datatype: str) -> str:
    return f"TYPE_{'STRING' if datatype == BYTES else datatype}"


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

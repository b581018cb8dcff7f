"""A model's configuration in the form of Triton's `ModelConfig`, as plain values for JSON and for the message."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from workbench.config import ModelConfig
from workbench.core.model import ModelStatus, Signature, TensorSpec
from workbench.core.runtime import runtime_of_platform
from workbench.core.triton_config import PREFIX

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
        "input": [_tensor(spec, batched) | {"optional": False} for spec in signature.inputs],
        "output": [_tensor(spec, batched) for spec in signature.outputs],
        "instance_group": [_instances(status)],
        "default_model_filename": runtime.model_file,
        "parameters": {
            PREFIX + field.name: {"string_value": _text(getattr(status.config, field.name))}
            for field in dataclasses.fields(ModelConfig)
            if field.name not in _EXPRESSED
        },
    }
    if batched:
        config["dynamic_batching"] = _batching(status.config)
    return config


def _tensor(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    dims = list(spec.shape[1:] if batched else spec.shape)
    datatype = "STRING" if spec.datatype == "BYTES" else spec.datatype
    tensor: dict[str, Any] = {"name": spec.name, "data_type": f"TYPE_{datatype}", "dims": dims or [1]}
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


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

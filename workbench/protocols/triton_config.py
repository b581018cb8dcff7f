"""A model's settings in the form that Triton gives a model's configuration, for clients that ask for one."""

from __future__ import annotations

from workbench.core.model import ModelStatus, TensorSpec
from workbench.core.tensor import BYTES


def triton_config(status: ModelStatus) -> dict[str, object]:
    """As JSON has it, with the field names of `model_config.proto`. Where a model is batched, `dims` leave its first
    axis out, and `max_batch_size` says what fits there."""
    signature = status.signature
    batched = status.max_batch_size > 0
    config: dict[str, object] = {
        "name": status.name,
        "platform": status.platform,
        "backend": "onnxruntime",
        "max_batch_size": status.max_batch_size,
        "input": [_tensor(spec, batched) for spec in signature.inputs] if signature else [],
        "output": [_tensor(spec, batched) for spec in signature.outputs] if signature else [],
        "instance_group": [_instances(status)],
        "default_model_filename": "model.onnx",
    }
    if batched:
        sizes = {"preferred_batch_size": list(status.config.batch_sizes)} if status.config.batch_sizes else {}
        delay_us = round(status.config.max_queue_delay_s * 1e6)
        levels = {
            "priority_levels": status.config.priority_levels,
            "default_priority_level": status.config.default_priority,
        }
        config["dynamic_batching"] = {**sizes, "max_queue_delay_microseconds": delay_us, **levels}
    return config


def _tensor(spec: TensorSpec, batched: bool) -> dict[str, object]:
    kind = "TYPE_STRING" if spec.datatype == BYTES else f"TYPE_{spec.datatype}"
    return {"name": spec.name, "data_type": kind, "dims": list(spec.shape[batched:])}


def _instances(status: ModelStatus) -> dict[str, object]:
    group: dict[str, object] = {"name": status.name, "count": status.config.instances}
    if status.device.startswith("cuda"):
        return {**group, "kind": "KIND_GPU", "gpus": [int(status.device.partition(":")[2] or 0)]}
    return {**group, "kind": "KIND_CPU"}

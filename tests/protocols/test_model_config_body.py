from __future__ import annotations

import dataclasses
from typing import Any

from google.protobuf.json_format import ParseDict

from workbench.config import ModelConfig
from workbench.core.model import ModelState, ModelStatus, Signature, TensorSpec
from workbench.protocols import grpc_metadata, pb
from workbench.protocols.model_config_body import triton_config

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 16)), TensorSpec("words", "BYTES", (-1,))), (TensorSpec("y", "INT64", (-1, -1, 4)),)
)


def status(max_batch_size: int = 8, device: str = "cpu", **settings: Any) -> ModelStatus:
    return ModelStatus(
        "mlp",
        "2",
        ModelState.READY,
        platform="onnxruntime_onnx",
        device=device,
        signature=SIGNATURE,
        max_batch_size=max_batch_size,
        formats={"x": "FORMAT_NCHW"},
        config=ModelConfig(max_batch_size=8, **settings),
    )


def test_a_batched_models_shapes_are_without_the_batch_axis() -> None:
    config = triton_config(status(), ["1", "2"])
    assert config["input"] == [
        {"name": "x", "data_type": "TYPE_FP32", "dims": [16], "optional": False, "format": "FORMAT_NCHW"},
        {
            "name": "words",
            "data_type": "TYPE_STRING",
            "dims": [1],
            "reshape": {"shape": []},
            "optional": False,
            "format": "FORMAT_NONE",
        },
    ]
    assert config["output"] == [{"name": "y", "data_type": "TYPE_INT64", "dims": [-1, 4]}]
    assert config["max_batch_size"] == 8
    assert config["version_policy"] == {"specific": {"versions": [1, 2]}}


def test_an_unbatched_models_shapes_are_whole() -> None:
    config = triton_config(status(0), ["2"])
    assert config["max_batch_size"] == 0
    assert config["input"][0]["dims"] == [-1, 16]
    assert "dynamic_batching" not in config


def test_queues_and_runners_are_told_in_tritons_fields() -> None:
    config = triton_config(
        status(max_queue_delay_s=0.002, queue_timeout_s=1.5, priority_levels=4, default_priority=3, instances=2), ["2"]
    )
    batching = config["dynamic_batching"]
    assert batching["max_queue_delay_microseconds"] == 2000
    assert batching["default_queue_policy"]["default_timeout_microseconds"] == 1_500_000
    assert (batching["priority_levels"], batching["default_priority_level"]) == (4, 3)
    assert config["instance_group"] == [{"name": "mlp", "count": 2, "kind": "KIND_CPU"}]


def test_a_model_on_a_gpu_names_it() -> None:
    group = triton_config(status(device="cuda:1"), ["2"])["instance_group"][0]
    assert (group["kind"], group["gpus"]) == ("KIND_GPU", [1])


def test_settings_that_triton_has_no_field_for_are_parameters() -> None:
    config = triton_config(status(batch_sizes=(1, 8), runners="latency"), ["2"])
    assert config["parameters"]["infer_workbench.batch_sizes"] == {"string_value": "1,8"}
    assert config["parameters"]["infer_workbench.runners"] == {"string_value": "latency"}


def test_it_fits_tritons_published_message() -> None:
    for each in (status(), status(0, "cuda:0")):
        message = ParseDict(triton_config(each, ["2"]), pb.message("ModelConfig")())
        assert message.input[0].name == "x"


def test_a_datatype_that_tritons_message_lacks_is_left_out_of_it() -> None:
    signature = Signature((TensorSpec("x", "FP8E4M3", (-1, 16)),), ())
    sent = grpc_metadata.model_config(dataclasses.replace(status(), signature=signature))
    (tensor,) = pb.message("ModelConfigResponse").FromString(sent).config.input
    assert (tensor.name, list(tensor.dims), tensor.data_type) == ("x", [16], 0)

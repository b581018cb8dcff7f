from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from workbench.config import ModelConfig, model_config
from workbench.core import triton_config as reader
from workbench.core.model import ModelState, ModelStatus, Signature, TensorSpec
from workbench.core.sequence_config import HONOURED_SEQUENCES
from workbench.core.triton_config import TritonConfig, WarmupInput, WarmupRequest, differences, from_json, read
from workbench.errors import InvalidInput, ModelError, WorkbenchError
from workbench.protocols import pb
from workbench.protocols.model_config_body import triton_config
from workbench.repository.pbtxt import parse

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"
SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "BYTES", (-1,)),))


def of(text: str, name: str = "") -> TritonConfig:
    return read(parse(text), name)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ('platform: "onnxruntime_onnx" backend: "onnxruntime"', {}),
        ("max_batch_size: 8", {"max_batch_size": 8}),
        ("max_batch_size: 0", {"batching": "never"}),
        ("dynamic_batching { }", {}),
        ("response_cache { enable: true }", {"cache": "64MB"}),
        ("response_cache { enable: false }", {"cache": "off"}),
        ("dynamic_batching { preferred_batch_size: [ 4, 8 ] }", {"preferred_batch_sizes": [4, 8]}),
        ('input { name: "x" dims: [ 2, 2 ] reshape { shape: [ 4 ] } }', {}),
        ('model_warmup { name: "w" inputs { key: "x" value { data_type: TYPE_FP32 dims: 3 zero_data: true } } }', {}),
        ("dynamic_batching { max_queue_delay_microseconds: 250 }", {"max_queue_delay_s": 0.00025}),
        (
            "dynamic_batching { priority_levels: 4 default_priority_level: 2 }",
            {"priority_levels": 4, "default_priority": 2},
        ),
        (
            "dynamic_batching { default_queue_policy { default_timeout_microseconds: 1500000 max_queue_size: 9 } }",
            {"queue_timeout_s": 1.5, "max_queue_size": 9},
        ),
        ("instance_group [ { count: 2 kind: KIND_CPU } ]", {"instances": 2, "device": "cpu"}),
        ("instance_group [ { count: 2 }, { } ]", {"instances": 3, "device": "auto"}),
        ("instance_group { kind: KIND_GPU }", {"instances": 1, "device": "cuda"}),
        ("instance_group { gpus: [ 1 ] }", {"instances": 1, "device": "cuda:1"}),
        (
            'parameters { key: "intra_op_thread_count" value: { string_value: "2" } }',
            {"intra_op_threads": "2"},
        ),
        ('parameters { key: "infer_workbench.runners" value { string_value: "latency" } }', {"runners": "latency"}),
    ],
)
def test_a_field_means_a_setting(text: str, settings: dict[str, Any]) -> None:
    found = of(text)
    assert (found.settings, found.notes, found.unknown) == (settings, (), ())
    assert isinstance(model_config(found.settings), ModelConfig)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dynamic_batching { preserve_ordering: true }", "preserve_ordering"),
        ("dynamic_batching { priority_levels: 99 }", "99 priority_levels"),
        ("dynamic_batching { default_queue_policy { timeout_action: DELAY } }", "DELAY"),
        ("instance_group [ { kind: KIND_CPU }, { kind: KIND_GPU } ]", "on one device"),
        ("optimization { graph { level: 1 } }", "optimization"),
        ('parameters { key: "execution_mode" value { string_value: "1" } }', "execution_mode"),
    ],
)
def test_what_is_not_honoured_is_said(text: str, said: str) -> None:
    (note,) = of(text).notes
    assert said in note


def test_warm_up_requests_are_read_from_text_and_json_alike() -> None:
    text = """model_warmup [
        { name: "w" batch_size: 2 count: 3 inputs [
            { key: "x" value: { data_type: TYPE_FP32 dims: [ 3 ] random_data: true } },
            { key: "s" value: { data_type: TYPE_STRING dims: [ 1 ] input_data_file: "words" } } ] } ]"""
    message = {
        "model_warmup": [
            {
                "name": "w",
                "batch_size": 2,
                "count": 3,
                "inputs": {
                    "x": {"data_type": "TYPE_FP32", "dims": ["3"], "random_data": True},
                    "s": {"dataType": "TYPE_STRING", "dims": [1], "inputDataFile": "words"},
                },
            }
        ]
    }
    inputs = (WarmupInput("x", "FP32", (3,), random=True), WarmupInput("s", "BYTES", (1,), file="words"))
    assert of(text).warmup == read(from_json(message)).warmup == (WarmupRequest("w", inputs, 2, 3),)


def test_what_nobody_knows_is_said_too() -> None:
    assert of("nonsense: 1 dynamic_batching { other: 2 }").unknown == ("nonsense", "dynamic_batching.other")


def test_what_says_nothing_is_not_spoken_of() -> None:
    found = of("optimization { } dynamic_batching { preserve_ordering: false preferred_batch_size: [ ] }")
    assert found.notes == found.unknown == ()


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ('backend: "tensorrt"', ModelError, "tensorrt"),
        ('platform: "pytorch_libtorch"', ModelError, "pytorch"),
        ("sequence_batching { } dynamic_batching { }", InvalidInput, "exclude each other"),
        ("ensemble_scheduling { step { } }", InvalidInput, "'' cannot name a model"),
        ('platform: "ensemble"', InvalidInput, 'platform: "ensemble" and ensemble_scheduling'),
        ('backend: "onnxruntime" ensemble_scheduling { }', InvalidInput, "a pipeline has 1 to 64 stages, got 0"),
        ("model_transaction_policy { decoupled: true }", ModelError, "decoupled"),
        ('name: "other"', InvalidInput, "name is 'other'"),
        ("max_batch_size: -1", InvalidInput, "max_batch_size"),
        ("max_batch_size: many", InvalidInput, "max_batch_size"),
        ("instance_group { kind: KIND_TPU }", InvalidInput, "KIND_TPU"),
        ('default_model_filename: "../x"', InvalidInput, "default_model_filename"),
        ('output { name: "y" label_filename: "/etc/passwd" }', InvalidInput, "label_filename"),
        ("input: 1", InvalidInput, "must be a message"),
        ("dynamic_batching { preferred_batch_size: 0 }", InvalidInput, "preferred_batch_size"),
        ('model_warmup { inputs { key: "x" value { dims: 3 } } }', InvalidInput, "data_type"),
        (
            'model_warmup { inputs { key: "x" value { data_type: TYPE_INT8 input_data_file: "../x" } } }',
            InvalidInput,
            "input_data_file",
        ),
    ],
)
def test_what_cannot_be_is_refused(text: str, kind: type[WorkbenchError], said: str) -> None:
    with pytest.raises(kind, match=said):
        of(text, "mine")


@pytest.mark.parametrize(
    ("policy", "setting"),
    [
        ("specific { versions: [ 3, 1 ] }", "specific:1,3"),
        ("latest { num_versions: 2 }", "latest:2"),
        ("latest { }", "latest:1"),
        ("all { }", "all"),
    ],
)
def test_a_version_policy_means_which_versions_stay_loaded(policy: str, setting: str) -> None:
    found = of(f"version_policy {{ {policy} }}")
    assert (found.settings["versions"], found.notes) == (setting, ())
    assert model_config(found.settings).versions == setting


def test_a_configuration_of_ours_that_comes_back_keeps_the_models_own_policy() -> None:
    said = of(
        'version_policy { specific { versions: [ 7 ] } } parameters { key: "infer_workbench.versions" '
        'value { string_value: "latest:3" } }'
    )
    assert said.settings["versions"] == "latest:3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 dims: 3 }', ""),
        ('input { name: "x" data_type: TYPE_FP32 dims: [ -1, 3 ] }', ""),
        ('max_batch_size: 4 output { name: "y" data_type: TYPE_STRING dims: 1 reshape { shape: [ ] } }', ""),
        ('max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 dims: 4 }', "said to be FP32"),
        ('input { name: "x" data_type: TYPE_INT8 dims: [ -1, 3 ] }', "said to be INT8"),
        ('input { name: "z" }', "'z'"),
    ],
)
def test_the_models_own_shapes_hold(text: str, said: str) -> None:
    found = " ".join(differences(of(text), SIGNATURE))
    assert said in found if said else not found


def test_what_the_service_answers_can_be_sent_back() -> None:
    config = ModelConfig(max_batch_size=8, instances=2, device="cpu", runners="latency", batch_sizes=(4, 8))
    status = ModelStatus(
        "m", "1", ModelState.READY, platform="onnxruntime_onnx", device="cpu", signature=SIGNATURE,
        max_batch_size=8, config=config,
    )  # fmt: skip
    found = read(from_json(triton_config(status)), "m")
    assert (found.notes, found.unknown) == ((), ())
    assert model_config(found.settings) == config
    assert not list(differences(found, SIGNATURE))


def test_protobufs_own_json_is_read() -> None:
    assert read(from_json({"maxBatchSize": 8, "dynamicBatching": {"maxQueueDelayMicroseconds": "100"}})).settings == {
        "max_batch_size": 8,
        "max_queue_delay_s": 0.0001,
    }


def test_every_field_of_tritons_is_known() -> None:
    known = reader.HONOURED.keys() | reader.PASSED_OVER.keys()
    assert {field.name for field in pb.message("ModelConfig").DESCRIPTOR.fields} <= known
    batching = reader.HONOURED_BATCHING.keys() | reader.PASSED_OVER.keys()
    assert {field.name for field in pb.message("ModelDynamicBatching").DESCRIPTOR.fields} <= batching
    sequences = HONOURED_SEQUENCES.keys() | {"iterative_sequence"}
    assert {field.name for field in pb.message("ModelSequenceBatching").DESCRIPTOR.fields} == sequences


def test_every_field_is_documented() -> None:
    section = DOCS.read_text(encoding="utf-8").split("## Triton's config.pbtxt")[1]
    documented = dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", section, re.MULTILINE))
    assert documented == {
        **reader.HONOURED,
        **{f"dynamic_batching.{name}": text for name, text in reader.HONOURED_BATCHING.items()},
        **{f"sequence_batching.{name}": text for name, text in HONOURED_SEQUENCES.items()},
        **{name: f"not honoured: {text}" for name, text in reader.PASSED_OVER.items()},
    }


FIELDS = st.sampled_from(
    [*reader.HONOURED, *reader.HONOURED_BATCHING, *HONOURED_SEQUENCES, "kind", "count", "name", "dims", "key", "value"]
)
VALUES = st.recursive(
    st.integers(-5, 5) | st.text(max_size=3) | st.booleans() | st.none() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=3),
)


def test_any_json_is_read_or_refused() -> None:
    outcomes = {"read": 0, "refused": 0}

    @hypothesis_settings(max_examples=300)
    @given(st.dictionaries(FIELDS, VALUES, min_size=1, max_size=4))
    def check(config: dict[str, Any]) -> None:
        try:
            read(from_json(config))
            outcomes["read"] += 1
        except WorkbenchError:
            outcomes["refused"] += 1

    check()
    assert min(outcomes.values()) >= 10, outcomes


def test_the_layout_of_images_is_kept_for_clients() -> None:
    images = 'input { name: "x" data_type: TYPE_FP32 format: FORMAT_NHWC dims: [ 8, 8, 3 ] }'
    others = 'input { name: "n" data_type: TYPE_FP32 format: FORMAT_NONE dims: [ 8 ] } input { name: "m" dims: [ 8 ] }'
    assert read(parse(f"{images} {others}")).formats == {"x": "FORMAT_NHWC"}

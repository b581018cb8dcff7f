from __future__ import annotations

from typing import Any

import pytest

from workbench.config import ModelConfig, model_config
from workbench.core.model import ModelState, ModelStatus, Signature
from workbench.core.sequence_config import Control, ImplicitStateConfig, SequenceConfig
from workbench.core.triton_config import TritonConfig, from_json, read
from workbench.errors import InvalidInput, ModelError, WorkbenchError
from workbench.protocols.model_config_body import triton_config
from workbench.repository.pbtxt import parse

START = 'control_input { name: "S" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } }'
STATE = 'input_name: "A" output_name: "B" data_type: TYPE_FP32 dims: [ 2, -1 ]'
BEGIN = 'name: "b" data_type: TYPE_FP32 dims: [ 2, 3 ]'


def of(sequences: str, before: str = "max_batch_size: 8") -> TritonConfig:
    return read(parse(f"{before} sequence_batching {{ {sequences} }}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", SequenceConfig()),
        ("direct { }", SequenceConfig()),
        ("oldest { max_candidate_sequences: 4 }", SequenceConfig("oldest", candidates=4)),
        ("max_sequence_idle_microseconds: 2500000", SequenceConfig(max_idle_s=2.5)),
        ("max_sequence_idle_microseconds: 0", SequenceConfig(max_idle_s=1.0)),
        (START, SequenceConfig(controls=(Control("S", "START", "INT32"),))),
        (
            'control_input { name: "R" control { kind: CONTROL_SEQUENCE_READY fp32_false_true: [ -1, 0.5 ] } }'
            'control_input { name: "E" control { kind: CONTROL_SEQUENCE_END bool_false_true: [ true, false ] } }'
            'control_input { name: "C" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } }',
            SequenceConfig(
                controls=(
                    Control("R", "READY", "FP32", (-1, 0.5)),
                    Control("E", "END", "BOOL", (1, 0)),
                    Control("C", "CORRID", "BYTES"),
                )
            ),
        ),
        (
            f"state {{ {STATE} }} state {{ {STATE.replace('A', 'C').replace('B', 'D')}"
            f' initial_state {{ {BEGIN} data_file: "begin" }} }}',
            SequenceConfig(
                states=(
                    ImplicitStateConfig("A", "B", "FP32", (2, -1), (2, 1)),
                    ImplicitStateConfig("C", "D", "FP32", (2, -1), (2, 3), "begin"),
                )
            ),
        ),
    ],
)
def test_what_is_said_of_sequences(text: str, expected: SequenceConfig) -> None:
    assert of(text).sequences == expected


@pytest.mark.parametrize(
    ("text", "before", "expected"),
    [
        ("direct { }", "max_batch_size: 8", {"max_batch_size": 8}),
        ("direct { }", "max_batch_size: 0", {"batching": "never"}),
        ("direct { }", "", {"batching": "never"}),
        ("direct { max_queue_delay_microseconds: 500 }", "max_batch_size: 8", {"max_batch_size": 8}),
        (
            "direct { max_queue_delay_microseconds: 500 minimum_slot_utilization: 0.6 }",
            "max_batch_size: 8",
            {"max_batch_size": 8, "max_queue_delay_s": 0.0005, "preferred_batch_sizes": [5, 6, 7, 8]},
        ),
        (
            "oldest { preferred_batch_size: [ 2, 4 ] max_queue_delay_microseconds: 500 }",
            "max_batch_size: 8",
            {"max_batch_size": 8, "max_queue_delay_s": 0.0005, "preferred_batch_sizes": [2, 4]},
        ),
    ],
)
def test_a_strategy_means_settings(text: str, before: str, expected: dict[str, Any]) -> None:
    found = of(text, before)
    assert found.settings == expected and not found.notes
    assert isinstance(model_config(found.settings), ModelConfig)


def test_the_slots_of_a_strategy() -> None:
    assert SequenceConfig().slots(8, 2) == 16
    assert SequenceConfig().slots(0, 1) == 1
    assert SequenceConfig("oldest", candidates=100).slots(8, 2) == 200


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("iterative_sequence: true", ModelError, "calls itself again"),
        ("direct { } oldest { }", InvalidInput, "one of direct and oldest"),
        ("oldest { preferred_batch_size: 9 }", InvalidInput, "at most max_batch_size, 8"),
        ("direct { minimum_slot_utilization: 1.5 }", InvalidInput, "from 0.0 to 1.0"),
        (START + START, InvalidInput, "'S' is there more than once"),
        (START + START.replace('"S"', '"T"'), InvalidInput, "more than one control_input for CONTROL_SEQUENCE_START"),
        (START.replace('"S"', '""'), InvalidInput, "must have a name"),
        (START.replace("[ 0, 1 ]", "[ 0 ]"), InvalidInput, "exactly 2 values"),
        (START.replace("[ 0, 1 ]", "[ 0, 1 ] fp32_false_true: [ 0, 1 ]"), InvalidInput, "must have one of"),
        (START.replace("int32_false_true: [ 0, 1 ]", ""), InvalidInput, "must have one of"),
        (START.replace("[ 0, 1 ]", '[ 0, "x" ]'), InvalidInput, "numbers or true and false"),
        (START.replace("START int", "STOP int"), InvalidInput, "no control of kind"),
        (START.replace("START int32_false_true: [ 0, 1 ]", "CORRID"), InvalidInput, "data_type of UINT64"),
        ('state { input_name: "A" data_type: TYPE_FP32 }', InvalidInput, "input_name and an output_name"),
        ('state { input_name: "A" output_name: "B" }', InvalidInput, "no data_type"),
        (f"state {{ {STATE} }} state {{ {STATE} }}", InvalidInput, "more than one state"),
        (f"state {{ {STATE} initial_state {{ {BEGIN} }} }}", InvalidInput, "zero_data or a data_file"),
        (f'state {{ {STATE} initial_state {{ {BEGIN} data_file: "../x" }} }}', InvalidInput, "without a folder"),
        (
            f"state {{ {STATE} initial_state {{ {BEGIN.replace('FP32', 'INT8')} zero_data: true }} }}",
            InvalidInput,
            "the state's data_type, FP32",
        ),
        (
            f"state {{ {STATE} initial_state {{ {BEGIN.replace('2, 3', '3, 3')} zero_data: true }} }}",
            InvalidInput,
            r"dims \[3, 3\]",
        ),
        (
            f"state {{ {STATE} initial_state {{ {BEGIN.replace('name', 'x')} zero_data: true }} }}",
            InvalidInput,
            "must have a name",
        ),
    ],
)
def test_what_cannot_be_is_refused(text: str, kind: type[WorkbenchError], said: str) -> None:
    with pytest.raises(kind, match=said):
        of(text)


def test_what_is_not_honoured_or_known_is_said() -> None:
    found = of(f"state {{ {STATE} use_growable_memory: true }} oldest {{ preserve_ordering: true other: 1 }} more: 1")
    assert [note.split(" is not")[0] for note in found.notes] == [
        "sequence_batching.oldest.preserve_ordering",
        "sequence_batching.state.use_growable_memory",
    ]
    assert found.unknown == ("sequence_batching.more", "sequence_batching.oldest.other")


@pytest.mark.parametrize(
    "sequences",
    [
        f"max_sequence_idle_microseconds: 5 {START} oldest {{ max_candidate_sequences: 3 preferred_batch_size: 4 }}",
        "direct { max_queue_delay_microseconds: 500 minimum_slot_utilization: 0.5 }"
        'control_input { name: "E" control { kind: CONTROL_SEQUENCE_END bool_false_true: [ true, false ] } }'
        'control_input { name: "C" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT32 } }'
        f'state {{ {STATE} initial_state {{ {BEGIN} data_file: "begin" }} }}',
    ],
)
def test_what_the_service_answers_can_be_sent_back(sequences: str) -> None:
    said = of(sequences)
    config = model_config(said.settings)
    status = ModelStatus(
        "m", "1", ModelState.READY, signature=Signature((), ()), max_batch_size=8, config=config,
        sequence_config=said.sequences,
    )  # fmt: skip
    found = read(from_json(triton_config(status)))
    assert found.sequences == said.sequences
    assert (found.notes, found.unknown) == ((), ())
    assert model_config(found.settings).preferred_batch_sizes == config.preferred_batch_sizes

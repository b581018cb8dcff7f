from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InvalidInput
from workbench.protocols import pb
from workbench.repository.pbtxt import Word, parse, text_of

CONFIG = """
# A comment.
name: "resnet"  platform: 'onnxruntime_' "onnx"
max_batch_size: 8
input [
  { name: "x" data_type: TYPE_FP32 dims: [ 3, -1, 0x10 ] reshape { shape: [ ] } },
  { name: "y", data_type: TYPE_STRING; dims: 1 dims: 2 }
]
instance_group < count: 2 kind: KIND_CPU >
dynamic_batching { }
parameters { key: "a" value: { string_value: "1\\n\\"\\302\\265" } }
buckets: [ .5, 1e3, -2.5f, - 7 ]
"""


def test_a_config_is_read_as_people_write_it() -> None:
    found: Any = parse(CONFIG)
    assert found["name"] == ["resnet"] and found["platform"] == ["onnxruntime_onnx"]
    assert found["max_batch_size"] == [8]
    first, second = found["input"]
    assert first["dims"] == [3, -1, 16] and first["reshape"] == [{"shape": []}]
    assert isinstance(first["data_type"][0], Word) and second["dims"] == [1, 2]
    assert found["instance_group"] == [{"count": [2], "kind": ["KIND_CPU"]}]
    assert found["dynamic_batching"] == [{}]
    assert found["parameters"][0]["value"] == [{"string_value": ['1\n"µ']}]
    assert found["buckets"] == [0.5, 1000.0, -2.5, -7]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name: "x"\nmax_batch_size 8', "line 2, column 16: ':' is missing after max_batch_size"),
        ("input [ { name: 1 }", r"line 1, column 20: ',' or '\]' is missing in the list of input"),
        ("a { b: 1", "the text ends where '}' is missing"),
        ("a: }", "a value is missing after a"),
        ("a: 1 }", "'}' is found where a field's name is expected"),
        ('a: "open\n"', "line 1, column 4"),
        ("a: 12abc", "line 1, column 4"),
        ("a: 09", "no number"),
        ('a: "\\xzz"', "escape"),
        ('a: "\\377"', "UTF-8"),
        ("\x00", "is not expected"),
        ("a {" * 40, "nested more than 32 deep"),
        ("a:1 " * 50_001, "more than 50000 fields"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        parse(text)


def test_any_text_is_read_or_refused() -> None:
    outcomes = {"read": 0, "refused": 0}
    fields = st.lists(st.sampled_from(["a: 1", "b {", "}", 'a: "x"', "b: [1,", "]", "#", "-9", ";"]), min_size=1)

    whole = st.lists(st.sampled_from(["a: 1", "b { }", 'a: "x"', "b: [1, 2]", "b { a: -9; }"]), min_size=1)
    broken = st.text(max_size=60) | st.text("ab:{}[]<>\"'\\ \n#,;-.019xe", max_size=60) | fields.map(" ".join)

    @settings(max_examples=300)
    @given(broken | whole.map(" ".join))
    def check(text: str) -> None:
        try:
            outcomes["read"] += bool(parse(text))
        except InvalidInput:
            outcomes["refused"] += 1

    check()
    assert min(outcomes.values()) >= 10, outcomes


def _plain(message: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for field, value in message.ListFields():
        values = list(value) if field.is_repeated else [value]
        if field.message_type is not None:
            values = [_plain(each) for each in values]
        elif field.enum_type is not None:
            values = [field.enum_type.values_by_number[each].name for each in values]
        found[field.name] = values
    return found


NAMES = st.text(max_size=8)


@given(
    st.builds(
        dict,
        name=NAMES,
        max_batch_size=st.integers(0, 1 << 20),
        default_model_filename=NAMES,
        input=st.lists(
            st.builds(
                dict,
                name=NAMES,
                dims=st.lists(st.integers(-1, 1 << 60), max_size=4),
                data_type=st.sampled_from(["TYPE_FP32", "TYPE_STRING"]),
                optional=st.booleans(),
            ),
            max_size=3,
        ),
        dynamic_batching=st.builds(dict, max_queue_delay_microseconds=st.integers(1, 1 << 60)),
    )
)
def test_it_reads_what_protobuf_writes(fields: dict[str, Any]) -> None:
    message = pb.message("ModelConfig")(**fields)
    read = parse(text_format.MessageToString(message))
    expected = _plain(message)
    for each in expected.get("input", []):
        if "optional" in each:
            each["optional"] = ["true"]
    assert read == expected
    assert parse(text_of(read)) == read


@pytest.mark.parametrize("text", ["a{" * 500_000, "a:[" + "1," * 400_000, 'a:"x"\n' * 110_000, "a " * 400_000])
def test_a_text_of_a_million_words_is_not_read_to_its_end(text: str) -> None:
    with pytest.raises(InvalidInput, match="there are more than 300000 words, numbers and marks"):
        parse(text)

"""What an ONNX file's metadata say of the columns of its scores; anybody may write them."""

import json

import pytest

from workbench.core.class_names import MAX_CLASSES, MAX_NAME, decode_classes, encode_classes


def test_classes_are_told_by_their_text() -> None:
    assert decode_classes(encode_classes("scores", [0, 1.5, "Köln", True])) == {"scores": ("0", "1.5", "Köln", "True")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        '{"scores": 3}',
        '{"scores": [1]}',
        "[" * 100_000,
        json.dumps({"scores": ["x" * (MAX_NAME + 1)]}),
        json.dumps({"scores": ["x"] * (MAX_CLASSES + 1)}),
    ],
)
def test_what_is_no_such_record_says_nothing(text: str) -> None:
    assert decode_classes(text) == {}

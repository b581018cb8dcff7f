from __future__ import annotations

import pytest

from workbench.core.model import Signature, TensorSpec
from workbench.core.table_columns import encode_columns, with_columns

SIGNATURE = Signature((TensorSpec("age", "FP32", (-1, 1)), TensorSpec("city", "BYTES", (-1, 1))), ())


def test_what_is_said_of_columns_is_in_the_signature() -> None:
    found = with_columns(SIGNATURE, encode_columns({"city": "<NA>"}, ["id"], {"age": ["a", "b"]}))
    assert [spec.columns for spec in found.inputs] == [("a", "b"), ()]
    assert [spec.missing for spec in found.inputs] == ["", "<NA>"]
    assert found.ignored == ("id",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"missing": {"age": 3}, "ignored": [], "columns": {}}',
        '{"missing": {}, "ignored": 3, "columns": {}}',
        '{"missing": {}, "ignored": [], "columns": {"age": 3}}',
        "[" * 9999,
    ],
)
def test_metadata_of_another_form_are_passed_over(text: str) -> None:
    assert with_columns(SIGNATURE, text) == SIGNATURE

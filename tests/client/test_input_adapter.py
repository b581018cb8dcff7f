from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pytest

from workbench.client.input_adapter import adapt, split
from workbench.core.model import Signature, TensorSpec
from workbench.errors import InvalidInput


def signature(*inputs: tuple[str, str, tuple[int, ...]]) -> Signature:
    return Signature(tuple(TensorSpec(*each) for each in inputs), (TensorSpec("y", "FP32", (-1, 1)),))


ROWS = signature(("X", "FP32", (-1, 3)))
COLUMNS = signature(("age", "FP32", (-1, 1)), ("city", "BYTES", (-1, 1)))


def fitted(value: object, datatype: str = "FP32", shape: tuple[int, ...] = (-1, 3)) -> Any:
    return adapt(value, signature(("X", datatype, shape)), "m").inputs["X"]


def refused(value: object, of: Signature = ROWS) -> str:
    with pytest.raises(InvalidInput) as caught:
        adapt(value, of, "m")
    assert "\n" not in caught.value.message
    return caught.value.message


TABLE = Signature(
    (
        TensorSpec("age", "FP32", (-1, 1), missing="NaN"),
        TensorSpec("city", "BYTES", (-1, 1), missing="<NA>"),
        TensorSpec("plan", "BYTES", (-1, 1), missing="refused"),
        TensorSpec("fare", "FP32", (-1, 1), missing="refused"),
    ),
    (),
    ignored=("id",),
)


def rows(**columns: Any) -> dict[str, Any]:
    return {"age": [40, 50], "city": ["Rom", "Bern"], "plan": ["a", "b"], "fare": [1.5, 2], **columns}


def inputs(value: object) -> dict[str, list[Any]]:
    return {name: array.reshape(-1).tolist() for name, array in adapt(value, TABLE, "m").inputs.items()}


# What is done for the user


@pytest.mark.parametrize(
    "value",
    [
        np.array([[1.0, 2.0, 3.0]]),
        np.array([1.0, 2.0, 3.0]),
        [1, 2, 3],
        [[1, 2, 3]],
        (1.0, 2, True),
        np.array([1, 2, 3], dtype=object),
        np.array([[1, 2, 3]], dtype=np.uint8),
        np.asfortranarray([[1.0, 2.0, 3.0]]),
        pd.DataFrame({"a": [1.0], "b": [2], "c": [3]}),
        pd.Series([1.0, 2.0, 3.0]),
        {"X": [[1, 2, 3]]},
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_row_in_many_shapes_becomes_one_row_of_the_models_type(value: object) -> None:
    array = adapt(value, ROWS, "m").inputs["X"]
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, [[1, 2, 3]] if not isinstance(value, tuple) else [[1, 2, 1]])


def test_a_dataframes_columns_are_taken_in_order_and_its_index_is_kept() -> None:
    frame = pd.DataFrame({"z": [1.0, 4.0], "a": [2.0, 5.0], "m": [3.0, 6.0]}, index=["first", "second"])
    adapted = adapt(frame, ROWS, "m")
    np.testing.assert_array_equal(adapted.inputs["X"], [[1, 2, 3], [4, 5, 6]])
    assert list(adapted.index) == ["first", "second"]


def test_a_nullable_columns_missing_value_becomes_nan() -> None:
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [1, 2], "c": [1, 2]})
    assert np.isnan(adapt(frame, ROWS, "m").inputs["X"][1, 0])


def test_a_dataframe_goes_by_name_into_a_model_with_an_input_a_column() -> None:
    frame = pd.DataFrame({"city": ["Bern", "Zürich"], "age": [30, 40]})
    inputs = adapt(frame, COLUMNS, "m").inputs
    assert list(inputs) == ["age", "city"]
    assert inputs["age"].tolist() == [[30.0], [40.0]]
    assert inputs["city"].tolist() == [[b"Bern"], ["Zürich".encode()]]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA], ids=str)
def test_a_missing_value_is_sent_as_the_model_takes_it(missing: Any) -> None:
    given = rows(age=[missing, 50], city=["Rom", missing])
    for value in (given, pd.DataFrame(given), [{name: given[name][row] for name in given} for row in (0, 1)]):
        found = inputs(value)
        assert np.isnan(found["age"][0]) and found["age"][1] == 50
        assert found["city"] == [b"Rom", b"<NA>"]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["Rom", None]),
        pd.Series(["Rom", None], dtype=object),
        pd.Series(["Rom", None], dtype="category"),
        pd.Series(["Rom", pd.NA], dtype="string"),
    ],
    ids=["str", "object", "category", "string"],
)
def test_a_text_column_of_every_dtype_may_have_missing_values(column: Any) -> None:
    assert inputs(pd.DataFrame(rows(city=column)))["city"] == [b"Rom", b"<NA>"]
    assert inputs(pd.DataFrame(rows(city=column.mask(column == "Rom"))))["city"] == [b"<NA>", b"<NA>"]


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean"])
def test_a_nullable_column_of_numbers_goes_by_name_too(dtype: str) -> None:
    found = inputs(pd.DataFrame(rows(age=pd.array([1, None], dtype=dtype))))["age"]
    assert found[0] == 1 and np.isnan(found[1])


def test_one_row_of_a_dataframe_and_columns_that_are_not_read_just_work() -> None:
    frame = pd.DataFrame(rows(id=[7, 8]))
    first = {"age": [40], "city": [b"Rom"], "plan": [b"a"], "fare": [1.5]}
    assert inputs(frame.iloc[0]) == inputs(frame[:1]) == inputs(dict(frame.iloc[0])) == first
    assert list(adapt(frame, TABLE, "m").index) == [0, 1]


def test_a_missing_value_where_the_model_knows_none_is_refused_with_row_and_column() -> None:
    for column, value in (("plan", ["a", None]), ("fare", [1.0, np.nan]), ("fare", [1.0, None])):
        says = f"row 1 of '{column}' is missing, and the model was trained without missing values there"
        assert says in refused(rows(**{column: value}), TABLE)
        assert says in refused(pd.DataFrame(rows(**{column: value})), TABLE)


WHOLE = Signature((TensorSpec("X", "FP32", (-1, 2), columns=("age", "fare")),), (), ignored=())


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame({"fare": [1.5], "age": [40]}),
        pd.DataFrame({"fare": [1.5], "age": [40]}).iloc[0],
        {"fare": 1.5, "age": 40},
        {"fare": [1.5], "age": [40]},
        [{"fare": 1.5, "age": 40}],
        pd.DataFrame([[40, 1.5]]),
        [40, 1.5],
    ],
    ids=["frame", "row", "dict of values", "dict of lists", "records", "no names", "list"],
)
def test_columns_of_a_table_taken_as_a_whole_are_put_in_the_models_order(value: Any) -> None:
    assert adapt(value, WHOLE, "m").inputs["X"].tolist() == [[40, 1.5]]


def test_a_table_taken_as_a_whole_with_other_columns_is_refused_with_their_names() -> None:
    says = "the columns of 'm' are 'age', 'fare'; missing: 'fare'; unknown: 'fares'; did you mean 'fare' for 'fares'?"
    assert refused(pd.DataFrame({"fares": [1.5], "age": [40]}), WHOLE) == says
    assert refused({"fares": [1.5], "age": [40]}, WHOLE) == says
    assert "unknown: 'id'; drop the others first" in refused(pd.DataFrame({"fare": [1], "age": [4], "id": [1]}), WHOLE)


def test_rows_with_other_columns_than_the_rest_are_refused() -> None:
    records = [{"age": 1, "city": "Rom", "plan": "a", "fare": 1}, {"age": 1, "plan": "a", "fare": 1}]
    assert refused(records, TABLE) == "row 1 has no 'city', which other rows have"


def test_a_dict_of_single_values_is_one_row() -> None:
    adapted = adapt({"age": 30, "city": "Bern"}, COLUMNS, "m")
    assert adapted.rows == 1
    assert adapted.inputs["city"].tolist() == [[b"Bern"]]


def test_pandas_strings_become_bytes() -> None:
    texts = pd.Series(["a", "b"], dtype="string")
    assert fitted(texts, "BYTES", (-1,)).tolist() == [b"a", b"b"]


@pytest.mark.parametrize("datatype", ["FP32", "BF16"])
def test_a_tensor_of_torch_keeps_its_values_also_in_bfloat16(datatype: str) -> None:
    import torch

    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        rows = torch.tensor([[0.5, -1.25, 3.0]], dtype=dtype, requires_grad=True)
        assert fitted(rows, datatype).tolist() == [[0.5, -1.25, 3.0]]


def test_an_image_gains_a_fixed_batch_axis_of_one() -> None:
    assert fitted(np.zeros((3, 8, 8)), "FP32", (1, 3, 8, 8)).shape == (1, 3, 8, 8)


def test_nan_and_infinity_pass_as_they_are() -> None:
    assert np.isnan(fitted([np.nan, np.inf, 1.0])[0, 0])
    assert np.isinf(fitted([np.nan, np.inf, 1.0])[0, 1])


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP64"])
def test_floats_become_every_width(datatype: str) -> None:
    expected = {"FP16": np.float16, "BF16": ml_dtypes.bfloat16, "FP64": np.float64}[datatype]
    assert fitted([1.0, 2.0, 3.0], datatype).dtype == expected


def test_whole_numbers_change_their_width_where_they_fit() -> None:
    assert fitted(np.array([1, 2, 127]), "INT8").dtype == np.int8
    assert fitted(np.array([0, 1, 2**64 - 1], dtype=np.uint64), "UINT64").dtype == np.uint64
    assert fitted(np.array([0, 1, 1]), "BOOL").dtype == np.bool_


# What is refused


@pytest.mark.parametrize(
    ("value", "datatype", "says"),
    [
        ([1.0, 1e300, 2.0], "FP32", "1e+300 at [1] does not fit FP32"),
        ([1.0, 70000.0, 2.0], "FP16", "70000.0 at [1] does not fit FP16"),
        ([1, 128, 2], "INT8", "128 at [1] does not fit INT8"),
        ([1, -1, 2], "UINT8", "-1 at [1] does not fit UINT8"),
        (np.array([0, 0, 2**64 - 1], np.uint64), "INT64", "18446744073709551615 at [2] does not fit INT64"),
        ([1.0, 2.0, 3.0], "INT64", "takes whole numbers"),
        ([1, 2, 3], "BOOL", "takes True and False"),
        (["a", "b", "c"], "FP32", "takes numbers; text was given ('a')"),
        ([1, None, 3], "FP32", "None was given at index 1"),
        (None, "FP32", "takes numbers; None was given"),
        ([[1, 2, 3], [1, None, 3]], "FP32", "None was given at row 1, column 1"),
        (object(), "FP32", "an object was given"),
        ([1, 2**70, 3], "FP32", "does not fit 64 bits"),
        (np.array([1j, 2, 3]), "FP32", "an array of complex128"),
        (np.array(["2020-01-01"] * 3, dtype="datetime64[D]"), "FP32", "datetime64"),
        ([1, 2, 3], "BYTES", "takes text"),
        (np.array(["a", None, "b"], dtype=object), "BYTES", "None was given at index 1"),
        ([[1, 2, 3], [1, 2]], "FP32", "rows of different lengths"),
        (object(), "FP32", "takes numbers"),
    ],
    ids=lambda given: "an object" if type(given) is object else str(given),
)
def test_a_value_that_does_not_fit_is_refused_with_what_and_where(value: object, datatype: str, says: str) -> None:
    assert says in refused(value, signature(("X", datatype, (-1, 3))))


def test_a_wrong_shape_is_refused_with_both_shapes() -> None:
    message = refused(np.zeros((2, 5)))
    assert "X FP32[rows, 3]" in message
    assert "[2, 5]" in message
    assert "has 2 axes; an array of shape [1, 1, 1, 3]" in refused(np.zeros((1, 1, 1, 3)))


def test_a_dataframe_with_too_many_columns_is_told_which_it_has() -> None:
    assert "the columns 'a', 'b'" in refused(pd.DataFrame({"a": [1.0], "b": [2.0]}))


def test_a_dataframes_columns_of_text_are_named() -> None:
    assert "the columns 'b' hold none" in refused(pd.DataFrame({"a": [1.0], "b": ["x"], "c": [2.0]}))


def test_wrong_names_are_told_apart_with_what_was_meant() -> None:
    message = refused({"agee": [1], "city": ["Bern"]}, COLUMNS)
    assert "missing: 'age'" in message
    assert "unknown: 'agee'" in message
    assert "did you mean 'age' for 'agee'?" in message
    assert "drop the others" in refused(pd.DataFrame({"age": [1], "city": ["a"], "target": [0]}), COLUMNS)


def test_one_array_for_several_inputs_is_refused_with_their_names() -> None:
    said = "pass a DataFrame with these columns, or a dict with an array for each, not one ndarray"
    assert said in refused(np.zeros((2, 2)), COLUMNS)


def test_inputs_of_different_lengths_are_refused() -> None:
    assert "'age' has 1, 'city' has 2" in refused({"age": [1], "city": ["a", "b"]}, COLUMNS)


# Splitting


def test_rows_are_split_into_views_and_none_is_lost() -> None:
    rows = np.arange(10, dtype=np.float32).reshape(10, 1)
    parts = list(split({"X": rows}, 10, 4))
    assert [len(part["X"]) for part in parts] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([part["X"] for part in parts]), rows)
    assert all(np.shares_memory(part["X"], rows) for part in parts)


@pytest.mark.parametrize(("rows", "largest"), [(10, 0), (None, 4), (4, 4), (0, 4)])
def test_what_need_not_be_split_goes_as_one(rows: int | None, largest: int) -> None:
    assert len(list(split({"X": np.zeros((rows or 0, 1))}, rows, largest))) == 1


def test_a_signature_shows_itself_in_one_line() -> None:
    spec = TensorSpec("x", "FP32", (-1, 4))
    assert repr(spec) == "<TensorSpec x FP32[-1, 4]>"
    assert repr(Signature((spec,), (spec, spec))) == "<Signature x FP32[-1, 4] -> x FP32[-1, 4], x FP32[-1, 4]>"


def test_the_first_axes_of_an_unbatched_model_need_not_agree() -> None:
    of = signature(("a", "FP32", (-1,)), ("b", "FP32", (-1,)))
    value = {"a": [1, 2], "b": [1, 2, 3]}
    assert adapt(value, of, "m", batched=False).rows is None
    with pytest.raises(InvalidInput, match="need the same number of rows; 'a' has 2, 'b' has 3"):
        adapt(value, of, "m")

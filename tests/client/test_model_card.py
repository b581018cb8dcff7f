from __future__ import annotations

import dataclasses

import pytest

from workbench.client.model_card import described
from workbench.core.description import Description, Graph, RunTimes
from workbench.core.model import ModelState, ModelStatus
from workbench.errors import WorkbenchError
from workbench.protocols import control

GRAPH = Graph(
    {"Conv": 10, "Relu": 9, "Shape": 2, "ai.onnx.ml:<Odd>": 1},
    1_234_567,
    {"ai.onnx": 21, "ai.onnx.ml": 3},
    10,
    "torch 2",
)
DESCRIPTION = Description(
    ModelStatus("net", "3", ModelState.READY, device="cuda:0", size_bytes=4_900_000, routed=True),
    GRAPH,
    {"CUDAExecutionProvider": {"Conv": 10, "Relu": 9}, "CPUExecutionProvider": {"Shape": 2}},
    (RunTimes(((3, 8, 8),), {1: 0.004, 2: 0.005, 4: 0.012}), RunTimes(((3, 16, 16),), {1: 40e-6})),
    52_000_000,
)
UNKNOWN = Description(ModelStatus("bad", "1", ModelState.FAILED, reason="no model"))


def test_the_facts_are_the_files_and_the_services() -> None:
    card = described(DESCRIPTION)
    assert card.title == "net, version 3 (serving)"
    assert card["opset"] == "21, ai.onnx.ml 3 (IR version 10)"
    assert card["parameters"] == "1,234,567"
    assert card["operators"] == "22 nodes in the file: 10 Conv, 9 Relu, 2 Shape, 1 ai.onnx.ml:<Odd>"
    assert card["on disk"] == "4.9 MB"
    assert str(card["in memory"]).startswith("about 52.0 MB")
    assert str(card["runs on"]).startswith("CUDA: 19 of the 21 nodes left")
    assert str(card["runs on"]).endswith("; CPU: 2 (2 Shape)")
    assert card["run times"] == "1 row 40 µs, the most rows a second (25,000)"
    assert "written by" in repr(card)


def test_nodes_that_are_all_in_one_place_are_said_to_be() -> None:
    card = described(dataclasses.replace(DESCRIPTION, placement={"CPUExecutionProvider": {"Gemm": 2}}))
    assert str(card["runs on"]).startswith("CPU: all 2 nodes left")


def test_what_nobody_knows_is_not_made_up() -> None:
    card = described(UNKNOWN)
    assert card["state"] == "Failed: no model"
    assert "in memory" not in card.facts
    assert "parameters" not in card.facts
    assert card.df.empty
    assert card.run_times.empty
    assert "details" not in card._repr_html_()
    alone = described(dataclasses.replace(DESCRIPTION, memory_bytes=None))
    assert str(alone["in memory"]).startswith("not known: ")


def test_the_frames_have_an_operator_and_a_batch_size_a_row() -> None:
    card = described(DESCRIPTION)
    frame = card.df
    assert frame.loc["Conv"].tolist() == [10, 10, 0]
    assert frame.loc["Shape"].tolist() == [2, 0, 2]
    assert list(frame.columns) == ["in the file", "CUDAExecutionProvider", "CPUExecutionProvider"]
    times = card.run_times
    assert times["rows"].tolist() == [1, 2, 4, 1]
    assert times.loc[1, "rows_per_s"] == pytest.approx(400)
    assert times.loc[0, "shape"] == "[3, 8, 8]"


def test_the_html_folds_its_tables_and_escapes_names() -> None:
    html = described(DESCRIPTION)._repr_html_()
    assert html.count("<details>") == 3
    assert "&lt;Odd&gt;" in html
    assert "<Odd>" not in html


def test_a_description_travels_whole() -> None:
    for description in (DESCRIPTION, UNKNOWN):
        assert control.decode_description(control.encode_description(description)) == description


def test_an_answer_that_is_no_description_is_an_error_of_ours() -> None:
    with pytest.raises(WorkbenchError, match="could not be read"):
        control.decode_description({"model": {"name": "a"}})

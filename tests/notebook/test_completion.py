from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.notebook.commands import VERBS
from workbench.notebook.completion import Offer, offer

VARIABLES = ["X", "X_test", "clf"]


def found(line: str) -> Offer:
    offered = offer(line, lambda: ["digits", "resnet"], VARIABLES)
    assert offered is not None
    return offered


def offered(line: str) -> list[str]:
    return list(found(line).options)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "models" / "old ones").mkdir(parents=True)
    for name in ("models/my net.onnx", "models/notes.txt", "clf.onnx", ".hidden.onnx"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    yield


@pytest.mark.parametrize("line", ["%infer ", "  %infer ", "p = %infer ", "a, b = %infer ", "%infer help "])
def test_all_verbs_are_offered_where_a_verb_stands(line: str) -> None:
    assert offered(line) == list(VERBS)


@pytest.mark.parametrize("line", ["%infer pr", "p = %infer pr", "%infer help pr"])
def test_only_what_begins_as_typed_is_offered(line: str) -> None:
    assert found(line) == Offer("pr", ("predict",), "magic")


@pytest.mark.parametrize("line", ["%inference ", "x = 5 % infer ", "infer.", "print('%infer ", "%time "])
def test_other_lines_are_left_to_ipython(line: str) -> None:
    assert offer(line, list, VARIABLES) is None


@pytest.mark.parametrize("verb", ["load", "predict", "show", "unload", "set"])
def test_the_names_of_models_follow_a_verb_that_takes_one(verb: str) -> None:
    assert offered(f"%infer {verb} ") == ["digits", "resnet"]
    assert offered(f"%infer {verb} di") == ["digits"]


@pytest.mark.parametrize(
    "line", ["%infer status ", "%infer show digits ", "%infer nothing ", "%infer load m X --lod 1 "]
)
def test_nothing_is_offered_where_nothing_fits(line: str) -> None:
    assert offered(line) == []


def test_flags_are_those_of_the_verb_once_each() -> None:
    assert offered("%infer load digits clf -") == list(VERBS["load"].flags)
    assert offered("%infer predict digits X --") == ["--version", "--bg"]
    assert offered("%infer load digits clf --max-batch 8 --max") == []
    assert offered("%infer load digits clf --max-batch 8 --fo") == ["--force"]
    assert offered("%infer load digits clf ") == list(VERBS["load"].flags)
    assert offered("%infer bench digits --s") == ["--step", "--sine", "--speed", "--slo", "--seed", "--sweep"]
    assert offered("%infer bench digits --replay X_") == ["X_test"]


def test_on_top_of_a_cell_only_what_takes_a_value_is_offered() -> None:
    assert offered("%%infer ") == ["load", "predict", "function"]
    assert offered("%%infer predict d") == ["digits"]
    assert offered("%%infer predict digits ") == list(VERBS["predict"].flags)
    assert offered("%%infer predict digits -o X") == ["X", "X_test"]
    assert offered("%%infer predict digits --bg --") == ["--version"]


def test_a_flag_and_a_setting_offer_what_they_take() -> None:
    assert offered("%infer load digits clf --device ") == ["auto", "cpu", "cuda"]
    assert found("%infer load digits clf --device=cu") == Offer("cu", ("cuda",), "param")
    assert offered("%infer load digits clf --sample X_") == ["X_test"]
    assert offered("%infer set digits max_b") == ["max_batch=", "max_batch_size="]
    assert offered("%infer set digits max_batch=8 batching=") == ["auto", "proved", "always", "never"]
    assert found("%infer set digits batching=ne") == Offer("ne", ("never",), "param")


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("%infer predict digits --version ", ["1", "12"]),
        ("%infer predict digits --version=", ["1", "12"]),
        ("%infer show digits --version=12", ["12"]),
        ("%infer predict resnet X --version ", ["3"]),
        ("%infer predict --version ", []),
    ],
)
def test_a_version_is_one_of_the_models(line: str, options: list[str]) -> None:
    versions = {"digits": ["1", "12"], "resnet": ["3"]}
    offered = offer(line, list, VARIABLES, versions.__getitem__)
    assert offered is not None
    assert list(offered.options) == options


def test_the_notebooks_names_stand_in_an_expression() -> None:
    assert offered("%infer predict digits ") == VARIABLES
    assert offered("%infer predict digits X_") == ["X_test"]
    assert offered("%infer predict --version 2 digits cl") == ["clf"]


def test_a_source_is_a_name_a_folder_or_an_onnx_file() -> None:
    assert offered("%infer load digits ") == [*VARIABLES, "clf.onnx", "models/"]
    assert offered("%infer load digits cl") == ["clf", "clf.onnx"]
    assert found("%infer load digits models/my n") == Offer("models/my n", ("models/my net.onnx",), "path")
    assert found("%infer load digits 'models/o") == Offer("models/o", ("models/old ones/",), "path")


def test_inside_an_expression_python_completes() -> None:
    assert found("%infer predict digits X[:5].as") == Offer("X[:5].as", expression=True)
    assert found("%infer predict digits  f(a, X.") == Offer("f(a, X.", expression=True)
    assert found("%infer load digits clf.") == Offer("clf.", expression=True)


def test_a_service_is_asked_only_where_a_model_is_named() -> None:
    assert offer("%infer load digits clf --f", lambda: pytest.fail("asked"), VARIABLES) == Offer(
        "--f", ("--force",), "param"
    )

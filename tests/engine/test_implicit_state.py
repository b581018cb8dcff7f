from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import sequence_models as made
from workbench.core.messages import SequenceStep
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.triton_config import read
from workbench.engine.implicit_state import ImplicitState, state_bytes
from workbench.errors import ExecutionError
from workbench.repository.model_metadata import ModelMetadata
from workbench.repository.pbtxt import parse

SPECS = [TensorSpec(name, "INT32", (FREE, 1)) for name in ("INPUT", "START", "STATE", "OUTPUT", "NEW")]
SIGNATURE = Signature(tuple(SPECS[:3]), tuple(SPECS[3:]))


def states() -> ImplicitState:
    said = read(parse(made.config(made.control("START") + made.state())))
    return ImplicitState(ModelMetadata(triton=said), SIGNATURE)


def test_a_kept_state_does_not_keep_the_batch_that_it_came_from() -> None:
    batch = np.arange(64, dtype=np.int32).reshape(64, 1)
    state = states().taken({"NEW": batch[3:4]})
    assert state["STATE"].tolist() == [[3]] and not np.shares_memory(state["STATE"], batch)
    alone = np.array([[3]], np.int32)
    assert states().taken({"NEW": alone})["STATE"] is alone


def test_a_state_of_several_rows_is_an_error_of_the_model() -> None:
    with pytest.raises(ExecutionError, match=r"'NEW' came back with shape \[2, 1\] for one row"):
        states().taken({"NEW": np.zeros((2, 1), np.int32)})


def test_a_step_has_its_controls_and_the_state_before_it() -> None:
    given = {"INPUT": np.array([[7]], np.int32)}
    first = states().inputs(given, SequenceStep(1, start=True), None)
    assert {name: array.tolist() for name, array in first.items()} == {"INPUT": [[7]], "START": [[1]], "STATE": [[0]]}
    later = states().inputs(given, SequenceStep(1), {"STATE": np.array([[5]], np.int32)})
    assert (later["START"].tolist(), later["STATE"].tolist()) == ([[0]], [[5]])


def test_what_is_tried_has_a_row_of_each_control_for_each_row() -> None:
    filled = states().filled({"INPUT": np.zeros((3, 1), np.int32), "STATE": np.ones((3, 1), np.int32)})
    assert filled["START"].tolist() == [[0]] * 3 and filled["STATE"].tolist() == [[1]] * 3
    assert states().filled(filled) is filled


def test_the_bytes_of_strings_count() -> None:
    words = np.array([[b"four", b"seven"]], object)
    assert state_bytes({"a": np.zeros((1, 3), np.float32), "b": words}) == 12 + words.nbytes + 9
    assert state_bytes(None) == 0

"""A shadow over real processes: planted differences are found in their size; callers notice none of its faults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from tests import models
from tests.helpers.service_process import Serve, worker_of
from tests.helpers.waiting import until
from tests.server.real_service import serving
from workbench import connect
from workbench.api import Workbench
from workbench.client.shadow_results import ShadowReport
from workbench.errors import NotFound, WorkbenchError

ROWS = 10


def looked_up(entries: int, amount: float) -> ModelProto:
    """y is `amount` for the rows 0 to `entries` - 1 of a table; other indices fail in ONNX Runtime."""
    table = numpy_helper.from_array(np.full(entries, amount, np.float32), "table")
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    return models.model(
        [node], [models.value("x", "INT64", ["batch"])], [models.value("y", "FP32", ["batch"])], [table]
    )


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with serving(tmp_path, {"m": looked_up(ROWS, 1)}) as serve:
        yield serve


@pytest.fixture
def wb(serve: Serve) -> Iterator[Workbench]:
    """Beside version 1 there is a version 2, which answers a quarter more, and does not know the last row."""
    with connect(serve.published["url"], token_file=serve.published["token_file"]) as wb:
        wb.load("m", looked_up(ROWS - 1, 1.25), route=False)
        yield wb


def ask(wb: Workbench, row: int) -> None:
    answer = wb.predict("m", np.array([row]))
    assert (answer.version, answer.array.tolist()) == ("1", [1.0])


def settled(wb: Workbench, calls: int) -> ShadowReport:
    """What is told once no copy of so many calls waits."""
    until(lambda: wb.shadow("m").figures.chosen == calls and not wb.shadow("m").figures.waiting)
    return wb.shadow("m")


def test_callers_get_their_answers_and_what_was_planted_is_found(serve: Serve, wb: Workbench) -> None:
    with pytest.raises(NotFound, match="no calls of model 'm' are copied"):
        wb.shadow("m")
    assert "a shadow gets copies" in repr(wb.route("m", shadow={"2": 1.0}, keep_rows=3))
    for row in range(5):
        ask(wb, row)
    found = settled(wb, 5)
    (output,) = found
    assert (found.figures.compared, found.figures.failed, output.largest, output.relative) == (5, 0, 0.25, 0.25)
    assert len(found.examples) == 3
    assert {int(each.inputs["x"][0]) for each in found.examples} < set(range(5))
    assert (found.examples[0].serving["y"].tolist(), found.examples[0].shadow["y"].tolist()) == ([1.0], [1.25])
    assert found.df.loc[0, "largest"] == 0.25

    for _ in range(3):  # the shadow fails on it
        ask(wb, ROWS - 1)
    found = settled(wb, 8)
    assert found.figures.failed == 3
    assert found.figures.last_error

    worker = worker_of(serve)
    worker.kill()
    until(lambda: worker_of(serve).pid != worker.pid)
    until(lambda: has_shadow(wb))
    ask(wb, 0)
    until(lambda: wb.shadow("m").figures.compared)  # maybe twice: the client asks again where a model was replaced
    again = wb.shadow("m")
    assert again.figures.since > found.figures.since
    assert again.figures.keep_rows == 3

    wb.unload("m:2")
    ask(wb, 1)
    assert not has_shadow(wb)


def has_shadow(wb: Workbench) -> bool:
    try:
        return bool(wb.shadow("m").figures.version)
    except WorkbenchError:
        return False

"""Many callers send a row each at once, at default settings: each gets what ONNX Runtime gives for that row alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests import models
from tests.helpers.batching_situations import DEPENDENT, INDEPENDENT, Situation
from tests.helpers.row_truth import BareModel, nearly_equal
from tests.helpers.service_process import Serve
from workbench.api import Workbench, connect

CALLERS = 48
SITUATIONS = {f"situation-{number}": each for number, each in enumerate((*DEPENDENT, *INDEPENDENT))}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """All of them, as files in a model repository."""
    folder = tmp_path_factory.mktemp("batches")
    for name, situation in SITUATIONS.items():
        models.save(situation.model, folder / "repository" / name / "1" / "model.onnx")
    flags = ("--model-repository", str(folder / "repository"))
    with Serve(folder, *flags, environment={"INFER_WORKBENCH_TRIAL": "false"}) as serve:
        serve.ready()
        with connect(f"http://{serve.address}", serve.token) as wb:
            yield wb


def answers_of_their_own(wb: Workbench, name: str, situation: Situation) -> int:
    """How many callers got another answer than their row's own."""
    run, rng = BareModel(situation.model), np.random.default_rng(1)
    rows = [{"x": situation.row(rng, caller)} for caller in range(CALLERS)]
    calls = [wb.submit(name, row) for row in rows]
    wrong = 0
    for row, call in zip(rows, calls, strict=True):
        found, expected = call.result(timeout=60), run(row)
        wrong += not all(nearly_equal(expected[output], found[output]) for output in expected)
    return wrong


@pytest.mark.parametrize("name", SITUATIONS, ids=[each.name for each in SITUATIONS.values()])
def test_each_caller_gets_the_answer_of_its_own_row(name: str, served: Workbench) -> None:
    situation = SITUATIONS[name]
    assert answers_of_their_own(served, name, situation) == 0, served[name].status.batching
    batched = served[name].status.batching.startswith("batched")
    assert batched == (situation in INDEPENDENT), served[name].status.batching

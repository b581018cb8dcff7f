from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from tests.helpers.exporter_imports import import_exporter
from workbench.convert.pytorch.index_guard import refuse_negative_indices, translations
from workbench.errors import InvalidInput
from workbench.runtimes.ort_errors import run_error

SIZE = 5
GOOD = torch.tensor([[0, 4], [3, 1]])
BAD = torch.tensor([[0, -1], [3, 1]])


class Looked(nn.Module):
    def __init__(self, look: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.table = nn.Embedding(SIZE, 3)
        self.look = look

    def forward(self, index: torch.Tensor) -> torch.Tensor:
        return self.look(self.table.weight, index)


def along(weight: torch.Tensor) -> torch.Tensor:
    return weight.T[:2]


REFUSING: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "embedding": lambda weight, index: torch.nn.functional.embedding(index, weight),
    "embedding of int32": lambda weight, index: torch.nn.functional.embedding(index.to(torch.int32), weight),
    "embedding twice": lambda weight, index: (
        torch.nn.functional.embedding(index, weight) + torch.nn.functional.embedding(index, 2 * weight)
    ),
    "index_select": lambda weight, index: torch.index_select(weight, 0, index.reshape(-1)),
    "gather": lambda weight, index: torch.gather(along(weight), 1, index),
    "one_hot": lambda weight, index: torch.nn.functional.one_hot(index, SIZE) * 2,
    "index_add": lambda weight, index: weight.index_add(0, index.reshape(-1), torch.ones(4, 3), alpha=0.5),
    "index_add along the other axis": lambda weight, index: weight.T.clone().index_add(-1, index[0], torch.ones(3, 2)),
    "scatter": lambda weight, index: along(weight).clone().scatter(1, index, 1.0),
    "scatter_add": lambda weight, index: along(weight).clone().scatter_add(1, index, torch.ones(2, 2)),
}

COUNTING_FROM_THE_END: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "a subscript": lambda weight, index: weight[index],
    "take": torch.take,
}


def exported(module: nn.Module, folder: Path) -> Callable[[torch.Tensor], np.ndarray]:
    import_exporter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its parts
        program = torch.onnx.export(
            module, (GOOD,), dynamo=True, opset_version=20, verbose=False, custom_translation_table=translations()
        )
    assert program is not None
    refuse_negative_indices(program.model)
    program.save(folder / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda index: np.asarray(session.run(None, {name: index.numpy()})[0])


@pytest.mark.parametrize("case", REFUSING)
def test_a_negative_index_is_refused_where_torch_refuses_it(case: str, tmp_path: Path) -> None:
    module = Looked(REFUSING[case]).eval()
    with torch.no_grad():
        run = exported(module, tmp_path)
        np.testing.assert_allclose(run(GOOD), module(GOOD), atol=1e-6)
        with pytest.raises((IndexError, RuntimeError)):
            module(BAD)
    with pytest.raises(Exception, match=r"[Oo]ut of") as refused:  # ONNX Runtime's, of several classes
        run(BAD)
    error = run_error(refused.value)
    assert isinstance(error, InvalidInput)
    assert "-2147483648" not in error.message


@pytest.mark.parametrize("case", COUNTING_FROM_THE_END)
def test_a_negative_index_counts_from_the_end_where_it_does_in_torch(case: str, tmp_path: Path) -> None:
    module = Looked(COUNTING_FROM_THE_END[case]).eval()
    with torch.no_grad():
        np.testing.assert_allclose(exported(module, tmp_path)(BAD), module(BAD), atol=1e-6)

"""The operators that are said to end the process on an empty input do: where one no longer does, its entry can go."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests import models
from workbench.core.onnx_operators import ABORTING_OPERATORS

RUN = """
import pathlib, resource, sys
import numpy as np
from workbench.config import ModelConfig
from workbench.runtimes.onnx import open_onnx
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
session = open_onnx(pathlib.Path(sys.argv[1]), ModelConfig(device="cpu"))
sizes = [int(size) for size in sys.argv[2].split(",")]
session.run({"x": np.zeros(sizes, np.float32)}, [session.signature.outputs[0].name])
"""


def of(
    operator: str, sizes: tuple[int, ...], weights: dict[str, tuple[int, ...]], **attributes: object
) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(np.ones(dims, np.float32), name) for name, dims in weights.items()]
    node = helper.make_node(operator, ["x", *weights], ["y"], **attributes)
    inputs = [models.value("x", "FP32", [None] * len(sizes))]
    return models.model([node], inputs, [onnx.ValueInfoProto(name="y")], constants)


ENDING = {
    "LSTM": ((3, 0, 2), {"w": (1, 12, 2), "r": (1, 12, 3)}, {"hidden_size": 3}),
    "GRU": ((0, 1, 2), {"w": (1, 9, 2), "r": (1, 9, 3)}, {"hidden_size": 3}),
    "ConvTranspose": ((1, 1, 0, 4, 5), {"w": (1, 2, 3, 3, 3)}, {}),
    "Unique": ((3, 0), {}, {"axis": 0}),
}


@pytest.mark.long
@pytest.mark.parametrize("operator", ENDING)
def test_an_operator_that_is_kept_from_empty_inputs_needs_it(tmp_path: Path, operator: str) -> None:
    assert operator in ABORTING_OPERATORS
    sizes, weights, attributes = ENDING[operator]
    path = models.save(of(operator, sizes, weights, **attributes), tmp_path / "model.onnx")
    command = [sys.executable, "-c", RUN, str(path), ",".join(map(str, sizes))]
    status = subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode
    assert status in (-signal.SIGABRT, -signal.SIGSEGV), status

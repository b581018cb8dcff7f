from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from tests.helpers.exporter_imports import import_exporter
from workbench.convert.pytorch.mask_guard import hide_wholly

MASK = torch.tensor([[True, True, False], [False, False, False]])


class Attending(nn.Module):
    def __init__(self, floats: bool) -> None:
        super().__init__()
        self.floats = floats

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        given = torch.where(mask, 0.0, float("-inf")).to(x.dtype) if self.floats else mask
        return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=given[:, None, None, :])


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_row_whose_mask_hides_all_gives_zeros(dtype: torch.dtype, floats: bool, tmp_path: Path) -> None:
    import_exporter()
    module, x = Attending(floats).eval(), torch.randn(2, 1, 3, 4).to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its parts
        program = torch.onnx.export(module, (x, MASK), dynamo=True, opset_version=20, verbose=False)
    assert program is not None
    hide_wholly(program.model)
    program.save(tmp_path / "it.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "it.onnx", providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    got = session.run(None, dict(zip(names, (x.numpy(), MASK.numpy()), strict=True)))[0]
    assert not got[1].any()
    np.testing.assert_allclose(got, module(x, MASK).numpy(), atol=2e-3 if dtype == torch.float16 else 1e-6)

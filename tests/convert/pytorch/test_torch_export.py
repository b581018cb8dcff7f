from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.exporter_imports import import_exporter
from tests.helpers.onnx_client import OnnxClient
from workbench.client.client import AsyncClient
from workbench.client.predict import Predictor
from workbench.client.results import LoadReport
from workbench.client.shared_service import Address
from workbench.convert import load as loading
from workbench.convert.load import load
from workbench.convert.pytorch import torch_export, torch_graph
from workbench.core.tensor import Array
from workbench.errors import ExecutionError, InvalidInput, ModelError, Unsupported


@pytest.fixture(autouse=True)
def seeded() -> None:
    import_exporter()
    torch.manual_seed(0)


def loaded(module: object, example: Any = None) -> tuple[LoadReport, OnnxClient]:
    client = OnnxClient()
    return asyncio.run(load(client, "m", module, {}, sample=example)), client


def answers(client: OnnxClient, value: object) -> dict[str, Array]:
    return dict(asyncio.run(Predictor(client).predict("m", value)))


class Net(nn.Module):
    """Everything at once: two inputs, a flag, dropout, and a nested answer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)
        self.norm = nn.BatchNorm1d(3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor, weight: torch.Tensor, *, double: bool = False) -> dict[str, Any]:
        hidden = self.dropout(self.norm(self.layer(x))) * weight
        return {"scores": hidden * 2 if double else hidden, "best": (hidden.argmax(-1), None), "x": x}


def test_a_module_in_training_mode_is_served_as_it_answers_in_eval_mode_and_left_as_it_was() -> None:
    net = Net().train()
    net.norm.eval()
    x, weight = torch.randn(1, 8), torch.rand(1, 1)
    report, client = loaded(net, {"x": x, "weight": weight, "double": True})
    assert "exported Net (torch 2." in report.exported
    assert "batch axis free · double=True is part of it · in eval mode" in report.exported
    assert [part.training for part in (net, net.layer, net.norm, net.dropout)] == [True, True, False, True]
    x, weight = torch.randn(33, 8), torch.rand(33, 1)
    got = answers(client, {"x": x, "weight": weight})
    own = net.eval()(x, weight, double=True)
    assert list(got) == ["scores", "best_0", "x_out"]
    np.testing.assert_allclose(got["scores"], own["scores"].detach(), atol=1e-5)
    assert np.array_equal(got["best_0"], own["best"][0])


def test_a_sequence_has_any_length_whatever_the_example_had() -> None:
    net = nn.LSTM(6, 5, batch_first=True)
    report, client = loaded(net, torch.randn(1, 1, 6))
    assert "batch and sequence axes free" in report.exported
    x = torch.randn(4, 11, 6)
    np.testing.assert_allclose(answers(client, x)["output_0"], net(x)[0].detach(), atol=1e-5)


def test_an_output_may_be_called_as_a_function_of_torch_that_the_module_calls() -> None:
    class Pooled(nn.Module):
        def forward(self, relu: torch.Tensor) -> dict[str, torch.Tensor]:
            hidden = relu.relu()
            return {"mean": hidden.mean(1) * 2, "sigmoid": hidden.mean(1).sigmoid() + 1, "add": hidden.mean(1).exp()}

    _, client = loaded(Pooled(), torch.randn(2, 3))
    x = torch.randn(5, 3)
    got = answers(client, x)
    assert list(got) == ["mean", "sigmoid", "add"]
    for name, own in Pooled()(x).items():
        np.testing.assert_allclose(got[name], own, atol=1e-5)


def test_a_module_that_branches_on_its_batch_is_served_for_the_examples_and_says_why() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 3 if x.shape[0] == 2 else x.exp()

    report, client = loaded(Odd(), torch.randn(2, 8))
    assert "batches of exactly 2 because of line" in report.exported
    assert "(x.shape[0] == 2)" in report.exported
    x = torch.randn(2, 8)
    np.testing.assert_allclose(answers(client, x)["output"], x * 3)
    with pytest.raises(InvalidInput, match="axis 0 takes 2"):
        answers(client, torch.randn(3, 8))


def test_what_has_no_onnx_form_is_told_with_its_name_or_the_line() -> None:
    class Eigen(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(x).real

    class Deciding(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.sum() > 0:
                return x
            return x * 2

    with pytest.raises(Unsupported, match="the operator linalg_eig of Eigen has no ONNX form"):
        loaded(Eigen(), torch.randn(2, 4, 4))
    with pytest.raises(
        Unsupported, match=r"values of a tensor, in line \d+ of test_torch_export.py \(if x.sum\(\) > 0:"
    ):
        loaded(Deciding(), torch.randn(2, 4))


def test_a_module_that_refuses_its_example_says_so_itself() -> None:
    with pytest.raises(
        InvalidInput, match=r"Linear itself fails on the example \(input float32 \[1, 9\]\).*1x9 and 8x4"
    ):
        loaded(nn.Linear(8, 4), torch.randn(1, 9))
    with pytest.raises(InvalidInput, match="the example of Linear is of type object; it takes a tensor"):
        loaded(nn.Linear(8, 4), object())


def test_what_a_refused_example_lacks_is_found_by_trying() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.layer = nn.Embedding(5, 3), nn.Linear(4, 3)

        def forward(self, ids: torch.Tensor, feats: torch.Tensor) -> torch.Tensor:
            return self.table(ids).mean(1) + self.layer(feats)

    pooled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    ids, feats, image = torch.zeros(2, 6).long(), torch.ones(2, 4), torch.zeros(1, 3, 8, 8)
    for net, example, said in (
        (Two(), (ids.float(), feats), r"; it takes ids\.long\(\)$"),
        (Two(), (ids, feats.double()), r"; it takes feats\.float\(\)$"),
        (Two(), (ids, feats[:, :3]), r"cannot be multiplied \(2x3 and 4x3\), in line \d+ of [^;]*$"),
        (pooled, image.byte(), r"; it takes input\.float\(\)$"),
        (pooled, image[0], r"; it takes input\[None\], with an axis for the rows in front$"),
        (Two(), {"ids": ids, "feat": feats}, "takes 'ids', 'feats', .*; missing: 'feats'; unknown: 'feat'; did you me"),
    ):
        with pytest.raises(InvalidInput, match=said):
            loaded(net, example)


def test_a_module_that_answers_by_chance_is_refused() -> None:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.dropout(x)

    with pytest.raises(ModelError, match="answers the same input differently each time, in 'output'"):
        loaded(Noisy(), torch.randn(2, 64))


def test_without_an_example_the_first_layer_says_what_it_takes_or_the_error_asks() -> None:
    report, _ = loaded(nn.Sequential(nn.Linear(8, 4), nn.ReLU()))
    assert "made-up rows" in report.compared
    with pytest.raises(InvalidInput, match=r"load NAME net --example torch.randn\(2, 3, 224, 224\)"):
        loaded(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()))


def test_a_dataclass_gives_its_fields() -> None:
    @dataclass
    class Found:
        boxes: torch.Tensor
        count: int

    class Detector(nn.Module):
        def forward(self, batch: dict[str, torch.Tensor]) -> Found:
            return Found(batch["image"] * 2, 7)

    report, client = loaded(Detector(), {"image": np.ones((2, 3))})
    assert report.status.signature is not None
    assert [spec.name for spec in report.status.signature.inputs] == ["batch_image"]
    assert np.array_equal(answers(client, np.ones((5, 3)))["boxes"], np.full((5, 3), 2.0))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_a_module_of_half_precision_is_compared_with_a_wider_tolerance(precision: torch.dtype) -> None:
    report, _ = loaded(nn.Linear(8, 4).to(precision), torch.randn(2, 8).to(precision))
    assert f"compared with the {str(precision)[6:]} original" in report.exported


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_compiled_module_and_one_of_torchscript_are_served() -> None:
    net = nn.Sequential(nn.Linear(8, 4), nn.Tanh())
    x = torch.randn(3, 8)
    for other in (torch.compile(net, backend="eager"), nn.DataParallel(net), torch.jit.script(net)):
        report, client = loaded(other, torch.randn(1, 8))
        assert "batch axis free" in report.exported
        np.testing.assert_allclose(answers(client, x)["output"], net(x).detach(), atol=1e-5)


def test_an_exported_program_is_served_with_the_axes_that_it_was_exported_with() -> None:
    net, x = nn.Linear(8, 4), torch.randn(2, 8)
    free, _ = loaded(torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim("rows")},)))
    assert "exported ExportedProgram" in free.exported
    assert "batch axis free" in free.exported
    fixed, client = loaded(torch.export.export(net, (x,)))
    assert "takes [2, 8] only" in fixed.exported
    np.testing.assert_allclose(answers(client, x)["output"], net(x).detach(), atol=1e-5)


def test_what_is_no_module_is_told_apart() -> None:
    net = nn.Linear(8, 4)
    with pytest.raises(InvalidInput, match=r"this is a state_dict, the weights without the model"):
        loaded(net.state_dict())
    with pytest.raises(InvalidInput, match=r"Linear is a class; load an instance of it, as net = Linear\(\)"):
        loaded(nn.Linear)
    with pytest.raises(InvalidInput, match=r"SGD is no model of torch: load the nn.Module itself"):
        loaded(torch.optim.SGD(net.parameters()))


def test_without_onnxscript_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(Unsupported, match="the export of Linear needs onnxscript, a small package: %pip install"):
        loaded(nn.Linear(8, 4))


def test_a_module_of_lightning_brings_its_own_example() -> None:
    class Lit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv1d(2, 3, 3)
            self.example_input_array = torch.randn(2, 2, 9)

        def forward(self, signal: torch.Tensor) -> torch.Tensor:
            return self.layer(signal)

    report, client = loaded(Lit())
    assert "batch and sequence axes free" in report.exported
    assert answers(client, torch.randn(4, 2, 30))["output"].shape == (4, 3, 28)


def test_where_no_process_can_be_forked_the_module_is_as_before_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(self.drop(x)).real

    monkeypatch.setattr(torch_export, "CAN_FORK", False)
    net = Net().train()
    net.norm.eval()
    report, _ = loaded(net, {"x": torch.randn(2, 8), "weight": torch.rand(2, 1)})
    assert "batch axis free" in report.exported
    assert [part.training for part in (net, net.layer, net.norm, net.dropout)] == [True, True, False, True]
    failing = Failing().train()
    with pytest.raises(Unsupported, match="linalg_eig"):
        loaded(failing, torch.randn(2, 4, 4))
    assert failing.drop.training
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_sequence_that_comes_first_and_one_with_a_mask_of_its_own_length_are_free() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2)

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return self.attention(x, x, x, attn_mask=mask, need_weights=False)[0]

    net = Masked()
    report, client = loaded(net, (torch.randn(5, 1, 8), torch.zeros(5, 5)))
    assert "batch and sequence axes free" in report.exported
    x, mask = torch.randn(9, 3, 8), torch.triu(torch.full((9, 9), -10.0), 1)
    np.testing.assert_allclose(answers(client, {"x": x, "mask": mask})["output"], net(x, mask).detach(), atol=1e-5)


async def test_weights_in_a_file_of_their_own_reach_a_service_on_this_machine(
    service: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_graph, "BESIDE", 0)  # as if they were over 2 GB
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    net, x = nn.Linear(300, 200), torch.randn(5, 300)
    async with AsyncClient(service.url, service.token) as client:
        report = await load(client, "large", net, {}, sample=x)
        assert "batch axis free" in report.exported
        assert report.status.routed
        got = await Predictor(client).predict("large", x)
        np.testing.assert_allclose(got["output"], net(x).detach(), atol=1e-5)
        monkeypatch.setattr(loading, "_is_loopback", lambda url: False)
        with pytest.raises(Unsupported, match="is loaded by a service on this machine only"):
            await load(client, "elsewhere", net, {}, sample=x)
        await client.unload("large")
    assert list(tmp_path.iterdir()) == []


class ByRows(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.shape[0] > 3 else x


@pytest.mark.parametrize("rows", [1, 5])
def test_a_size_that_is_decided_on_is_the_examples_own_however_few_rows_are_tried_with(rows: int) -> None:
    x = torch.randn(rows, 4)
    report, client = loaded(ByRows(), x)
    assert f"batches of exactly {rows} because of line" in report.exported
    np.testing.assert_allclose(answers(client, x)["output"], ByRows()(x))


@pytest.mark.parametrize(
    ("net", "x", "said"),
    [
        (
            nn.Sequential(nn.Linear(4, 3), nn.LazyLinear(2)),
            torch.ones(2, 4),
            r"its layer '1' \(LazyLinear\) has no weights",
        ),
        (nn.LazyLinear(2), None, "LazyLinear is not ready yet: it has no weights; call it once"),
        (nn.Linear(4, 2), torch.ones(0, 4), r"holds no rows \(float32 \[0, 4\]\); give one or more"),
    ],
)
def test_a_module_without_weights_and_an_example_without_rows_are_refused(net: nn.Module, x: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        loaded(net, x)
    assert any(torch.nn.parameter.is_lazy(each) for each in net.parameters()) == ("weights" in said)


def test_a_size_that_is_decided_on_in_axis_0_is_called_the_batch() -> None:
    report, _ = loaded(ByRows(), torch.randn(2, 4))
    assert "batches of exactly 2 because of line" in report.exported
    assert "sequence" not in report.exported


def test_an_index_that_an_embedding_does_not_have_is_refused_as_the_module_refuses_it() -> None:
    _, client = loaded(nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2)), torch.tensor([[0, 4]]))
    assert answers(client, torch.tensor([[1, 2], [3, 4]]))["output"].shape == (2, 2)
    for index in (-1, 5):
        with pytest.raises(ExecutionError, match="out of data bounds"):  # the words of ONNX Runtime, unworded here
            answers(client, torch.tensor([[0, index]]))


def test_a_module_whose_forward_is_a_lambda_in_a_table_is_served() -> None:
    table = {
        "two": lambda self, x: x.topk(2).values,
    }
    report, _ = loaded(type("Made", (nn.Module,), {"forward": table["two"]})(), torch.randn(3, 5))
    assert "batch axis free" in report.exported

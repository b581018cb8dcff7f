"""Modules of torch, and skorch's nets, for the table in docs/models.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.model_zoo.case import Case


def _case(kind: str, make: Callable[[], Any], rows: Any = None, refused: str = "", **by_name: Any) -> Case:
    """`rows`, or those by name, are what the module is called with."""

    def made() -> tuple[object, object]:
        torch.manual_seed(0)
        module = make()
        return module, by_name or rows

    return Case(kind, made, refused)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.layers = kind(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x)[0][:, -1])


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.layers(self.embedding(ids), src_key_padding_mask=mask == 0)[:, 0]


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, 4), nn.Linear(3, 4)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, Any]:
        scores = self.left(left) + self.right(right)
        return {"scores": scores, "nested": {"best": scores.argmax(-1), "pair": (scores.exp(), None)}}


@dataclass
class Found:
    mean: torch.Tensor
    deviation: torch.Tensor


class GivesADataclass(nn.Module):
    def forward(self, x: torch.Tensor) -> Found:
        return Found(x.mean(-1), x.std(-1))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(self.convolution(image)).relu()
        return self.head(hidden + self.second(hidden))


class Unet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 1, 2, stride=2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.up(self.down(image).relu()) + image


class Eigenvalues(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvals(x).real


class DecidesOnValues(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > 0 else x


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Dropout(), nn.Linear(16, 3))


def skorch_classifier() -> Any:
    from skorch import NeuralNetClassifier

    random = np.random.default_rng(0)
    x = random.normal(size=(64, 8)).astype(np.float32)
    net = NeuralNetClassifier(mlp(), max_epochs=2, criterion=nn.CrossEntropyLoss, verbose=0)
    return net.fit(x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0))


def skorch_regressor() -> Any:
    from skorch import NeuralNetRegressor

    x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    return NeuralNetRegressor(nn.Sequential(nn.Linear(8, 1)), max_epochs=2, verbose=0).fit(x, x[:, :1])


_random = torch.Generator().manual_seed(1)
_rows = torch.randn(33, 8, generator=_random)
_sequences = torch.randn(5, 11, 6, generator=_random)
_images = torch.randn(4, 3, 16, 16, generator=_random)
_ids = torch.randint(0, 50, (5, 12), generator=_random)
_mask = (torch.arange(12) < torch.tensor([[12], [3], [7], [1], [9]])).long()

CASES: list[Case] = [
    _case("torch: layers of a Sequential", mlp, _rows),
    _case("torch: CNN with BatchNorm", Residual, _images),
    _case("torch: U-Net", Unet, _images[:, :1]),
    _case("torch: LSTM, bidirectional", lambda: Recurrent(nn.LSTM), _sequences),
    _case("torch: GRU, bidirectional", lambda: Recurrent(nn.GRU), _sequences),
    _case("torch: LSTM, time first", lambda: nn.LSTM(6, 5), _sequences),
    _case("torch: TransformerEncoder with a mask", Encoder, ids=_ids, mask=_mask),
    _case("torch: several inputs, nested outputs", TwoInputs, left=_rows, right=torch.randn(33, 3, generator=_random)),
    _case("torch: a dataclass", GivesADataclass, _rows),
    _case("torch: float16", lambda: mlp().half(), _rows.half()),
    _case("torch: bfloat16", lambda: mlp().bfloat16(), _rows.bfloat16()),
    _case("torch: float64", lambda: mlp().double(), _rows.double()),
    _case("torch: TorchScript", lambda: torch.jit.script(mlp()), _rows),
    _case("torch: compiled", lambda: torch.compile(mlp(), backend="eager"), _rows),
    _case("torch: DataParallel", lambda: nn.DataParallel(mlp()), _rows),
    _case("torch: ExportedProgram", lambda: torch.export.export(mlp().eval(), (_rows,)), _rows),
    _case("torch: an operator without an ONNX form", Eigenvalues, torch.ones(2, 4, 4), refused="linalg_eig"),
    _case("torch: decides on values", DecidesOnValues, _rows, refused="decides on the values of a tensor"),
    _case("skorch: NeuralNetClassifier", skorch_classifier, _rows.numpy()),
    _case("skorch: NeuralNetRegressor", skorch_regressor, _rows.numpy()),
]

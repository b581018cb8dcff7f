"""Exports a transformers model, and writes the bundle that holds it with its tokenizer or image recipe."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from workbench.convert.export_folder import discard
from workbench.convert.pytorch.torch_export import ModuleExport, export_module
from workbench.core.bundle import BundleSpec, write_bundle
from workbench.core.runtime import BUNDLE
from workbench.errors import InvalidInput, Unsupported

ROWS, TOKENS = 3, 9
"""Of the example that a model is exported with."""
PADDING = 3
"""Tokens that are added to see whether a model's answer depends on the side of its padding."""


class Answers(torch.nn.Module):  # type: ignore[misc]
    """`model` with the named tensors of its answer alone, or with all; nothing is cached for a next token."""

    def __init__(self, model: Any, outputs: Sequence[str] = ()) -> None:
        super().__init__()
        self.training = model.training
        self.model = model
        self._outputs = tuple(outputs)
        known = inspect.signature(model.forward).parameters
        self._options = {name: value for name, value in (("use_cache", False), ("return_dict", True)) if name in known}

    def forward(self, **inputs: torch.Tensor) -> dict[str, Any]:
        found = self.model(**inputs, **self._options)
        return {name: found[name] for name in self._outputs or found.keys()}


def exported_model(model: Any, example: Mapping[str, torch.Tensor], outputs: Sequence[str] = ()) -> ModuleExport:
    """The export of a model of transformers, called with `example`; its outputs are named as its own."""
    return export_module(Answers(model, outputs), (), dict(example), kind=type(model).__name__)


def made_up_example(
    model: Any, names: Sequence[str] = (), size: tuple[int, int] | None = None
) -> dict[str, torch.Tensor]:
    """ROWS rows as the model takes them, with the inputs called `names` or else with those that every call has;
    pictures are of `size`, or of that which the model's configuration says.

    Raises InvalidInput where nothing can be made up.
    """
    config, random = model.config, torch.Generator().manual_seed(0)
    device = model.device
    if model.main_input_name == "pixel_values" and (size := size or _image_size(config)):
        channels = getattr(config, "num_channels", 3)
        pixels = torch.randn(ROWS, channels, *size, generator=random)
        return {"pixel_values": pixels.to(device, model.dtype)}
    vocabulary = getattr(config, "vocab_size", 0)
    if model.main_input_name != "input_ids" or not vocabulary or getattr(config, "is_encoder_decoder", False):
        wanted = [model.main_input_name, *["decoder_input_ids"] * bool(getattr(config, "is_encoder_decoder", False))]
        named = ", ".join(f"'{name}': ..." for name in wanted)
        raise InvalidInput(
            f"an export of {type(model).__name__} needs one example of its input; give one, as sample={{{named}}} "
            "(--sample)"
        )
    special = {getattr(config, name, None) for name in ("pad_token_id", "eos_token_id", "bos_token_id")}
    allowed = torch.tensor([each for each in range(min(vocabulary, 5000)) if each not in special] or [0])
    ids = allowed[torch.randint(len(allowed), (ROWS, TOKENS), generator=random)]
    known = inspect.signature(model.forward).parameters
    found = {"input_ids": ids.to(device)}
    for name, value in (("attention_mask", 1), ("token_type_ids", 0)):
        if name in names or (not names and name == "attention_mask" and name in known):
            found[name] = torch.full_like(ids, value).to(device)
    return found


def padding_side(
    module: torch.nn.Module, tokenizer: Any, example: Mapping[str, torch.Tensor]
) -> Literal["left", "right"]:
    """The side on which padding leaves the answer of `module` as it is: the tokenizer's own, else the right.

    A pipeline that generates text sets the tokenizer that it was given to the left, where a model that counts its
    positions from the first column answers otherwise.
    """
    if tokenizer.padding_side == "right":
        return "right"
    if tokenizer.pad_token_id is None or "attention_mask" not in example:
        return "left"
    row = {name: value[:1] for name, value in example.items()}
    fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    sides: tuple[Literal["left", "right"], ...] = ("left", "right")
    with torch.no_grad():
        alone = module(**row)
        for side in sides:
            ends = (PADDING, 0) if side == "left" else (0, PADDING)
            padded = module(**{n: torch.nn.functional.pad(v, ends, value=fill.get(n, 0)) for n, v in row.items()})
            if all(_same(alone[name], padded[name], side) for name in alone):
                return side
    return "left"


def _same(alone: torch.Tensor, padded: torch.Tensor, side: str) -> bool:
    if alone.shape != padded.shape:  # an answer for each token
        padded = padded[:, PADDING:] if side == "left" else padded[:, :-PADDING]
    return bool(torch.allclose(alone.float(), padded.float(), rtol=1e-2, atol=1e-3))


def write_bundle_of(export: ModuleExport, spec: BundleSpec, tokenizer: str = "") -> Path:
    """The bundle, in the place of the exported file. Raises Unsupported where the weights are not in one file."""
    try:
        return _written(export, spec, tokenizer)
    except BaseException:
        discard(export.model.parent)
        raise


def _written(export: ModuleExport, spec: BundleSpec, tokenizer: str) -> Path:
    folder = export.model.parent
    if [each for each in folder.iterdir() if each != export.model]:
        raise Unsupported(
            "the model has over 2 GB of weights, more than a bundle with its tokenizer holds; load the model alone, "
            "as tensors"
        )
    bundle = folder / BUNDLE.model_file
    write_bundle(bundle, spec, export.model, tokenizer)
    export.model.unlink()
    return bundle


def _image_size(config: Any) -> tuple[int, int] | None:
    size = getattr(config, "image_size", None)
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[1])) if isinstance(size, list | tuple) and len(size) == 2 else None

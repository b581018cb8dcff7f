"""Converts a SentenceTransformer, with its tokenizer, its pooling and whatever comes after: one vector a text."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from workbench.convert.converters import Converted, exported_as
from workbench.convert.hub.text_checks import checks_of, given_texts, made_up_texts, quietly
from workbench.convert.hub.transformers_export import made_up_example, padding_side, write_bundle_of
from workbench.convert.hub.transformers_parts import Parts, longest, own_tokenizer
from workbench.convert.hub.transformers_text import text_inputs, text_spec
from workbench.convert.pytorch.torch_errors import own_error
from workbench.convert.pytorch.torch_export import export_module, in_eval_mode
from workbench.core.bundle import BundleSpec
from workbench.errors import Unsupported


class Embedding(torch.nn.Module):  # type: ignore[misc]
    """`model` from token ids to its vectors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.training = model.training
        self.model = model
        self._width = model.truncate_dim

    def forward(self, **inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        features: dict[str, Any] = dict(inputs)
        for module in self.model:
            features = module(features)
        vectors = features["sentence_embedding"]
        return {"sentence_embedding": vectors if self._width is None else vectors[:, : self._width]}


def convert(source: object, sample: object | None) -> Converted:
    """The export of a SentenceTransformer. `sample`: texts."""
    from sentence_transformers import SentenceTransformer

    kind = type(source).__name__
    if not isinstance(source, SentenceTransformer):
        raise Unsupported(
            f"a {kind} of sentence-transformers is not served as a whole (SentenceTransformer is); load its model "
            "alone, as tensors: encoder.model"
        )
    model: Any = source
    first: Any = model[0]
    transformer = getattr(first, "auto_model", None)
    if transformer is None or getattr(model, "tokenizer", None) is None:
        raise Unsupported(
            f"{kind} begins with {type(first).__name__}, and only one that begins with Transformer is served"
        )
    tokenizer = own_tokenizer(Parts(transformer, tokenizer=model.tokenizer))
    limits = [each for each in (longest(transformer.config, tokenizer), model.max_seq_length) if each]
    tokenizer.model_max_length = max_length = min(limits, default=0)
    prompt = model.prompts.get(model.default_prompt_name or "", "") or ""
    texts = made_up_texts(tokenizer, max_length) if sample is None else given_texts(sample)
    inputs = text_inputs(transformer, tokenizer)
    example = made_up_example(transformer, inputs)
    with in_eval_mode(model):
        try:
            own = np.asarray(quietly(model.encode, texts, show_progress_bar=False), np.float32)
        except Exception as error:  # the original's
            raise own_error(error, kind, "texts") from error
        pad_side = padding_side(Embedding(model), tokenizer, example)
    export = export_module(Embedding(model), (), example, kind=kind)
    spec = BundleSpec(
        task="sentence-embedding",
        inputs=export.inputs,
        outputs=export.outputs,
        text=text_spec(tokenizer, inputs, max_length, pad_side, prompt=prompt),
    )
    bundle = write_bundle_of(export, spec, tokenizer.backend_tokenizer.to_str())
    what = "short, empty, non-ASCII" + (f" and over {max_length} tokens" if max_length else " and long")
    notes = [*export.notes, f"texts over {max_length} tokens are cut" if max_length else "texts of any length"]
    if prompt:
        notes.append(f"each text begins with its prompt {prompt!r}")
    return Converted(
        bundle,
        exported_as(
            f"{kind} with its tokenizer", "sentence-transformers", version("sentence-transformers"), export.opset
        ),
        checks_of(texts, {"embedding": own}, what if sample is None else ""),
        sample is None,
        frozenset(),
        kind,
        notes=tuple(notes),
        versions={name: version(name) for name in ("sentence-transformers", "transformers", "torch", "onnxscript")},
        tolerance=export.tolerance,
    )

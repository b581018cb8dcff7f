"""Converts models and pipelines of transformers: the model by torch.onnx.export, with its tokenizer beside it.

The service runs the tokenizer with the tokenizers library and the image processor with Pillow, so it needs neither
torch nor transformers. A model alone is served as the tensors that it takes and gives.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from workbench.convert.converters import Converted, exported_as
from workbench.convert.hub.image_checks import given_images, image_spec, made_up_images, opened
from workbench.convert.hub.text_checks import by_class, checks_of, made_up_texts, quietly
from workbench.convert.hub.transformers_export import (
    Answers,
    exported_model,
    made_up_example,
    padding_side,
    write_bundle_of,
)
from workbench.convert.hub.transformers_parts import Parts, longest, own_tokenizer, parts_of, task_of
from workbench.convert.hub.transformers_text import activation_of, asked_of, labels_of, text_inputs, text_spec
from workbench.convert.pytorch.torch_errors import own_error
from workbench.convert.pytorch.torch_example import given_example
from workbench.convert.pytorch.torch_export import in_eval_mode
from workbench.core.bundle import BundleSpec, ImageSpec


def convert(source: object, sample: object | None) -> Converted:
    """The export of a pipeline, of a pair (model, tokenizer) or of a model. `sample`: texts, or what a model is called
    with."""
    parts = parts_of(source)
    if parts.task is None:
        return _tensors(parts, sample)
    if parts.task == "image-classification":
        return _images(parts, sample)
    return _texts(parts, sample)


def _tensors(parts: Parts, sample: object | None) -> Converted:
    model = parts.model
    example = made_up_example(model) if sample is None else _called_with(model, sample)
    export = exported_model(model, example)
    kind = type(model).__name__
    return Converted(
        export.model,
        exported_as(kind, "transformers", version("transformers"), export.opset),
        export.checks,
        sample is None,
        export.labels,
        kind,
        notes=(*export.notes, "takes and gives tensors" + _whole(kind)),
        versions=_versions(),
        tolerance=export.tolerance,
    )


def _whole(kind: str) -> str:
    """What to load where a model of this class is served with its texts or images too."""
    task = task_of(kind)
    if task is None:
        return ""
    of_images = task == "image-classification"
    return (
        ": load (model, image_processor) to serve images" if of_images else ": load (model, tokenizer) to serve texts"
    )


def _called_with(model: Any, sample: object) -> dict[str, Any]:
    example = given_example(model, sample, type(model).__name__)
    if example.args:
        return {model.main_input_name: example.args[0], **example.kwargs}
    return example.kwargs


def _texts(parts: Parts, sample: object | None) -> Converted:
    """A text or token classification, or question answering."""
    assert parts.task is not None
    model, kind = parts.model, type(parts.model).__name__
    tokenizer = own_tokenizer(parts)
    max_length = longest(model.config, tokenizer)
    inputs = text_inputs(model, tokenizer)
    outputs = ("start_logits", "end_logits") if parts.task == "question-answering" else ("logits",)
    with in_eval_mode(model):
        asked = asked_of(parts, tokenizer, max_length)
        rows = asked.made_up(made_up_texts(tokenizer, max_length)) if sample is None else asked.given(sample)
        try:
            own = quietly(asked.own, rows)
        except Exception as error:  # the original's
            raise own_error(error, kind, "texts") from error
        example = made_up_example(model, inputs)
        pad_side = padding_side(Answers(model, outputs), tokenizer, example)
    export = exported_model(model, example, outputs)
    spec = BundleSpec(
        task=parts.task,
        inputs=export.inputs,
        outputs=export.outputs,
        labels=labels_of(model.config) if parts.task.endswith("classification") else (),
        text=text_spec(tokenizer, inputs, max_length, pad_side),
        **asked.options,
    )
    bundle = write_bundle_of(export, spec, tokenizer.backend_tokenizer.to_str())
    what = "short, empty, non-ASCII" + (f" and over {max_length} tokens" if max_length else " and long")
    cut = f"texts over {max_length} tokens are cut" if max_length else "texts of any length"
    return Converted(
        bundle,
        exported_as(f"{kind} with its tokenizer", "transformers", version("transformers"), export.opset),
        checks_of(rows, own, what if sample is None else "", read=asked.read, named=asked.named),
        sample is None,
        frozenset(own) & {"label", "answer", "start", "end", "entities"},
        kind,
        notes=(*export.notes, cut),
        versions=_versions(),
        tolerance=export.tolerance,
    )


def _images(parts: Parts, sample: object | None) -> Converted:
    import transformers

    model, kind = parts.model, type(parts.model).__name__
    image = image_spec(parts.processor)
    labels = labels_of(model.config)
    files = made_up_images() if sample is None else given_images(sample)
    with in_eval_mode(model):
        pipe = transformers.pipeline(
            "image-classification", model=model, image_processor=parts.processor, device=model.device
        )
        pipe._postprocess_params = {key: value for key, value in parts.options.items() if key == "function_to_apply"}
        try:
            own = quietly(lambda: by_class([pipe(opened(file), top_k=len(labels)) for file in files], labels))
        except Exception as error:  # the original's
            raise own_error(error, kind, "images") from error
    export = exported_model(model, made_up_example(model, size=_pixels(image)), ("logits",))
    spec = BundleSpec(
        task="image-classification",
        inputs=export.inputs,
        outputs=export.outputs,
        labels=labels,
        activation=activation_of(parts),
        image=image,
    )
    return Converted(
        write_bundle_of(export, spec),
        exported_as(f"{kind} with its image processor", "transformers", version("transformers"), export.opset),
        checks_of(files, own, "of many sizes, in colour and grey" if sample is None else ""),
        sample is None,
        frozenset(own) & {"label"},
        kind,
        notes=(*export.notes, "images as the bytes of a JPEG, PNG, WEBP or BMP file"),
        versions=_versions(),
        tolerance=export.tolerance,
    )


def _pixels(image: ImageSpec) -> tuple[int, int] | None:
    """(height, width) of what the model gets, where that is the same for all pictures."""
    return image.crop or (image.size if isinstance(image.size, tuple) else None)


def _versions() -> dict[str, str]:
    names = ("transformers", "tokenizers", "torch", "onnxscript")
    return {name: version(name).partition("+")[0] for name in names}

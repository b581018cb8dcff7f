"""How an image processor of transformers makes tensors of pictures, and pictures to compare with."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.core.bundle import ImageSpec
from workbench.errors import InvalidInput, Unsupported

_STEPS = ("_preprocess", "process_image", "resize", "center_crop", "rescale", "normalize")
_BACKENDS = "transformers.image_processing_backends"
"""Where the steps are that all processors share."""
_SHAPES = ((48, 64), (40, 31), (33, 200), (128, 96), (90, 90), (64, 64), (300, 220))


def image_spec(processor: Any) -> ImageSpec:
    """The recipe of `processor`. Raises Unsupported where it does more than the service can."""
    kind = type(processor).__name__
    own = [step for step in _STEPS if getattr(getattr(type(processor), step, None), "__module__", "") != _BACKENDS]
    size, crop = processor.size or {}, getattr(processor, "crop_size", None) or {}
    sized = _sized(size) if processor.do_resize else None
    if own or getattr(processor, "do_pad", False) or (processor.do_resize and sized is None):
        what = f"steps of its own ({', '.join(own)})" if own else f"the size {dict(size)}"
        raise Unsupported(
            f"{kind} has {what}, which the service does not have: it resizes, crops, rescales and normalises; load the "
            "model alone, as tensors (pixel_values)"
        )
    if getattr(processor, "do_center_crop", False) and not (crop.get("height") and crop.get("width")):
        raise Unsupported(f"{kind} crops to {dict(crop)}; the service takes a height and a width")
    return ImageSpec(
        size=sized,
        resample=int(_resample(processor.resample)),
        crop=(crop["height"], crop["width"]) if getattr(processor, "do_center_crop", False) else None,
        rescale=float(processor.rescale_factor) if processor.do_rescale else None,
        mean=_three(processor.image_mean) if processor.do_normalize else None,
        std=_three(processor.image_std) if processor.do_normalize else None,
    )


def made_up_images() -> list[bytes]:
    """Files of pictures of many sizes, in colour, grey and half transparent."""
    from PIL import Image

    random, files = np.random.default_rng(0), []
    for place, (height, width) in enumerate(_SHAPES):
        coarse = Image.fromarray(random.integers(0, 256, (7, 9, 3), np.uint8)).resize((width, height))
        image = coarse.convert({3: "L", 4: "RGBA"}.get(place, "RGB"))
        files.append(file_of(image, "JPEG" if place == 0 else "PNG"))
    return files


def given_images(sample: Any) -> list[bytes]:
    """The files of a sample: bytes, or pictures of Pillow, one or several. Raises InvalidInput."""
    many = list(sample) if isinstance(sample, list | tuple | np.ndarray) else [sample]
    found = [each if isinstance(each, bytes) else _picture(each) for each in many]
    if not found:
        raise InvalidInput("sample takes images, as predict takes them; this holds none")
    return found


def opened(file: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(file))


def file_of(image: Any, kind: str = "PNG") -> bytes:
    """The bytes of a file, which hold the same pixels where `kind` is PNG."""
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _picture(value: Any) -> bytes:
    if not callable(getattr(value, "save", None)):
        raise InvalidInput(f"sample takes images: Pillow's, or a file's bytes; a {type(value).__name__} was given")
    return file_of(value)


def _sized(size: Any) -> tuple[int, int] | int | None:
    get: Callable[[str], Any] = size.get
    if get("height") and get("width"):
        return int(get("height")), int(get("width"))
    return int(get("shortest_edge")) if get("shortest_edge") and not get("longest_edge") else None


def _resample(value: Any) -> int:
    """As Pillow counts; the torchvision backend has names of its own."""
    if isinstance(value, int):
        return int(value)
    names = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
    return names.get(str(getattr(value, "value", value)), 2)


def _three(values: Any) -> tuple[float, float, float]:
    found = [float(each) for each in np.ravel(values)]
    if len(found) not in (1, 3):
        raise Unsupported(f"the image processor normalises {len(found)} channels; the service reads three")
    return (found[0], found[0], found[0]) if len(found) == 1 else (found[0], found[1], found[2])

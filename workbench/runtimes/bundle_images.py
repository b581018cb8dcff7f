"""Turns the bytes of pictures into the floats of a vision model, as transformers' image processors with Pillow do."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from workbench.core.bundle import BundleSpec, ImageSpec
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, ModelError
from workbench.runtimes.bundle_tasks import classes
from workbench.runtimes.onnx import OnnxSession

if TYPE_CHECKING:
    from PIL.Image import Image

PILLOW = "its images are read with Pillow, which the service's environment lacks: pip install pillow"
FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP")
LONGEST_PATH: Final = 4096
MAX_PIXELS: Final = 64_000_000
"""Of one picture. A few kilobytes can hold more than a machine's memory."""
MAX_PIXELS_AT_ONCE: Final = 8 * MAX_PIXELS
"""Of all pictures that are answered together, which are read one after the other: some seconds of work."""
MAX_SCANS: Final = 100
"""Of one JPEG file: each goes over the whole picture, and a few bytes are enough for one. Usual files have ten."""
MAX_STRETCH: Final = 64
"""How many times longer than broad a picture may be that is resized by its shorter edge."""

_MADE_UP = (96, 128)
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""Of a JPEG file: the beginning of a segment. The others stand alone, or between the bytes of a scan."""
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


class ImagesClassified:
    """image -> label, score, scores."""

    def __init__(self, spec: BundleSpec, session: OnnxSession) -> None:
        """Raises ModelError where Pillow is missing."""
        try:
            import PIL.Image  # noqa: F401
        except ImportError:
            raise ModelError(PILLOW) from None
        assert spec.image is not None
        self._spec, self._image, self._session = spec, spec.image, session

    def answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        files = inputs["image"].tolist()
        _check_sizes(files, self._image)
        pixels = [_pixels(row, data, self._image) for row, data in enumerate(files)]
        shapes = {each.shape for each in pixels}
        if len(shapes) > 1:
            raise InvalidInput(f"the images of one call have different shapes after resizing: {sorted(shapes)}")
        if not pixels:
            return classes(self._spec, np.zeros((0, len(self._spec.labels)), np.float32))
        (spec,) = self._session.signature.inputs
        batch = np.stack(pixels).astype(np.float16 if spec.datatype == "FP16" else np.float32, copy=False)
        return classes(self._spec, self._session.run({spec.name: batch}, self._spec.outputs)[0])

    def examples(self, rows: int, seed: int) -> dict[str, Array]:
        """Pictures of noise, as JPEG files."""
        from PIL import Image

        rng = np.random.default_rng(seed)
        found = np.empty(rows, object)
        for row in range(rows):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (*_MADE_UP, 3), np.uint8)).save(file, "JPEG")
            found[row] = file.getvalue()
        return {"image": found}


def _check_sizes(files: Sequence[bytes], spec: ImageSpec) -> None:
    """InvalidInput, naming the row, for what takes too long or too much memory to read. Reads only what comes before
    the pixels."""
    # Where the pictures decide how large they are kept, all of them are in memory at once.
    kept = spec.size is None and spec.crop is None
    most = MAX_PIXELS if kept else MAX_PIXELS_AT_ONCE
    together = 0
    for row, data in enumerate(files):
        with _opened(row, data) as image:
            width, height = image.size
            said = f"row {row} is an image of {width} x {height}"
            if width * height > MAX_PIXELS:
                raise InvalidInput(f"{said}; {MAX_PIXELS} pixels are taken at most")
            if max(width, height) > MAX_STRETCH * min(width, height):
                raise InvalidInput(f"{said}, too long and narrow to be resized")
            if image.format in ("JPEG", "MPO") and (scans := _scans(data)) > MAX_SCANS:
                raise InvalidInput(f"row {row} is a JPEG file of {scans} scans or more; {MAX_SCANS} are taken at most")
            together += width * height
            if together > most:
                raise InvalidInput(
                    f"the images up to row {row} have {together} pixels; {most} are taken at once, so send fewer "
                    "images in a request, or smaller ones"
                )


def _scans(data: bytes) -> int:
    """How often a JPEG file goes over its picture, as far as MAX_SCANS + 1."""
    found, at = 0, 2
    while found <= MAX_SCANS and (marker := _MARKER.search(data, at)):
        at = marker.end()
        kind = data[at - 1]
        if kind == _END_OF_IMAGE:
            break
        found += kind == _START_OF_SCAN
        at += int.from_bytes(data[at : at + 2], "big")
    return found


@contextmanager
def _opened(row: int, data: bytes) -> Iterator[Image]:
    """The picture in `data`, whose pixels are not read yet. What Pillow raises is InvalidInput, naming the row."""
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
            yield image
    except (InvalidInput, MemoryError):
        raise
    except Exception as error:  # Pillow's, for bytes that are no image or a broken one
        known = f"; give the bytes of a {', '.join(FORMATS)} file"
        said = "" if isinstance(error, PIL.UnidentifiedImageError) else f" ({str(error)[:100]})"
        if data.isascii() and len(data) < LONGEST_PATH:
            known += ", not its path or address: Path(FILE).read_bytes()"
        raise InvalidInput(f"row {row} is no image that can be read{said}{known}") from None


def _pixels(row: int, data: bytes, spec: ImageSpec) -> Array:
    """[3, height, width] of one picture. Raises InvalidInput, naming the row."""
    from PIL import Image, ImageOps

    with _opened(row, data) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    if spec.size is not None:
        image = image.resize(_resized(image, spec.size), Image.Resampling(spec.resample))
    pixels = np.moveaxis(np.asarray(image), -1, 0)
    if spec.crop is not None:
        pixels = _middle(pixels, *spec.crop)
    found = pixels.astype(np.float32)
    if spec.rescale is not None:
        found = (pixels * spec.rescale).astype(np.float32)
    if spec.mean is not None and spec.std is not None:
        mean, std = (np.array(each, np.float32).reshape(3, 1, 1) for each in (spec.mean, spec.std))
        found = (found - mean) / std
    return np.asarray(found)


def _resized(image: Image, size: tuple[int, int] | int) -> tuple[int, int]:
    """(width, height), as Pillow counts."""
    if isinstance(size, tuple):
        return size[1], size[0]
    width, height = image.size
    longer = int(size * max(width, height) / min(width, height))
    return (size, longer) if width <= height else (longer, size)


def _middle(pixels: Array, height: int, width: int) -> Array:
    """The middle of a picture, with black around what is smaller."""
    _, rows, columns = pixels.shape
    more_rows, more_columns = max(0, height - rows), max(0, width - columns)
    if more_rows or more_columns:
        above, left = -(-more_rows // 2), -(-more_columns // 2)
        pixels = np.pad(pixels, ((0, 0), (above, more_rows - above), (left, more_columns - left)))
        _, rows, columns = pixels.shape
    top, left = (rows - height) // 2, (columns - width) // 2
    return pixels[:, top : top + height, left : left + width]

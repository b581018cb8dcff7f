"""The file of a model that takes text or images: an ONNX graph with what turns these into its tensors, and back.

A bundle is a zip whose members are stored as they are. The first, named `workbench-bundle`, is the JSON of a
`BundleSpec`, so that a file is known as a bundle by its first bytes; then come `model.onnx`, with all weights inside,
and for text `tokenizer.json` as the tokenizers library writes it. Nothing in it is code.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from workbench.core.runtime import BUNDLE
from workbench.core.zip_directory import open_zip
from workbench.errors import ModelError

SPEC_MEMBER: Final = BUNDLE.mark.decode()
MODEL_MEMBER: Final = "model.onnx"
TOKENIZER_MEMBER: Final = "tokenizer.json"
_MEMBERS: Final = {SPEC_MEMBER, MODEL_MEMBER, TOKENIZER_MEMBER}

MAX_SPEC_BYTES: Final = 4 << 20
"""Labels included: ImageNet's 21,000 classes take 0.5 MB."""
MAX_TOKENIZER_BYTES: Final = 256 << 20
MAX_LENGTH: Final = 1 << 20

Task = Literal[
    "text-classification", "token-classification", "question-answering", "sentence-embedding", "image-classification"
]
Activation = Literal["softmax", "sigmoid", "none"]
Aggregation = Literal["none", "simple", "first", "average", "max"]
Side = Literal["left", "right"]


class TextSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How texts become token ids, beside what is in tokenizer.json."""

    max_length: int
    """Tokens of one text, special ones included; what is longer is cut. 0: nothing is cut."""
    pad_id: int | None
    """None: nothing is padded, so only texts of equally many tokens share a run."""
    pad_type_id: int = 0
    pad_side: Side = "right"
    cut_side: Side = "right"
    unknown_id: int | None = None
    word_pieces: bool = False
    """Tokens that go on with a word have a prefix of their own, as "##"."""
    prompt: str = ""
    """Put before each text."""
    strip: bool = False
    """Leave out white space at both ends."""
    lower: bool = False


class ImageSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a picture becomes [3, height, width] floats; each step is left out where it is None."""

    size: tuple[int, int] | int | None = None
    """(height, width), or the pixels of the shorter edge."""
    resample: int = 2
    """As PIL.Image.Resampling counts."""
    crop: tuple[int, int] | None = None
    """(height, width) of the middle."""
    rescale: float | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


class BundleSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    task: Task
    inputs: tuple[str, ...]
    """The graph's inputs: of text among input_ids, attention_mask and token_type_ids, of images pixel_values."""
    outputs: tuple[str, ...]
    """Those of the graph's outputs that the answer is made from: the logits, for question-answering those of the
    start and those of the end."""
    labels: tuple[str, ...] = ()
    activation: Activation = "softmax"
    aggregation: Aggregation = "none"
    ignored: tuple[str, ...] = ("O",)
    """Labels of tokens that are no entities."""
    text: TextSpec | None = None
    image: ImageSpec | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    spec: BundleSpec
    model: bytes
    tokenizer: bytes
    """Empty for images."""


def write_bundle(path: Path, spec: BundleSpec, model: Path, tokenizer: str = "") -> None:
    """Write a bundle with the ONNX file `model`, the same bytes for the same content."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as bundle:
        bundle.writestr(zipfile.ZipInfo(SPEC_MEMBER), msgspec.json.encode(spec))
        with model.open("rb") as source, bundle.open(zipfile.ZipInfo(MODEL_MEMBER), "w", force_zip64=True) as member:
            shutil.copyfileobj(source, member, 1 << 20)
        if tokenizer:
            bundle.writestr(zipfile.ZipInfo(TOKENIZER_MEMBER), tokenizer.encode())


def read_bundle(path: Path) -> Bundle:
    """The bundle at `path`, which may be hostile; ModelError where it is none. No more is read than the file's size."""
    try:
        with path.open("rb") as file, open_zip(file, len(_MEMBERS)) as archive:
            members = _checked_members(archive, path.stat().st_size)
            spec = _SPEC.decode(archive.read(members[SPEC_MEMBER]))
            tokenizer = archive.read(members[TOKENIZER_MEMBER]) if TOKENIZER_MEMBER in members else b""
            bundle = Bundle(spec, archive.read(members[MODEL_MEMBER]), tokenizer)
    except (ModelError, MemoryError):
        raise
    except msgspec.MsgspecError as error:
        raise ModelError(f"the bundle's {SPEC_MEMBER} is not understood: {str(error)[:200]}") from None
    except Exception:  # zipfile's, for a file that was cut or made up
        raise ModelError("the file is no bundle, or a corrupt or truncated one: export the pipeline again") from None
    _check_spec(bundle)
    return bundle


def _checked_members(file: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    found = file.infolist()
    names = [each.filename for each in found]
    if len(set(names)) != len(names) or not {SPEC_MEMBER, MODEL_MEMBER} <= set(names) <= _MEMBERS:
        shown = ", ".join(name[:40] for name in names)
        raise ModelError(f"a bundle holds {', '.join(sorted(_MEMBERS))}, each once; this holds {shown}")
    if any(each.compress_type != zipfile.ZIP_STORED or each.file_size != each.compress_size for each in found):
        raise ModelError("a bundle's members are stored as they are, not compressed; export the pipeline again")
    if sum(each.file_size for each in found) > size:
        raise ModelError("the bundle's members are larger than the file; it is corrupt")
    members = {each.filename: each for each in found}
    for name, most in ((SPEC_MEMBER, MAX_SPEC_BYTES), (TOKENIZER_MEMBER, MAX_TOKENIZER_BYTES)):
        if name in members and members[name].file_size > most:
            raise ModelError(f"the bundle's {name} has {members[name].file_size} bytes; {most} are taken at most")
    return members


def _check_spec(bundle: Bundle) -> None:
    spec, text, image = bundle.spec, bundle.spec.text, bundle.spec.image
    of_images = spec.task == "image-classification"
    taken = {"pixel_values"} if of_images else {"input_ids", "attention_mask", "token_type_ids"}
    wanted_outputs = 2 if spec.task == "question-answering" else 1
    ranges = []
    if text is not None:
        ranges = [
            0 <= text.max_length <= MAX_LENGTH,
            *(0 <= (each or 0) < 2**31 for each in (text.pad_id, text.pad_type_id)),
        ]
    if image is not None:
        sizes = [*(image.size if isinstance(image.size, tuple) else [image.size or 1]), *(image.crop or ())]
        ranges = [all(0 < size <= 4096 for size in sizes), 0 <= image.resample <= 5, 0.0 not in (image.std or ())]
    if (
        (image is None) is of_images
        or (text is None) is not of_images
        or bool(bundle.tokenizer) is of_images
        or not spec.inputs
        or not set(spec.inputs) <= taken
        or len(set(spec.inputs)) != len(spec.inputs)
        or len(spec.outputs) != wanted_outputs
        or (spec.task.endswith("classification") and not spec.labels)
        or not all(ranges)
    ):
        raise ModelError(f"the bundle's {SPEC_MEMBER} contradicts itself; export the pipeline again")
    if bundle.tokenizer:
        try:
            json.loads(bundle.tokenizer)
        except (ValueError, RecursionError):
            raise ModelError(f"the bundle's {TOKENIZER_MEMBER} is no JSON; export the pipeline again") from None


_SPEC = msgspec.json.Decoder(BundleSpec)

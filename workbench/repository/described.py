"""What lies beside a model's versions and says how to serve it: model.toml, config.pbtxt, files with labels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workbench.config import ModelConfig, model_config, read_model_toml
from workbench.core import triton
from workbench.core.model import Signature
from workbench.core.triton import TritonConfig
from workbench.errors import InvalidInput, ModelError
from workbench.repository.layout import SETTINGS_FILE, TRITON_FILE, check_own_file, contained
from workbench.repository.pbtxt import parse

MAX_BYTES = 1024 * 1024
"""Of a config.pbtxt, and of a file with labels."""


@dataclass(frozen=True, slots=True)
class Described:
    """What is said of a model."""

    config: ModelConfig = field(default_factory=ModelConfig)
    triton: TritonConfig = field(default_factory=TritonConfig)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Output -> what its elements are called."""

    def notes(self, signature: Signature) -> tuple[str, ...]:
        """What of a config.pbtxt is not honoured, or is not so with a model of this signature."""
        said = self.triton
        unknown = (f"the field {name!r} is not known" for name in said.unknown)
        return tuple(f"{TRITON_FILE}: {note}" for note in (*said.notes, *unknown, *triton.differences(said, signature)))


def describe(folder: Path, root: Path, name: str = "") -> Described:
    """Of the model in `folder`, whose files must lie in `root`. `name` is what its config.pbtxt must call it.

    Raises InvalidInput, UntrustedModel, and ModelError for a model that is none of ours.
    """
    text = _text(folder / TRITON_FILE, root, TRITON_FILE)
    said = TritonConfig()
    if text is not None:
        try:
            said = triton.read(parse(text), name)
            base = model_config(said.settings)
        except ModelError as error:
            raise ModelError(f"{TRITON_FILE}: {error.message}") from None
        except InvalidInput as error:
            raise InvalidInput(f"{TRITON_FILE}: {error.message}") from None
    else:
        base = ModelConfig()
    settings = folder / SETTINGS_FILE
    if os.path.lexists(settings):
        contained(settings, root, SETTINGS_FILE)
    labels = {output: _labels(folder / file, root) for output, file in said.label_files.items()}
    return Described(read_model_toml(settings, base), said, labels)


def _labels(path: Path, root: Path) -> tuple[str, ...]:
    text = _text(path, root, "the file with labels")
    if text is None:
        raise InvalidInput(f"{TRITON_FILE}: there is no file {path.name!r} with labels")
    return tuple(text.splitlines())


def _text(path: Path, root: Path, what: str) -> str | None:
    """None where there is no such file."""
    if not os.path.lexists(path):
        return None
    path = contained(path, root, what)
    if check_own_file(path, what) > MAX_BYTES:
        raise InvalidInput(f"{what} has more than {MAX_BYTES} bytes")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8")
    except OSError as error:
        raise InvalidInput(f"{what} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{what} is not UTF-8") from None

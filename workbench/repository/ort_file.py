"""Looks at a file of ONNX Runtime's own format before the runtime does.

Its graph is a FlatBuffer that only ONNX Runtime reads, which verifies it first. It has no place for the name of
another file, so nothing outside of it can be reached. Saved for one machine it may hold code for that machine alone:
the trial in a process of its own finds out.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from workbench.core.runtime import ORT_FORMAT
from workbench.errors import ModelError
from workbench.repository.inspection import Inspection


def inspect_ort(path: Path) -> Inspection:
    """The model at `path`; see repository.validate.Inspector."""
    try:
        with path.open("rb") as file:
            if not file.read(64).startswith(ORT_FORMAT.mark, ORT_FORMAT.mark_at):
                raise ModelError("the file is no model in ONNX Runtime's own format, as one named *.ort should be")
            file.seek(0)
            return Inspection(hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {error.strerror}") from None

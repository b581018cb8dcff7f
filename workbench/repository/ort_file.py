"""Looks at a file of ONNX Runtime's own format before the runtime does.

Its graph is a FlatBuffer that only ONNX Runtime reads, which verifies it first. It has no place for the name of
another file, so nothing outside of it can be reached. Saved for one machine it may hold code for that machine alone:
the trial in a process of its own finds out.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from workbench.core.runtime import ORT_FORMAT
from workbench.errors import ModelError
from workbench.repository.validate import ModelFile

_CHUNK = 1 << 20


def inspect_ort(path: Path) -> ModelFile:
    """The model at `path`; see repository.validate.Inspector."""
    digest = hashlib.sha256()
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelError("the model file is no regular file")
        with path.open("rb") as file:
            chunk = file.read(_CHUNK)
            if not chunk.startswith(ORT_FORMAT.mark, ORT_FORMAT.mark_at):
                raise ModelError("the file is no model in ONNX Runtime's own format, as one named *.ort should be")
            while chunk:
                digest.update(chunk)
                chunk = file.read(_CHUNK)
    except FileNotFoundError:
        raise ModelError("there is no such model file") from None
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {error.strerror}") from None
    return ModelFile(path=path, digest=digest.hexdigest(), size_bytes=status.st_size)

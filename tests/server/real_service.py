"""The real service in a process of its own, once it is ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx

from tests import models
from tests.helpers.service_process import Serve


@contextmanager
def started(folder: Path, *flags: str, environment: Mapping[str, str] | None = None) -> Iterator[Serve]:
    """A service that is ready."""
    with Serve(folder, *flags, environment=environment) as serve:
        yield serve.ready()


@contextmanager
def serving(
    folder: Path, served: dict[str, onnx.ModelProto], *flags: str, environment: Mapping[str, str] | None = None
) -> Iterator[Serve]:
    """A ready service of both protocols, and of the repository in `folder`."""
    for name, model in served.items():
        models.save(model, folder / "repository" / name / "1" / "model.onnx")
    repository = ["--model-repository", str(folder / "repository")]
    with started(folder, *repository, "--grpc-port", "0", *flags, environment=environment) as serve:
        yield serve

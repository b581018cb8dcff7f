"""A model as the engine tells of it."""

from __future__ import annotations

from workbench.core.model import ModelState, ModelStatus


def ready(name: str = "digits", version: str = "1", queued: int = 0, loaded_at: float = 0.0) -> ModelStatus:
    return ModelStatus(
        name,
        version,
        ModelState.READY,
        device="cpu",
        platform="onnxruntime_onnx",
        routed=True,
        queued=queued,
        loaded_at=loaded_at,
    )

"""Files of other kinds, which are refused with what to do instead."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.model_zoo.case import Case


def _file(name: str, content: bytes) -> Callable[[], tuple[object, object]]:
    def make() -> tuple[object, object]:
        path = Path(tempfile.mkdtemp()) / name
        path.write_bytes(content)
        return path, np.zeros((1, 4), np.float32)

    return make


CASES: list[Case] = [
    Case("a pickle", _file("model.pkl", pickle.dumps({"a": 1})), "is a pickle, which is never opened here"),
    Case(
        "a PyTorch checkpoint", _file("model.pt", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."), "checkpoint of PyTorch"
    ),
    Case("safetensors", _file("model.safetensors", b"\x02\0\0\0\0\0\0\0{}"), "weights of a model, without the model"),
    Case("a Keras HDF5 file", _file("model.h5", b"\x89HDF\r\n\x1a\n"), "is a model of Keras"),
    Case("GGUF", _file("model.gguf", b"GGUF\x03\0\0\0"), "is a language model for llama.cpp"),
    Case("TensorFlow Lite", _file("model.tflite", b"\x1c\0\0\0TFL3"), "is a TensorFlow Lite model"),
]

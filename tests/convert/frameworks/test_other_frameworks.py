"""Models of TensorFlow, Keras, jax and PaddlePaddle, each library in an environment of its own that the test makes."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = (
    "onnxruntime",
    "msgspec",
    "aiohttp",
    "grpcio",
    "httptools",
    "hpack",
    "pandas",
    "psutil",
    "jupyter_core",
    "filelock",
)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("library", "packages", "right"),
    [
        ("tensorflow", ("tensorflow-cpu", "tf2onnx"), 8),
        ("paddle", ("paddlepaddle", "paddle2onnx", "setuptools"), 3),
        ("jax", ("jax", "jax2onnx", "flax"), 3),
        ("keras", ("keras", "tensorflow-cpu", "tf2onnx"), 7),
    ],
)
def test_models_of_other_libraries_answer_as_they_do_themselves(
    library: str, packages: tuple[str, ...], right: int, tmp_path: Path
) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", *packages, *NEEDED], check=True, timeout=1200)
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)}
    command = [python, "-W", "ignore", "-m", "tests.helpers.foreign_models", library]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert f"right: {right}" in done.stdout, done.stdout + done.stderr[-3000:]

"""A model is tried by hand through a page's route."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tornado.httpclient import HTTPClientError

from tests.jupyter.conftest import Ask
from tests.models import add_constant
from workbench.jupyter.extension import ACTIVITY, InferWorkbench

NESTED: list[object] = []
for _ in range(600):
    NESTED = [NESTED]


async def test_a_model_is_tried_with_given_and_with_random_inputs_and_its_slowest_requests_are_told(
    ask: Ask, extension: InferWorkbench, jp_root_dir: Path
) -> None:
    (jp_root_dir / "plus.onnx").write_bytes(add_constant(1.0).SerializeToString())
    await ask("models", "plus", "load", body={"path": "plus.onnx"})
    assert extension.serverapp is not None
    settings = extension.serverapp.web_app.settings
    settings.pop(ACTIVITY)

    tried = await ask("models", "plus", "try", body={"inputs": {"x": [[1, 2, 3, 0.5]]}})
    assert ACTIVITY in settings
    (given,), (came,) = tried["inputs"], tried["outputs"]
    assert (given["name"], given["datatype"], given["shape"]) == ("x", "FP32", [1, 4])
    assert came["data"] == [[2, 3, 4, 1.5]]
    assert tried["version"] == "1"
    assert set(tried["timings"]) == {
        *("queue_us", "batch_us", "compute_us", "split_us"),
        *("batch_size", "batch_requests", "release_reason"),
    }
    assert tried["timings"]["compute_us"] > 0
    assert tried["timings"]["batch_size"] == 1
    assert tried["seconds"] > 0

    once, again, other = [
        await ask("models", "plus", "try", body={"inputs": None, "rows": 3, "seed": seed}) for seed in (7, 7, 8)
    ]
    assert once["inputs"] == again["inputs"] != other["inputs"]
    assert once["inputs"][0]["shape"] == [3, 4]
    assert np.allclose(np.array(once["outputs"][0]["data"]), np.array(once["inputs"][0]["data"]) + 1)

    for body, words in (
        ({"inputs": {"y": [[1]]}}, "'x'"),
        ({"rows": 65}, "rows must be at most 64"),
        ({"rows": 0}, "rows is 0"),
        ({"seed": -1}, "0 or more"),
        ({"inputs": {"x": NESTED}}, "nested"),
    ):
        with pytest.raises(HTTPClientError) as caught:
            await ask("models", "plus", "try", body=body)
        assert caught.value.code == 400
        assert caught.value.response is not None
        assert words in caught.value.response.body.decode()

    slowest = (await ask("models", "plus", "slowest"))["requests"]
    assert len(slowest) == 4
    middle = sorted(request["time"] for request in slowest)[1]
    (found,) = (await ask("models", "plus", "slowest", since=f"{middle - 5e-4}", until=f"{middle + 5e-4}"))["requests"]
    assert found["time"] == pytest.approx(middle, abs=1e-4)
    assert len((await ask("models", "plus", "slowest", limit="2"))["requests"]) == 2

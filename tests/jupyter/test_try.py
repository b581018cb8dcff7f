"""A model is tried by hand through a page's route."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tornado.httpclient import HTTPClientError

from tests.helpers import small_bundles
from tests.jupyter.conftest import Ask, Fetch
from tests.models import add_constant
from workbench.jupyter.extension import ACTIVITY, InferWorkbench
from workbench.jupyter.routes import FILES_BYTES, HEAD_LENGTH, RESOURCE

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


async def test_a_picture_is_tried_as_the_bytes_of_its_file(ask: Ask, jp_fetch: Fetch, jp_root_dir: Path) -> None:
    small_bundles.pictures(jp_root_dir)
    await ask("models", "pictures", "load", body={"path": "pictures.bundle"})

    async def tried(file: bytes, length: str = "", files: dict[str, int] | None = None) -> Any:
        head = json.dumps({"files": {"image": len(file)} if files is None else files}).encode()
        headers = {"Content-Type": "application/octet-stream", HEAD_LENGTH: length or str(len(head))}
        path = (RESOURCE, "api", "models", "pictures", "try")
        return await jp_fetch(*path, method="POST", body=head + file, headers=headers, request_timeout=60)

    file = io.BytesIO()
    Image.new("RGB", (40, 30), (20, 200, 30)).save(file, "PNG")
    answer = json.loads((await tried(file.getvalue())).body)
    assert answer["inputs"] == []
    outputs = {each["name"]: each["data"] for each in answer["outputs"]}
    assert outputs["label"] == ["green"] and outputs["scores"][0][1] == pytest.approx(max(outputs["scores"][0]))

    for content, more, status, words in (
        (b"no picture", {}, 400, "row 0"),
        (file.getvalue(), {"files": {"image": 7}}, 400, "7 bytes are told in the JSON"),
        (b"x", {"length": "-1"}, 400, f"{HEAD_LENGTH} is the length of the JSON in bytes"),
        (b"x", {"length": "9999"}, 400, f"{HEAD_LENGTH} is the length of the JSON in bytes"),
        (bytes(FILES_BYTES), {}, 413, "may have 20 MiB together, got 20.0 MiB"),
    ):
        with pytest.raises(HTTPClientError) as caught:
            await tried(content, **more)  # type: ignore[arg-type]
        assert caught.value.code == status
        assert caught.value.response is not None
        assert words in caught.value.response.body.decode()

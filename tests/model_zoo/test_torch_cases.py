"""The cases of torch are what they say: served, or refused for the reason that is given."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.helpers.exporter_imports import import_exporter
from tests.helpers.onnx_client import OnnxClient
from tests.model_zoo.torch_cases import CASES
from workbench.convert.load import load
from workbench.errors import WorkbenchError


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_each_case_is_served_or_refused_for_its_reason() -> None:
    import_exporter()
    found: Counter[str] = Counter()
    for case in CASES:
        source, rows = case.make()
        try:
            report = asyncio.run(load(OnnxClient(), "m", source, {}, sample=rows))
        except WorkbenchError as error:
            assert case.refused, f"{case.kind}: {error.message}"
            assert case.refused in error.message
            found["refused"] += 1
        else:
            assert not case.refused, case.kind
            found["served"] += 1
            print(case.kind, "|", report.exported, "|", report.compared)
    assert found == {"served": 18, "refused": 2}

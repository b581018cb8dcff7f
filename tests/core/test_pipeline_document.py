from __future__ import annotations

import pytest

from workbench.core.model import Signature, TensorSpec
from workbench.core.pipeline import Pipeline, PipelineStep
from workbench.core.pipeline_document import checked

X, Y, SAME = (TensorSpec(name, "FP32", (-1, 4)) for name in ("x", "y", "same"))


def test_an_output_that_is_only_an_input_is_refused_since_no_stage_would_answer_it() -> None:
    steps = (PipelineStep("plus", inputs={"x": "t0"}, outputs={"y": "t1"}),)
    checked(Pipeline(steps, {"x": "t0"}, {"y": "t1"}), Signature((X,), (Y,)))
    with pytest.raises(ValueError, match="the output 'same' is an input that no stage has changed"):
        checked(Pipeline(steps, {"x": "t0"}, {"y": "t1", "same": "t0"}), Signature((X,), (Y, SAME)))

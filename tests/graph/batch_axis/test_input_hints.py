from __future__ import annotations

import pytest

from tests.helpers.onnx_rows import graph
from workbench.core.batch_proof import InputHint
from workbench.graph.batch_axis import analyse

TABLE = "float[5,2] w = {1,2,3,4,5,6,7,8,9,10}"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f"int64[N,S] x -> y <{TABLE}> {{ y = Gather(w, x) }}", InputHint(below=5)),
        (f"float[N] x -> y <{TABLE}> {{ i = Cast<to=7>(x) y = Gather(w, i) }}", InputHint(below=5)),
        (f"int64[N] x -> y <{TABLE}> {{ y = Gather<axis=1>(w, x) }}", InputHint(below=2)),
        ("float[N] x -> y <float c = {2.5}> { y = Greater(x, c) }", InputHint(constants=(2.5,))),
        ("float[N] x -> y <float a = {-1}, float b = {6}> { y = Clip(x, a, b) }", InputHint(constants=(-1.0, 6.0))),
        # Where 2 x - 4 = 10.
        ("float[N] x -> y <float t = {2}, float f = {4}, float c = {10}> "
         "{ d = Mul(t, x) s = Sub(d, f) y = Less(s, c) }", InputHint(constants=(7.0,))),
    ],
)  # fmt: skip
def test_a_trial_is_told_what_an_input_is_compared_with_and_what_it_indexes(text: str, hint: InputHint) -> None:
    assert analyse(graph(text), strict=True).hints == {"x": hint}


def test_what_a_network_computed_says_nothing_of_its_input() -> None:
    text = "float[N,2] x -> y <float c = {2.5}> { e = Exp(x) y = Greater(e, c) }"
    assert analyse(graph(text), strict=True).hints == {}

from __future__ import annotations

import onnx.defs
import pytest

from workbench.config import ModelConfig
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.onnx_operators import STEADY_OPERATORS
from workbench.engine.costs import Curve
from workbench.engine.inline_execution import BANNED_S, Inline, LoopShare, may_run_inline

SHORT = Curve({1: 1e-5, 4: 2e-5})


@pytest.mark.parametrize(
    ("shape", "operators", "config", "may"),
    [
        ((FREE, 2), {"Gemm"}, ModelConfig(), True),
        ((FREE, 2), {"Gemm", "Loop"}, ModelConfig(), False),
        ((FREE, 2), {"Gemm", "Range"}, ModelConfig(), False),
        ((FREE, 2), {"Gemm", "some.domain:Gemm"}, ModelConfig(), False),
        ((FREE, 2), {"ai.onnx.ml:Scaler", "Relu"}, ModelConfig(), True),
        ((FREE, 2), set(), ModelConfig(), False),  # nobody looked into the file
        ((FREE, FREE), {"Gemm"}, ModelConfig(), False),
        ((FREE, 2), {"Gemm"}, ModelConfig(max_queue_delay_s=0.1), False),
    ],
)
def test_only_what_takes_as_long_as_was_measured_may_run_on_the_event_loop(
    shape: tuple[int, ...], operators: set[str], config: ModelConfig, may: bool
) -> None:
    signature = Signature((TensorSpec("x", "FP32", shape),), ())
    assert may_run_inline(signature, frozenset(operators), STEADY_OPERATORS, config) is may


def test_the_length_of_a_text_was_not_measured() -> None:
    signature = Signature((TensorSpec("x", "BYTES", (FREE, 1)),), ())
    assert not may_run_inline(signature, frozenset(("Identity",)), STEADY_OPERATORS, ModelConfig())


def test_operators_on_the_event_loop_are_ones_that_onnx_has() -> None:
    known = {f"{each.domain}:{each.name}".removeprefix(":") for each in onnx.defs.get_all_schemas()}
    assert known >= STEADY_OPERATORS


def test_a_number_that_says_how_much_to_compute_holds_up_no_loop() -> None:
    signature = Signature((TensorSpec("x", "INT64", (FREE, 1)),), (TensorSpec("y", "INT64", (FREE, 1)),))
    operators = frozenset(("ReduceMax", "Range", "ReduceSum", "Mul", "Add"))
    assert not may_run_inline(signature, operators, STEADY_OPERATORS, ModelConfig())


@pytest.mark.parametrize(
    ("allowed", "curve", "most_rows", "inline"),
    [
        (True, SHORT, 4, True),
        (False, SHORT, 4, False),
        (True, None, 4, False),
        (True, SHORT, 8, False),  # 8 rows were not measured
        (True, Curve({1: 1e-5, 4: 1e-3}), 4, False),
    ],
)
def test_every_size_must_have_been_measured_short(
    allowed: bool, curve: Curve | None, most_rows: int, inline: bool
) -> None:
    choice = Inline(LoopShare())
    assert choice.decide(allowed, curve, most_rows, 0.0) is inline
    assert choice.now is inline


def test_a_model_whose_runs_grow_leaves_the_loop_and_comes_back_when_they_are_short_again() -> None:
    choice = Inline(LoopShare())
    found = [(seconds, choice.decide(True, Curve({1: seconds}), 1, 0.0), choice.now) for seconds in TIMES]
    assert found == [
        (0.2e-3, True, True),
        (0.4e-3, False, True),  # over the bound for coming, not for staying
        (0.7e-3, True, False),
        (0.4e-3, False, False),
        (0.2e-3, True, True),
    ]


TIMES = (0.2e-3, 0.4e-3, 0.7e-3, 0.4e-3, 0.2e-3)


def test_two_long_runs_close_together_send_it_off_the_loop_for_a_while_then_for_longer() -> None:
    choice = Inline(LoopShare())
    choice.decide(True, SHORT, 4, 0.0)
    assert not choice.ran(0.02, 0.0)
    assert not choice.ran(0.02, 100.0)  # one may be a busy machine
    assert choice.ran(0.02, 101.0)
    assert not choice.now
    assert not choice.decide(True, SHORT, 4, 101.0 + BANNED_S - 1)
    assert choice.decide(True, SHORT, 4, 101.0 + BANNED_S)
    choice.ran(0.02, 300.0)
    choice.ran(0.02, 301.0)
    assert not choice.decide(True, SHORT, 4, 301.0 + BANNED_S)
    assert choice.decide(True, SHORT, 4, 301.0 + 2 * BANNED_S)


def test_what_runs_cost_the_loop_is_added_up_over_models() -> None:
    time = LoopShare()
    one, other = Inline(time), Inline(time)
    one.ran(0.001, 1.0)
    other.ran(0.003, 1.0)
    one.ran(0.002, 2.0)
    assert time == LoopShare(0.0, 0.003)
    assert (one.settle(), other.settle(), one.settle()) == (0.003, 0.003, 0.0)
    assert time == LoopShare(0.006, 0.003)

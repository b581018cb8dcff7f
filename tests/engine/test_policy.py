from __future__ import annotations

import onnx.defs
import pytest

from workbench.config import ModelConfig
from workbench.core.messages import ReleaseReason
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.engine.policy import _STEADY, HOP_S, AlonePolicy, Plan, WindowPolicy, fastest_size, runs_inline


@pytest.mark.parametrize(
    ("pending_rows", "waited_s", "plan"),
    [
        (1, 0.0, Plan(1, 0.0, ReleaseReason.IDLE)),
        (7, 0.0, Plan(7, 0.0, ReleaseReason.IDLE)),
        (8, 0.0, Plan(8, 0.0, ReleaseReason.FULL)),
        (9, 5.0, Plan(8, 0.0, ReleaseReason.FULL)),
    ],
)
def test_without_a_delay_a_free_runner_takes_what_there_is(pending_rows: int, waited_s: float, plan: Plan) -> None:
    assert WindowPolicy(8).plan(pending_rows, waited_s) == plan


@pytest.mark.parametrize(
    ("pending_rows", "waited_s", "plan"),
    [
        (1, 0.0, Plan(0, 0.25, ReleaseReason.DELAY)),
        (7, 0.125, Plan(0, 0.125, ReleaseReason.DELAY)),
        (7, 0.25, Plan(7, 0.0, ReleaseReason.DELAY)),
        (8, 0.0, Plan(8, 0.0, ReleaseReason.FULL)),
    ],
)
def test_a_delay_waits_for_a_full_batch_and_no_longer(pending_rows: int, waited_s: float, plan: Plan) -> None:
    assert WindowPolicy(8, 0.25).plan(pending_rows, waited_s) == plan


def test_an_unbatched_model_runs_one_request_at_a_time() -> None:
    assert AlonePolicy().plan(50, 9.0) == Plan(1, 0.0, ReleaseReason.ALONE)


@pytest.mark.parametrize(
    ("run_s", "most", "size"),
    [
        ({}, 64, 64),
        ({1: 0.010, 8: 0.011, 32: 0.060}, 64, 8),  # memory-bound: 8 rows cost what one does, 32 do not
        ({1: 0.010, 2: 0.020, 4: 0.040}, 64, 4),  # nothing gained in running, but hops are saved
        ({1: 1.0, 2: 2.8, 4: 7.0}, 64, 1),  # a model that gets slower by batching
        ({1: 10e-6, 8: 100e-6, 32: 400e-6}, 64, 32),  # a forest: the hop alone makes batching pay
        ({1: 0.010, 8: 0.011, 32: 0.012}, 8, 8),  # the setting caps it
        ({16: 0.010}, 8, 8),  # nothing measured within the cap
    ],
)
def test_the_batch_size_is_the_one_measured_fastest(run_s: dict[int, float], most: int, size: int) -> None:
    assert fastest_size(run_s, most) == size


def test_a_hop_is_counted_once_for_a_batch() -> None:
    assert fastest_size({1: 0.0, 2: HOP_S}, 2) == 2


SHORT = {1: 1e-5, 4: 2e-5}


@pytest.mark.parametrize(
    ("shape", "operators", "run_s", "config", "inline"),
    [
        ((FREE, 2), {"Gemm"}, SHORT, ModelConfig(max_batch_size=4), True),
        ((FREE, 2), {"Gemm"}, SHORT, ModelConfig(max_batch_size=8), False),  # 8 rows were not measured
        ((FREE, 2), {"Gemm"}, {1: 1e-5, 4: 1e-3}, ModelConfig(max_batch_size=4), False),
        ((FREE, 2), {"Gemm", "Loop"}, SHORT, ModelConfig(max_batch_size=4), False),
        ((FREE, 2), {"Gemm", "Range"}, SHORT, ModelConfig(max_batch_size=4), False),
        ((FREE, 2), {"Gemm", "some.domain:Gemm"}, SHORT, ModelConfig(max_batch_size=4), False),
        ((FREE, 2), {"ai.onnx.ml:Scaler", "Relu"}, SHORT, ModelConfig(max_batch_size=4), True),
        ((FREE, 2), set(), SHORT, ModelConfig(max_batch_size=4), False),  # nobody looked into the file
        ((FREE, FREE), {"Gemm"}, SHORT, ModelConfig(max_batch_size=4), False),
        ((FREE, 2), {"Gemm"}, {}, ModelConfig(max_batch_size=4), False),
        ((FREE, 2), {"Gemm"}, SHORT, ModelConfig(max_batch_size=4, max_queue_delay_s=0.1), False),
    ],
)
def test_only_runs_known_to_be_short_go_on_the_event_loop(
    shape: tuple[int, ...], operators: set[str], run_s: dict[int, float], config: ModelConfig, inline: bool
) -> None:
    signature = Signature((TensorSpec("x", "FP32", shape),), ())
    assert runs_inline(signature, frozenset(operators), run_s, config) is inline


def test_the_length_of_a_text_was_not_measured() -> None:
    signature = Signature((TensorSpec("x", "BYTES", (FREE, 1)),), ())
    assert not runs_inline(signature, frozenset(("Identity",)), SHORT, ModelConfig(max_batch_size=4))


def test_operators_on_the_event_loop_are_ones_that_onnx_has() -> None:
    known = {f"{each.domain}:{each.name}".removeprefix(":") for each in onnx.defs.get_all_schemas()}
    assert known >= _STEADY


def test_a_number_that_says_how_much_to_compute_holds_up_no_loop() -> None:
    signature = Signature((TensorSpec("x", "INT64", (FREE, 1)),), (TensorSpec("y", "INT64", (FREE, 1)),))
    operators = frozenset(("ReduceMax", "Range", "ReduceSum", "Mul", "Add"))
    assert not runs_inline(signature, operators, SHORT, ModelConfig(max_batch_size=4))

"""How many rows the next batch takes, and when: pure decisions, told the time, holding no clock.

Work-conserving: while a runner is free nothing waits, unless the model's settings ask for a queue delay. While all
runners are busy requests gather by themselves, and the next free runner takes the number of rows that was measured
to be fastest, not simply all of them: on a CPU four batches of 8 can beat one of 32 by 1.6 times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from workbench.config import ModelConfig
from workbench.core.messages import ReleaseReason
from workbench.core.model import FREE, Signature
from workbench.core.tensor import BYTES

HOP_S = 60e-6
"""Seconds that any batch costs beside its run: waking the runner, joining, splitting, waking the event loop.
Added to each measured run, or a model whose single row runs in 10 us would never be batched though it gains."""

NEARLY_BEST = 0.8
"""Of sizes that run this near to the best measured rows/s, the largest is taken: fewer hops, a shorter queue, and on a
busy machine the measurements themselves are no better than that."""

INLINE_BOUND_S = 0.3e-3
"""The longest that a batch may hold up the event loop. Waking a thread and being woken costs a third of this."""

SLOW_INLINE_S = 10e-3
"""A run on the event loop that takes this long was misjudged."""

INLINE = "on the event loop: its runs are so short (measured) that handing them to a thread would take longer"

_STEADY_NAMES = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitShift BitwiseAnd
    BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Concat Constant Conv ConvInteger ConvTranspose Cos Cosh
    CumSum DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Flatten Floor GRU
    Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual
    GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LSTM
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool
    Mean MeanVarianceNormalization Min Mish Mod Mul Neg Not Or PRelu Pow QLinearConv QLinearMatMul QuantizeLinear
    RMSNormalization RNN Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin
    Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu
    TopK Transpose Trilu Unsqueeze Where Xor
    ai.onnx.ml:ArrayFeatureExtractor ai.onnx.ml:Binarizer ai.onnx.ml:FeatureVectorizer ai.onnx.ml:Imputer
    ai.onnx.ml:LabelEncoder ai.onnx.ml:LinearClassifier ai.onnx.ml:LinearRegressor ai.onnx.ml:Normalizer
    ai.onnx.ml:OneHotEncoder ai.onnx.ml:SVMClassifier ai.onnx.ml:SVMRegressor ai.onnx.ml:Scaler ai.onnx.ml:TreeEnsemble
    ai.onnx.ml:TreeEnsembleClassifier ai.onnx.ml:TreeEnsembleRegressor
"""
_STEADY = frozenset(_STEADY_NAMES.split())
"""Operators whose time depends on shapes, and so was measured. Not on what a number says, as with Range, Expand, Tile,
ConstantOfShape, NonZero, Resize, Pad, OneHot, Loop, If or Scan; nor on the length of strings."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a group of pending requests now: take up to `rows` rows, or look again in `wait_s` seconds."""

    rows: int
    """0: take nothing yet. A single request that is larger than this travels alone."""
    wait_s: float
    reason: ReleaseReason


class BatchPolicy(Protocol):
    def plan(self, pending_rows: int, waited_s: float) -> Plan:
        """`pending_rows` of one shape wait, the oldest since `waited_s` seconds, and a runner is free."""
        ...


class AlonePolicy:
    """One request a run, for a model whose rows were not proved independent."""

    def plan(self, pending_rows: int, waited_s: float) -> Plan:
        return Plan(1, 0.0, ReleaseReason.ALONE)


class WindowPolicy:
    """Batches up to the size that is fastest, waiting only where `max_queue_delay_s` is set."""

    def __init__(self, max_batch_size: int, max_queue_delay_s: float = 0.0, run_s: Mapping[int, float] | None = None):
        """`run_s`: measured seconds of one run by batch size; None or empty: take as many as `max_batch_size`."""
        self.best_size = fastest_size(run_s or {}, max_batch_size)
        self._delay_s = max_queue_delay_s

    def plan(self, pending_rows: int, waited_s: float) -> Plan:
        if pending_rows >= self.best_size:
            return Plan(self.best_size, 0.0, ReleaseReason.FULL)
        left_s = self._delay_s - waited_s
        if left_s > 0:
            return Plan(0, left_s, ReleaseReason.DELAY)
        return Plan(pending_rows, 0.0, ReleaseReason.DELAY if self._delay_s else ReleaseReason.IDLE)


def fastest_size(run_s: Mapping[int, float], max_batch_size: int) -> int:
    """The largest of the measured sizes that is within NEARLY_BEST of the best rows/s, hop included.

    A size that was never measured is never preferred to one that was: seeding stops where runs become long, and
    there larger batches only add latency.
    """
    rates = {size: size / (seconds + HOP_S) for size, seconds in run_s.items() if size <= max_batch_size}
    if not rates:
        return max_batch_size
    enough = NEARLY_BEST * max(rates.values())
    return max(size for size, rate in rates.items() if rate >= enough)


def runs_inline(
    signature: Signature, operators: frozenset[str], run_s: Mapping[int, float], config: ModelConfig
) -> bool:
    """True where every batch that may be formed was measured, and is too short to be worth a thread.

    A free axis beside the first makes shapes that were not measured, as a text has a length that was not; an operator
    that is not known may take any time; a queue delay needs a runner to wait it out.
    """
    if config.max_queue_delay_s or not run_s or not operators or not operators <= _STEADY:
        return False
    if any(spec.datatype == BYTES or FREE in spec.shape[1:] for spec in signature.inputs):
        return False
    # A request may bring more rows than the fastest size has, and then travels alone.
    return max(run_s) >= config.max_batch_size and max(run_s.values()) <= INLINE_BOUND_S

"""Names ONNX operators by what they do: those whose run time depends on input shapes only, so that one measurement of
a shape holds, and those that end the process on an empty input."""

from __future__ import annotations

from typing import Final

_NAMES = """
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
STEADY_OPERATORS: Final = frozenset(_NAMES.split())
"""Operators whose time depends on shapes, and so was measured. Not on what a number says, as with Range, Expand, Tile,
ConstantOfShape, NonZero, Resize, Pad, OneHot, Loop, If or Scan; nor on the length of strings."""

ABORTING_OPERATORS: Final = frozenset(
    {"LSTM", "GRU", "com.microsoft:DynamicQuantizeLSTM", "ConvTranspose", "STFT", "Unique"}
)
"""Operators that end the whole process on some inputs without elements, in ONNX Runtime 1.31: LSTM and GRU by 0 rows
(SIGABRT), ConvTranspose by an empty volume (SIGSEGV), STFT by an empty window (SIGFPE), Unique by rows without elements
(SIGABRT). Found by running 1,855 of onnx's node tests with each axis of their inputs emptied; the others run or refuse,
but for Conv, which does not come to an end with an empty kernel as an input."""

"""Our own ONNX of the scikit-learn estimators that skl2onnx lacks, or exports otherwise than they answer."""

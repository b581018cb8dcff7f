"""Reads ONNX graphs and rewrites copies of them, without a runtime and without running anything."""

"""Models on disk: repositories laid out for people, a store laid out by content. An ONNX file is untrusted input."""

"""A live object -> an ONNX model, in the process that holds it, and the proof that the two agree."""

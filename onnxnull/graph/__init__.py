"""Open an ONNX file safely, walk it, and know the type, shape and constant value of what flows through it. Runs nothing."""

"""Healthy networks, ways to break them, and a judge that knows nothing of onnxnull."""

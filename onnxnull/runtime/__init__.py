"""Running models with onnxruntime: providers, sessions, and the same weights at another precision."""

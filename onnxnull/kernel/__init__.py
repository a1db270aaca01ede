"""Matrices and linear maps: ranks, proofs, null spaces. Knows no ONNX. Matrices are q×p: rows are inputs, columns outputs."""

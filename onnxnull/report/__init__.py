"""Reports in every format: one file per format. Nothing is computed here that is not in the `ModelReport`."""

from onnxnull.report.batch import Batch, Failure

__all__ = ["Batch", "Failure"]

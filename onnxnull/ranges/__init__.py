"""Which values the tensors of a network can take at all: forward abstract interpretation by intervals.

`onnxnull.intervals` holds the sets and what operations make of them, each family in `onnxnull.operators` what its operators do;
`propagation` is the walk over a model, and `claims` what follows for the outputs.

What is said of a set holds for every input that is finite and at which no computation on finite numbers overflows: so the
product of an activation and 0 is 0, although an activation that overflowed to Inf would make it NaN. No axis has length 0.
"""

"""The origin of values that only a run decides: which constants their entries are, where they are some.

`values` says what an origin is, `tracing` goes through the model, `transfer` through one node: `exact` where a node reads
constants and alternatives alone, `rules` where it reads something that a run computes as well, `slicing` for loops, branches
and sequences.
"""

"""Whether two ONNX files hold the same network: `compare.compare(a, b)` → `results.Comparison`.

1. `features`: what is remembered of every weight. 2. `matching`: which weights are partners. 3. `alignment`: in which order one
holds what the other holds. 4. `closeness`: how far apart two aligned matrices are, as a verdict. 5. `folding`: factors that the
graph puts on a weight. 6. `angles`: principal angles between kernels. 7. `inputs`, `crossing`: the inputs of one network as
those of the other, and running both.
"""

"""What `scripts/fuzz.py` is made of: seed models, mutations, and the sandbox in which onnxnull meets what comes out."""

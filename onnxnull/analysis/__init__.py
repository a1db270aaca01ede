"""The analysis of a model: its weights and tables, the constants beside them, and the proofs of its ranks."""

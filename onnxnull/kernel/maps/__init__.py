"""Linear maps between tensors and what makes them: convolutions, contractions, selections of entries."""

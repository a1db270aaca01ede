"""The run half of `compare`: both models on the same inputs."""

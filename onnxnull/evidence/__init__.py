"""Evidence of collisions on disk: bundles are written, read as files from a stranger, and verified again."""

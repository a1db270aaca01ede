"""Two inputs that differ and collide: made, run, verified, kept as evidence."""

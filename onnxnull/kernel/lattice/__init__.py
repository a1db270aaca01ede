"""Integer vectors in the kernel of an integer matrix: lattice reduction, and the vectors inside a box."""

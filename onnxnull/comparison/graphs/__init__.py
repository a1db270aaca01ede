"""The graph half of `compare`: normal forms of two graphs, and where they part."""

"""The command line: one file per command, shared options in `options.py`. `main` is the console script."""

from onnxnull.cli.main import main

__all__ = ["main"]

"""`python -m onnxnull`."""

from onnxnull.cli import main

if __name__ == "__main__":
    main()

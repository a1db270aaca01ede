"""The JSON of commands as types, a file each; `schemas.py` makes their schemas (`collide`, `replay`, `compare` have files)."""

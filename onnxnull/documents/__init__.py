"""The JSON of every command as types: a file each. The schemas follow from them (`schemas.py`)."""

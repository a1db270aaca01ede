"""The release gate: which findings block a release, by rules in one table (`rules.py`), a policy file and exceptions."""

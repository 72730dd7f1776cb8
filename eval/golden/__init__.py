"""Check this code against numbers of the released networks; `scripts/check_golden.py` and tests call it."""

"""Building blocks of the vision transformer, one idea per file."""

"""Weights on disk and on the hub: finding, reading, naming, saving."""

"""Readers that only the benchmarks need; those of data sets are in `geometry.datasets`."""

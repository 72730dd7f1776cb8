"""Rows, published numbers, intervals and formats of `nvs-eval table`."""

"""Rows, published numbers, intervals and formats of `nvs-eval table`."""

from nvs.options import METRICS

MEANINGS = ("scenes", "protocol", "weights", "licence", "commit")
COLUMNS = (*METRICS, "difference", *MEANINGS)

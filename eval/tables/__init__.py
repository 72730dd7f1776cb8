"""Rows, published numbers, intervals and formats of `nvs-eval table`."""

from eval.tables.metrics import METRICS

MEANINGS = ("scenes", "protocol", "weights", "licence", "commit")
COLUMNS = (*METRICS, "difference", *MEANINGS)

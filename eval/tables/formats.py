"""A table as Markdown, LaTeX or CSV. All state the same rows; CSV has every digit."""

import csv
import io
from collections.abc import Callable

from eval.tables.bootstrap import Difference
from eval.tables.rows import Row, Table, number, signed
from nvs.metrics import METRICS

_HEADS = {"psnr": "PSNR", "ssim": "SSIM", "lpips_vgg": "LPIPS (VGG)", "lpips_alex": "LPIPS (Alex)"}
_MEANINGS = ("scenes", "protocol", "weights", "licence", "commit")


def markdown(tables: list[Table]) -> str:
    """One section per table."""
    parts = []
    for table in tables:
        heads, lines = _cells(table)
        rows = markdown_rows(heads, lines, "r" * len(table.metrics))
        notes = [f"- {note}" for note in table.notes]
        parts.append("\n".join([f"### {table.title}", "", *rows, *([""] if notes else []), *notes]))
    return "\n\n".join(parts) + "\n"


def markdown_rows(heads: list[str], lines: list[list[str]], aligned: str = "") -> list[str]:
    """Lines of one table; ``aligned`` says l or r of the columns after the first."""
    rule = ["---"] + ["---:" if side == "r" else "---" for side in aligned.ljust(len(heads) - 1, "l")]
    body = [heads, rule, *([cell.replace("|", "\\|") for cell in line] for line in lines)]
    return ["| " + " | ".join(line) + " |" for line in body]


def latex(tables: list[Table]) -> str:
    """Tabulars in the booktabs style."""
    parts = []
    for table in tables:
        heads, lines = _cells(table)
        columns = "l" + "r" * len(table.metrics) + "l" * (len(heads) - 1 - len(table.metrics))
        rows = [" & ".join(map(_escaped, line)) + r" \\" for line in (heads, *lines)]
        body = [r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"]
        notes = [f"% {note}" for note in table.notes]
        start, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
        parts.append("\n".join([f"% {table.title}", *notes, start, *body, end]))
    return "\n\n".join(parts) + "\n"


def comma_separated(tables: list[Table]) -> str:
    """One header for all tables; differences as three columns each; empty where there is no number."""
    metrics = [m for m in METRICS if any(m in table.metrics for table in tables)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    ends = [f"{m}_{part}" for m in metrics for part in ("difference", "low", "high")]
    writer.writerow(["benchmark", "method", *metrics, "baseline", *ends, *_MEANINGS])
    for table in tables:
        for row in table.rows:
            differences = [value for m in metrics for value in _numbers(row.differences.get(m))]
            writer.writerow(
                [
                    table.title.split(",")[0],
                    row.method,
                    *(_plain(row.values.get(m)) for m in metrics),
                    table.baseline if row.differences else "",
                    *differences,
                    *(getattr(row, name) for name in _MEANINGS),
                ]
            )
    return stream.getvalue()


FORMATS: dict[str, Callable[[list[Table]], str]] = {
    "markdown": markdown,
    "latex": latex,
    "csv": comma_separated,
}


def _cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Heads and lines as printed; differences only where there is something to differ from."""
    compared = [m for m in table.metrics if any(m in row.differences for row in table.rows)]
    heads = ["method", *(_HEADS[m] for m in table.metrics)]
    heads += [f"{_HEADS[m]} - {table.baseline} [95 %]" for m in compared] + list(_MEANINGS)
    return heads, [_line(row, table.metrics, compared) for row in table.rows]


def _line(row: Row, metrics: tuple[str, ...], compared: list[str]) -> list[str]:
    printed = row.weights == "published"
    values = ["-" if printed and m not in row.values else number(m, row.values.get(m)) for m in metrics]
    differences = [_interval(m, row.differences.get(m)) for m in compared]
    return [row.method, *values, *differences, *(getattr(row, name) for name in _MEANINGS)]


def _interval(metric: str, difference: Difference | None) -> str:
    if difference is None:
        return ""
    mean, low, high = (signed(metric, value) for value in difference[:3])
    return mean if difference.low is None else f"{mean} [{low}, {high}]"


def _numbers(difference: Difference | None) -> list[str]:
    return ["", "", ""] if difference is None else [_plain(value) for value in difference[:3]]


def _plain(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _escaped(text: str) -> str:
    """LaTeX's special characters as themselves."""
    named = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(named.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)

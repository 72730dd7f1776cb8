"""Tables as Markdown, LaTeX or CSV: methods by columns, or the scenes with one column a method.

Markdown states everything, LaTeX what fits a paper, CSV every digit.
"""

import csv
import io
from collections.abc import Callable, Sequence

from eval.tables.bootstrap import Difference
from eval.tables.grids import COLUMNS, MEANINGS, Grid, make_grids, paper_metrics
from eval.tables.rows import Table
from nvs.metrics import METRICS


def markdown(tables: list[Table], columns: Sequence[str] | None = None, *, per_scene: bool = False) -> str:
    """One section per table.

    Args:
        columns: of `COLUMNS`; None takes all that have a value. Per scene, metrics alone count.
        per_scene: the scenes' means, one column a method, a section for each metric.
    """
    parts = []
    for grid in make_grids(tables, columns or COLUMNS, per_scene):
        rows = markdown_rows(grid.heads, grid.lines, _aligned(grid)[1:])
        notes = [f"- {note}" for note in grid.notes]
        parts.append("\n".join([f"### {grid.title}", "", *rows, *([""] if notes else []), *notes]))
    return "\n\n".join(parts) + "\n"


def markdown_rows(heads: list[str], lines: list[list[str]], aligned: str = "") -> list[str]:
    """Lines of one table; ``aligned`` says l or r of the columns after the first."""
    rule = ["---"] + ["---:" if side == "r" else "---" for side in aligned.ljust(len(heads) - 1, "l")]
    body = [heads, rule, *([cell.replace("|", "\\|") for cell in line] for line in lines)]
    return ["| " + " | ".join(line) + " |" for line in body]


def latex(tables: list[Table], columns: Sequence[str] | None = None, *, per_scene: bool = False) -> str:
    """Floats in the booktabs style: the best value bold, the protocol in the caption.

    Args:
        columns, per_scene: as of `markdown`; None takes PSNR, SSIM and one LPIPS.
    """
    parts = []
    for table in tables:
        chosen = columns or paper_metrics(table)
        for grid in make_grids([table], chosen, per_scene):
            heads = [_escaped(h) + _arrow(m) for h, m in zip(grid.heads, grid.metrics)]
            rows = [" & ".join(heads)]
            for i, line in enumerate(grid.lines):
                cells = [_escaped(cell).replace("†", r"$^\dagger$") for cell in line]
                rows.append(
                    " & ".join(rf"\textbf{{{c}}}" if (i, j) in grid.best else c for j, c in enumerate(cells))
                )
            rows = [row + r" \\" for row in rows]
            caption = _escaped(grid.caption).replace("†", r"$^\dagger$")
            parts.append(
                "\n".join(
                    [
                        *(f"% {note}" for note in grid.notes),
                        r"\begin{table}",
                        r"\centering",
                        rf"\caption{{{caption}}}",
                        rf"\begin{{tabular}}{{{_aligned(grid)}}}",
                        r"\toprule",
                        rows[0],
                        r"\midrule",
                        *rows[1:],
                        r"\bottomrule",
                        r"\end{tabular}",
                        r"\end{table}",
                    ]
                )
            )
    return "\n\n".join(parts) + "\n"


def comma_separated(
    tables: list[Table], columns: Sequence[str] | None = None, *, per_scene: bool = False
) -> str:
    """One header for all tables; differences as three columns each; empty where there is no number.

    Args:
        columns: as of `markdown`.
        per_scene: a line for each scene of each run.
    """
    chosen = columns or COLUMNS
    metrics = [m for m in METRICS if m in chosen and any(m in table.metrics for table in tables)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if per_scene:
        writer.writerow(["benchmark", "protocol", "scene", "method", *metrics])
        for table in tables:
            for scene, methods in table.scenes.items():
                for method, values in methods.items():
                    plain = [_plain(values.get(m)) for m in metrics]
                    writer.writerow([table.benchmark, table.protocol, scene, method, *plain])
        return stream.getvalue()
    ends = [f"{m}_{part}" for m in metrics for part in ("difference", "low", "high")]
    ends = ["baseline", *ends] if "difference" in chosen else []
    meanings = [name for name in MEANINGS if name in chosen]
    writer.writerow(["benchmark", "method", *metrics, *ends, *meanings])
    for table in tables:
        for row in table.rows:
            differences = [value for m in metrics for value in _numbers(row.differences.get(m))]
            differences = [table.baseline if row.differences else "", *differences] if ends else []
            values = [_plain(row.values.get(m)) for m in metrics]
            stated = [getattr(row, name) for name in meanings]
            writer.writerow([table.benchmark, row.method, *values, *differences, *stated])
    return stream.getvalue()


FORMATS: dict[str, Callable[..., str]] = {"markdown": markdown, "latex": latex, "csv": comma_separated}


def _arrow(metric: str | None) -> str:
    if metric is None:
        return ""
    return r" $\downarrow$" if metric.startswith("lpips") else r" $\uparrow$"


def _aligned(grid: Grid) -> str:
    return "".join("r" if i in grid.numbers else "l" for i in range(len(grid.heads)))


def _numbers(difference: Difference | None) -> list[str]:
    return ["", "", ""] if difference is None else [_plain(value) for value in difference[:3]]


def _plain(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _escaped(text: str) -> str:
    """LaTeX's special characters as themselves."""
    named = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(named.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)

"""Tables as Markdown, LaTeX or CSV: methods by columns, or the scenes with one column a method.

Markdown states everything, LaTeX what fits a paper, CSV every digit. All take ``columns``, some of
`COLUMNS` (None: Markdown and CSV all that have a value, LaTeX PSNR, SSIM and one LPIPS), and ``per_scene``,
for the scenes' means; per scene, metrics alone count.
"""

import csv
import io
from collections.abc import Callable, Sequence

from eval.tables import COLUMNS, MEANINGS
from eval.tables.grids import Grid, make_grids, paper_metrics
from eval.tables.metrics import METRICS
from eval.tables.rows import Table

_LATEX = r"""\begin{table}
\centering
\caption{%s}
\begin{tabular}{%s}
\toprule
%s
\midrule
%s
\bottomrule
\end{tabular}
\end{table}"""
# LaTeX's special characters as themselves, and our own mark of published numbers.
_ESCAPED = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_ESCAPES = str.maketrans(_ESCAPED | {c: f"\\{c}" for c in "&%$#_{}"} | {"†": r"$^\dagger$"})


def markdown(tables: list[Table], columns: Sequence[str] | None = None, *, per_scene: bool = False) -> str:
    """One section a table; per scene, one for each metric."""
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
    """Floats in the booktabs style: the best value bold, the protocol in the caption."""
    parts = []
    for table in tables:
        for grid in make_grids([table], columns or paper_metrics(table), per_scene):
            heads = [head.translate(_ESCAPES) for head in grid.heads]
            for column, metric in zip(grid.numbers, grid.metrics):
                heads[column] += r" $\downarrow$" if METRICS[metric].lower else r" $\uparrow$"
            rows = [[cell.translate(_ESCAPES) for cell in line] for line in grid.lines]
            for i, j in grid.best:
                rows[i][j] = rf"\textbf{{{rows[i][j]}}}"
            first, *others = [" & ".join(row) + r" \\" for row in (heads, *rows)]
            caption = grid.caption.translate(_ESCAPES)
            notes = [f"% {note}" for note in grid.notes]
            parts.append("\n".join([*notes, _LATEX % (caption, _aligned(grid), first, "\n".join(others))]))
    return "\n\n".join(parts) + "\n"


def comma_separated(
    tables: list[Table], columns: Sequence[str] | None = None, *, per_scene: bool = False
) -> str:
    """One header for all tables, a line a method (per scene, a line for each scene of each run).

    Differences are three columns each; empty where there is no number.
    """
    chosen = columns or COLUMNS
    metrics = [m for m in METRICS if m in chosen and any(m in table.metrics for table in tables)]
    compared = metrics if "difference" in chosen else []
    meanings = [name for name in MEANINGS if name in chosen]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if per_scene:
        writer.writerow(["benchmark", "protocol", "scene", "method", *metrics])
        for table in tables:
            for scene, methods in table.scenes.items():
                for method, values in methods.items():
                    writer.writerow(
                        [table.benchmark, table.protocol, scene, method, *_plain(values, metrics)]
                    )
        return stream.getvalue()
    ends = [f"{m}_{part}" for m in compared for part in ("difference", "low", "high")]
    baseline = ["baseline"] if "difference" in chosen else []
    writer.writerow(["benchmark", "method", *metrics, *baseline, *ends, *meanings])
    for table in tables:
        for row in table.rows:
            differences = {
                f"{m}_{part}": value
                for m, found in row.differences.items()
                for part, value in zip(("difference", "low", "high"), found)
            }
            base = [table.baseline if row.differences else "" for _ in baseline]
            stated = [getattr(row, name) for name in meanings]
            values = [*_plain(row.values, metrics), *base, *_plain(differences, ends), *stated]
            writer.writerow([table.benchmark, row.method, *values])
    return stream.getvalue()


FORMATS: dict[str, Callable[..., str]] = {"markdown": markdown, "latex": latex, "csv": comma_separated}


def _aligned(grid: Grid) -> str:
    return "".join("r" if i in grid.numbers else "l" for i in range(len(grid.heads)))


def _plain(values: dict, names: list[str]) -> list[str]:
    return ["" if values.get(name) is None else repr(float(values[name])) for name in names]

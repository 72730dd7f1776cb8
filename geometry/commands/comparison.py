"""Several runs from one command, and the table of their metrics."""

from collections.abc import Mapping, Sequence

from geometry.errors import InputError

SWEPT = "ablation"
COLUMNS = ("absrel", "delta1", "absrel_unposed", "auc3", "auc30", "rra30", "rta30")


def split_sweep(overrides: Sequence[str]) -> dict[str, list[str]]:
    """Overrides of each run by name: ``ablation=a,b`` makes two runs, anything else one.

    Raises:
        InputError: the list names a run twice or has an empty entry.
    """
    lists = [o for o in overrides if o.startswith(f"{SWEPT}=") and "," in o]
    if not lists:
        return {"trained": list(overrides)}
    others = [o for o in overrides if o not in lists]
    names = lists[-1].partition("=")[2].split(",")
    if len(set(names)) != len(names) or not all(names):
        raise InputError(f"{lists[-1]}: expected different names, separated by commas")
    return {name: [*others, f"{SWEPT}={name}"] for name in names}


def comparison_table(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """A text table, a row for each run; metrics on unseen scenes follow those on the first set."""
    wanted = [*COLUMNS, *(f"unseen_{c}" for c in COLUMNS)]
    columns = [c for c in wanted if any(c in m for m in metrics.values())]
    width = max(len(name) for name in [*metrics, "run"])
    lines = ["  ".join(["run".ljust(width), *columns])]
    for name, values in metrics.items():
        cells = [f"{values[c]:.3f}" if c in values else "-" for c in columns]
        lines.append("  ".join([name.ljust(width), *(v.rjust(len(c)) for v, c in zip(cells, columns))]))
    return "\n".join(lines)

"""Experiment trackers that a run's numbers can go to beside its own log: one line of its configuration."""

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from geometry.errors import InputError

Numbers = dict[str, float]


def start_tracker(
    kind: str, out: Path, config: dict[str, Any]
) -> tuple[Callable[[Numbers, int], None], Callable[[], None]]:
    """How numbers of a step are handed over, and how the tracker ends; a resumed run goes on in its entry.

    Where the numbers go, and under which project, the trackers' own environment variables say
    (``WANDB_PROJECT``, ``WANDB_MODE``, ``MLFLOW_TRACKING_URI``, ...).

    Args:
        kind: ``wandb`` or ``mlflow``.

    Raises:
        InputError: it is another one, or not installed.
    """
    if kind not in ("wandb", "mlflow"):
        raise InputError(f"loop.track: expected null, wandb or mlflow, got {kind!r}")
    module = _imported(kind)
    if kind == "wandb":
        identity = hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]
        run = module.init(name=out.name, id=identity, resume="allow", dir=str(out), config=config)
        return lambda numbers, step: run.log(numbers, step=step), run.finish
    stored = out / "mlflow_run_id"
    before = stored.read_text() if stored.exists() else None
    run = module.start_run(run_id=before, run_name=None if before else out.name)
    if before is None:
        stored.write_text(run.info.run_id)
        module.log_dict(config, "config.json")
    return lambda numbers, step: module.log_metrics(numbers, step=step), module.end_run


def _imported(kind: str) -> ModuleType:
    try:
        return importlib.import_module(kind)
    except ImportError as error:
        raise InputError(f"loop.track={kind}: {kind} is not installed; pip install {kind}") from error

"""The training engine: knows torch, and nothing of geometry.

Read in this order: `step` (what a task provides), `loop` (what happens with it), then the file of
whatever you want to know better. docs/training-engine.md tells it in prose.
"""

from geometry.engine.checkpoint import Saving, best_checkpoint, load_weights, newest_whole
from geometry.engine.distributed import Parallel, is_first_process
from geometry.engine.divergence import Diverged, DivergenceGuard
from geometry.engine.interrupt import INTERRUPTED
from geometry.engine.loader import DataStream
from geometry.engine.loop import FitResult, fit
from geometry.engine.optimizer import ParameterGroup, parameter_groups
from geometry.engine.precision import Precision
from geometry.engine.samplers import FixedBatchSampler, SampleRequest, TokenBudgetSampler
from geometry.engine.schedule import Schedule
from geometry.engine.step import TrainingStep, Validation, ValidationRun

__all__ = [
    "INTERRUPTED",
    "DataStream",
    "Diverged",
    "DivergenceGuard",
    "FitResult",
    "FixedBatchSampler",
    "Parallel",
    "ParameterGroup",
    "Precision",
    "SampleRequest",
    "Saving",
    "Schedule",
    "TokenBudgetSampler",
    "TrainingStep",
    "Validation",
    "ValidationRun",
    "best_checkpoint",
    "fit",
    "is_first_process",
    "load_weights",
    "newest_whole",
    "parameter_groups",
]

"""Comparing one array with its reference, and the report of all of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch


@dataclass(frozen=True)
class Tolerance:
    """Passes where |error| <= largest * (relative * |reference| + floor), and its mean <= mean * the same."""

    largest: float
    mean: float | None
    floor: float
    relative: float = 1.0
    finite_only: bool = False  # ill-conditioned: shape and finiteness are all that can be asked


# The tolerances of the golden files' README, by its rows.
NETWORK = Tolerance(2e-3, 1e-4, 0.01)
FEATURES = Tolerance(1e-3, 1e-4, 1.0)
RAY_POSE = Tolerance(1e-4, None, 1.0, relative=0.0)
UTILITY = Tolerance(1e-4, None, 1.0)
PIXELS = Tolerance(0.05, 5e-3, 1.0, relative=0.0)
# A backbone in bfloat16; on a CPU no mean of the released sizes is above 0.04.
BFLOAT16 = Tolerance(np.inf, 0.08, 0.01)
EQUAL = Tolerance(0.0, None, 1.0)
FINITE = Tolerance(0.0, None, 1.0, finite_only=True)


@dataclass(frozen=True)
class Row:
    """Outcome of one array."""

    file: str
    array: str
    largest: float  # largest |error| / allowed scale; 0 for equal text
    passed: bool
    note: str = ""


@dataclass
class Report:
    """All outcomes; a reference array neither compared nor declared an input counts as uncompared."""

    rows: list[Row] = field(default_factory=list)
    inputs: set[tuple[str, str]] = field(default_factory=set)
    expected: set[tuple[str, str]] = field(default_factory=set)
    on_row: Callable[[Row], None] = lambda row: None

    def expect(self, file: str, arrays: list[str]) -> None:
        """Announce every array of a file before comparing any."""
        self.expected |= {(file, name) for name in arrays}

    def declare_input(self, file: str, *arrays: str) -> None:
        """Arrays that were read to produce the others, and are thereby used up."""
        self.inputs |= {(file, name) for name in arrays}

    def compare(self, file: str, array: str, ours: object, reference: object, tolerance: Tolerance) -> None:
        row = Row(file, array, *measure(ours, reference, tolerance))
        self.rows.append(row)
        self.on_row(row)

    @property
    def uncompared(self) -> list[tuple[str, str]]:
        done = {(row.file, row.array) for row in self.rows}
        return sorted(self.expected - done - self.inputs)

    @property
    def passed(self) -> bool:
        return bool(self.rows) and not self.uncompared and all(row.passed for row in self.rows)

    @property
    def total(self) -> int:
        """Number of arrays that can be compared: all but the inputs."""
        return len(self.expected - self.inputs)

    @property
    def compared(self) -> int:
        return len({(row.file, row.array) for row in self.rows} & (self.expected - self.inputs))


def measure(ours: object, reference: object, tolerance: Tolerance) -> tuple[float, bool, str]:
    """Largest scaled error, whether it passes, and a note where the number does not say it all."""
    if hasattr(ours, "detach"):
        ours = ours.detach().cpu()
        ours = (ours.float() if ours.dtype == torch.bfloat16 else ours).numpy()
    ours, reference = np.asarray(ours), np.asarray(reference)
    if ours.shape != reference.shape:
        return np.inf, False, f"shape {ours.shape}, reference {reference.shape}"
    if tolerance.finite_only:
        finite = bool(np.isfinite(ours).all())
        return 0.0 if finite else np.inf, finite, "finite, right shape" if finite else "not finite"
    if reference.dtype.kind in "USOb":
        equal = bool((ours == reference).all())
        return 0.0 if equal else np.inf, equal, "" if equal else f"{ours.tolist()} != {reference.tolist()}"
    ours, reference = ours.astype(np.float64), reference.astype(np.float64)
    if reference.size == 0:
        return 0.0, True, "empty"
    error = np.abs(ours - reference) / (tolerance.relative * np.abs(reference) + tolerance.floor)
    if not np.isfinite(error).all():
        return np.inf, False, "not finite"
    largest, mean = float(error.max()), float(error.mean())
    passed = largest <= tolerance.largest and (tolerance.mean is None or mean <= tolerance.mean)
    return largest, passed, f"mean {mean:.1e}"


def align_quaternion_signs(ours: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """q and -q are one rotation: take the sign that is nearer the reference."""
    ours, reference = np.asarray(ours), np.asarray(reference)
    if ours.shape != reference.shape:
        return ours
    dot = (ours * reference).sum(-1, keepdims=True)
    return np.where(dot < 0, -ours, ours)

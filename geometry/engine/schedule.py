"""Learning rate over the run, as a pure function of the step: nothing to save, nothing to restore."""

import math
from dataclasses import dataclass
from typing import Literal

from geometry.errors import InputError

ONE_CYCLE_START = 1 / 25  # torch.optim.lr_scheduler.OneCycleLR: div_factor
ONE_CYCLE_END = 1 / 25 / 1e4  # and final_div_factor


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Factor on every learning rate.

    Attributes:
        kind: "cosine": linear warm-up from 0, then half a cosine down to ``final_factor``;
            "constant": linear warm-up, then 1;
            "one_cycle": cosine from 1/25 up to 1 during warm-up, then cosine down to 4e-6, as
            torch's OneCycleLR does by default (without its cycling of momentum).
        warmup_steps: length of the warm-up.
        final_factor: where "cosine" ends.
        parts: processes x micro-batches of an update that the optimizer's rate is meant for, where the batch
            grows with them (`TokenBudgetSampler.per_part`); with others the rate is multiplied by
            (those / parts) ** ``power``. None: whatever there are.
        power: 0.5 keeps the noise of Adam's steps, 1 is the linear rule of SGD.
    """

    kind: Literal["cosine", "constant", "one_cycle"] = "cosine"
    warmup_steps: int = 0
    final_factor: float = 0.0
    parts: int | None = None
    power: float = 0.5

    def __post_init__(self) -> None:
        if self.kind not in ("cosine", "constant", "one_cycle"):
            raise InputError(f"schedule.kind must be cosine, constant or one_cycle, got {self.kind!r}")
        if self.warmup_steps < 0:
            raise InputError(f"schedule.warmup_steps must be at least 0, got {self.warmup_steps}")
        if self.parts is not None and self.parts < 1:
            raise InputError(f"schedule.parts must be at least 1 or null, got {self.parts}")

    def factor(self, step: int, steps: int, parts: int = 1) -> float:
        """Factor of an update that so many parts make."""
        of_batch = 1.0 if self.parts is None else (parts / self.parts) ** self.power
        return of_batch * self._over_the_run(step, steps)

    def _over_the_run(self, step: int, steps: int) -> float:
        """Factor for the update of ``step``, which counts from 0 to ``steps - 1``.

        The first update already has ``1 / (warmup_steps + 1)``: a factor of exactly 0 would waste it.
        """
        warmup = min(self.warmup_steps, steps)
        if step < warmup:
            linear = (step + 1) / (warmup + 1)
            return _cosine(ONE_CYCLE_START, 1.0, step / warmup) if self.kind == "one_cycle" else linear
        done = min((step - warmup) / max(steps - 1 - warmup, 1), 1.0)  # 0 at the peak, 1 at the last step
        end = {"cosine": self.final_factor, "constant": 1.0, "one_cycle": ONE_CYCLE_END}[self.kind]
        return _cosine(1.0, end, done)


def _cosine(start: float, end: float, done: float) -> float:
    """Half a cosine from start (done = 0) to end (done = 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2

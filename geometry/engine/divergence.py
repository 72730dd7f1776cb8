"""Detect a run that has diverged."""

import math
import statistics
from dataclasses import dataclass, field

from geometry.errors import InputError


class Diverged(InputError):
    """Training stopped because the loss or the gradient diverged."""


@dataclass(kw_only=True)
class DivergenceGuard:
    """Stops a run whose loss is far above its recent values for many steps on end, or not finite too often.

    An update with a loss or gradient that is not finite is not made (`fit` skips it on all processes, since
    all know the same numbers), so one broken sample costs one step.

    A loss is *far above* when it exceeds the median of the recent good ones by ``factor`` times their
    spread (upper quartile minus median). That works for losses of any sign and scale, and lets single hard
    batches pass.
    """

    factor: float | None = 20.0  # how many spreads; None looks for non-finite numbers only
    skips_in_row: int = 10  # so many updates skipped on end, for numbers that are not finite, stop the run,
    skips_in_all: int = 100  # or so many in all
    patience: int = 50  # so many such steps in a row stop the run
    window: int = 500  # good losses remembered; nothing is judged before a fifth of it is full
    losses: list[float] = field(default_factory=list, init=False)
    bad_steps: int = field(default=0, init=False)
    skipped_on_end: int = field(default=0, init=False)
    skipped: int = field(default=0, init=False)  # in all, those before a resume included

    @property
    def healthy(self) -> bool:
        """False during a row of bad steps: such weights do not replace a good checkpoint."""
        return self.bad_steps == 0

    def check(self, loss: float, gradient_norm: float, *, scaled: bool) -> str | None:
        """The reason to stop, or None.

        Args:
            scaled: an overflowing gradient is expected now and then under fp16's loss scaling, which
                skips the update and lowers its scale by itself.
        """
        what = not_finite(loss, gradient_norm)
        if what and scaled and math.isfinite(loss):
            self.bad_steps += 1
            return what if self.bad_steps >= self.patience else None
        if what:
            self.skipped, self.skipped_on_end = self.skipped + 1, self.skipped_on_end + 1
            if self.skipped_on_end >= self.skips_in_row:
                return f"{what}, for {self.skipped_on_end} steps on end"
            return f"{what}, for {self.skipped} steps in all" if self.skipped >= self.skips_in_all else None
        self.skipped_on_end = 0
        if self.factor is not None and len(self.losses) >= max(self.window // 5, 4):
            _, median, upper = statistics.quantiles(self.losses, n=4, method="inclusive")
            # The floor keeps a loss that has settled to a constant from counting as diverged for a small
            # fluctuation.
            limit = median + self.factor * max(upper - median, 0.01 * abs(median), 1e-12)
            if loss > limit:
                self.bad_steps += 1
                if self.bad_steps < self.patience:
                    return None
                return f"the loss ({loss:.4g}) was above {limit:.4g} for {self.patience} steps on end"
        self.bad_steps = 0
        self.losses = [*self.losses, loss][-self.window :]
        return None

    def state(self) -> dict:
        return {
            "losses": self.losses,
            "bad_steps": self.bad_steps,
            "skipped": self.skipped,
            "skipped_on_end": self.skipped_on_end,
        }

    def load(self, state: dict) -> None:
        self.losses = list(state["losses"])
        self.bad_steps = state["bad_steps"]
        # Earlier versions skipped nothing: they stopped.
        self.skipped, self.skipped_on_end = state.get("skipped", 0), state.get("skipped_on_end", 0)


def not_finite(loss: float, gradient_norm: float) -> str | None:
    """What of a step is not finite, in words; None if all is."""
    if not math.isfinite(loss):
        return f"the loss is not finite ({loss})"
    return None if math.isfinite(gradient_norm) else f"the gradient is not finite (norm {gradient_norm})"

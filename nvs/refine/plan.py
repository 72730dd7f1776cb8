"""How long Gaussians are optimised: steps that fit the number of photos, the machine and the minutes."""

from dataclasses import dataclass

from nvs.options import GaussianOptions


@dataclass(frozen=True)
class Quality:
    """What a quality comes to."""

    rounds: int  # how often every photo is seen
    least: int  # steps
    most: int
    minutes: float  # at most


QUALITIES = {
    "draft": Quality(rounds=0, least=0, most=0, minutes=0.0),
    "good": Quality(rounds=18, least=500, most=1500, minutes=4.0),
    "best": Quality(rounds=40, least=1500, most=8000, minutes=20.0),
}
PAIR_STEPS = 300  # of two photos: some views get worse with more
LEAST_STEPS = 30  # that are given their time: with fewer nothing is gained


@dataclass(frozen=True)
class Plan:
    """Steps, and how long they may take."""

    steps: int
    seconds: float  # that they are expected to take
    most_seconds: float | None = None  # after which refinement ends, whatever step it is at

    def part(self, share: float) -> "Plan":
        """A share of its steps in the same share of its time."""
        most = None if self.most_seconds is None else share * self.most_seconds
        return Plan(max(1, round(share * self.steps)), share * self.seconds, most_seconds=most)

    @property
    def summary(self) -> str:
        """One line, before it starts."""
        minutes, seconds = divmod(round(self.seconds), 60)
        time = f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
        short = self.most_seconds is not None and self.seconds >= self.most_seconds
        steps = f"up to {self.steps} steps in {time}" if short else f"{self.steps} steps, about {time}"
        return f"refining: {steps}; Ctrl-C ends it early and keeps what was reached"


def plan_refinement(
    options: GaussianOptions, photos: int, step_seconds: float, *, spent: float = 0.0
) -> Plan:
    """The steps that options ask for, and the time after which they end.

    Args:
        photos: how many there are to learn from.
        step_seconds: what one step takes on this machine.
        spent: seconds of ``options.minutes`` that are over.
    """
    if options.refine is not None:
        return Plan(options.refine, options.refine * step_seconds)
    quality = QUALITIES["best" if options.minutes and options.quality == "draft" else options.quality]
    seconds = 60 * options.minutes - spent if options.minutes else 60 * quality.minutes
    wanted = min(max(quality.rounds * photos, quality.least), quality.most)
    if options.minutes and options.minutes > quality.minutes:
        wanted = max(wanted, QUALITIES["best"].most)
    if photos <= 2:
        wanted = min(wanted, PAIR_STEPS)
    # Where others use the machine, the time of a step is a guess: the clock ends them, it does not cut them.
    most = max(seconds, LEAST_STEPS * step_seconds)
    return Plan(wanted, min(wanted * step_seconds, most), most_seconds=most)

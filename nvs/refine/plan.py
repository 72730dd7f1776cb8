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
LEAST_STEPS = 30  # with fewer nothing is gained


@dataclass(frozen=True)
class Plan:
    """Steps, and how long they will take."""

    steps: int
    seconds: float
    most_seconds: float | None = None  # where a time was promised: the machine may become busier

    @property
    def summary(self) -> str:
        """One line, before it starts."""
        minutes, seconds = divmod(round(self.seconds), 60)
        time = f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
        return f"refining: {self.steps} steps, about {time}; Ctrl-C ends it early and keeps what was reached"


def plan_refinement(
    options: GaussianOptions, photos: int, step_seconds: float, *, spent: float = 0.0
) -> Plan:
    """The steps that options ask for.

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
    steps = max(LEAST_STEPS, min(wanted, int(seconds / max(step_seconds, 1e-6))))
    return Plan(steps, steps * step_seconds, most_seconds=max(10.0, 1.2 * steps * step_seconds))

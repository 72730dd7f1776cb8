"""Whether a result is to be trusted, and what to do where it is not: a judgement in plain words."""

import warnings
from dataclasses import dataclass

from geometry.console import heard, say

UNTRUSTED = 3  # exit status of a command whose result is not to be trusted
LARGER = "use a larger model (--model small)"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is wrong with a result: sentences that say what to do."""

    problems: tuple[str, ...] = ()  # for which it is not to be trusted
    notes: tuple[str, ...] = ()  # worth knowing
    subject: str = "these pictures"

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def status(self) -> int:
        """Exit status of a command."""
        return 0 if self.ok else UNTRUSTED

    @property
    def title(self) -> str | None:
        """For the top of a contact sheet; None where nothing is wrong."""
        heading = f"Do not trust {self.subject}".upper()
        return "\n".join((heading, *self.problems)) if self.problems else None

    def as_json(self) -> dict[str, object]:
        return {"trustworthy": self.ok, "problems": list(self.problems), "notes": list(self.notes)}

    def tell(self) -> None:
        """Say it; problems become a warning where nobody listens."""
        for note in self.notes:
            say(f"note: {note}")
        if self.problems and not heard():
            warnings.warn(f"do not trust {self.subject}: " + " ".join(self.problems), stacklevel=2)
        for line in (self.title or "").splitlines():
            say(line)


def not_placed(asked: int, placed: int) -> tuple[str, ...]:
    """A note on photos that structure from motion left out."""
    if placed >= asked:
        return ()
    return (
        f"{asked - placed} of {asked} photos could not be placed and are left out: what only they show is "
        "missing.",
    )


def judge_prediction(
    *, model: str, trained: bool, weak: bool, guessed_cameras: bool, asked: int, placed: int
) -> Verdict:
    """What speaks against trusting what a network alone predicted.

    Args:
        weak: its depth and cameras are no better than guesses (`geometry.models.zoo.Variant.weak`).
        guessed_cameras: its own cameras were taken.
        asked: photos of which cameras were wanted.
        placed: those that have some.
    """
    problems: tuple[str, ...] = ()
    what, they = ("depth and cameras", "are") if guessed_cameras else ("depth", "is")
    if not trained:
        problems = (f"UNTRAINED WEIGHTS: the {what} {they} random; {LARGER}.",)
    elif weak:
        problems = (
            f"The {what} {they} a guess of {model!r}, too small to know them: {LARGER}, or nvs render, which "
            "finds depth by comparing photos.",
        )
    return Verdict(problems=problems, notes=not_placed(asked, placed), subject=f"this {what}")

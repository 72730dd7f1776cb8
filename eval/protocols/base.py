"""What a protocol is: what it asks of a method, how it scores the answer, and what tables say of it.

The runner (`eval.run`) knows no more than this. A protocol's instance holds its settings.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from eval.protocols.splits import DividedScene
from geometry.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What is scored, of an `eval.options.Benchmark`; ``extras`` are further metrics of pictures."""

    benchmark: Any
    metrics: tuple[str, ...]
    extras: tuple[Callable, ...] = ()
    device: torch.device | None = None


class Protocol(ABC):
    """One way to judge methods on the scenes of a benchmark."""

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]  # all that it can compute

    def check(self, benchmark: Any, metrics: tuple[str, ...]) -> None:
        """Refuse before anything is predicted what could not be scored: a name that is no metric, or none."""
        unknown = [m for m in metrics if m not in self.metrics]
        if unknown or not metrics:
            raise InputError(
                f"metrics: expected some of {', '.join(self.metrics)}, got {', '.join(unknown) or 'none'}"
            )

    @abstractmethod
    def build(self, options: Any, device: torch.device) -> Any:
        """The method that `eval.options.MethodOptions` name, once it was found to suit this protocol."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All that decides predictions; protocols of the same settings share them."""

    @abstractmethod
    def predict(self, scene: DividedScene, method: Any, device: torch.device, folder: Path) -> None:
        """Ask the method about a scene and write the answer as the folder, whole, with a scene.json."""

    @abstractmethod
    def score(self, scene: DividedScene, predictions: Path, path: Path, scoring: Scoring) -> dict[str, Any]:
        """Scores of a stored answer, from the file at ``path`` where it has them, else computed.

        They are ``scene``, ``means`` by metric (None: missing), ``reasons`` why, ``targets``, ``commit``,
        ``predict_s``, ``size``; and ``weight`` in the mean over scenes where it is not 1.
        """

    @abstractmethod
    def stated(self) -> dict[str, Any]:
        """What a summary says of the protocol."""

"""Several data sets as one, by weight."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np

from geometry.datasets.sources import SceneSource
from geometry.engine.samplers import SampleRequest
from geometry.engine.seeding import derive_seed
from geometry.errors import InputError
from geometry.sampling.assemble import LABELS
from geometry.sampling.prepared import prepared
from geometry.scenes.scene import Scene
from geometry.tensors import TensorRecord
from geometry.views import Example, Truth

R = TypeVar("R", bound=TensorRecord)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One data set of a mixture."""

    source: SceneSource
    weight: float | None = None  # relative frequency of its samples; None: its number of scenes
    without_sky: bool = False  # all its scenes are indoors
    # of every so many photos one, and of each scene at least two, are kept from use; None: all are used
    holdout: int | None = None
    held_out: bool = False  # those that holdout keeps, and no others, are used

    def photos(self, scene: Scene) -> Scene:
        """The scene with those of its photos that may be used."""
        if self.holdout is None:
            return scene
        number = min(len(scene), max(2, len(scene) // self.holdout))
        kept_from = set(np.linspace(0, len(scene) - 1, number + 2)[1:-1].round().astype(int).tolist())
        return scene.select(i for i in range(len(scene)) if (i in kept_from) == self.held_out)


class Mixture:
    """Scenes of several sources, drawn by weight; within a source all scenes alike.

    Args:
        parts: name -> part.
        cache: scenes remembered as records (paths, cameras, overlap; no pixels) in each process. Reading one
            from its index takes milliseconds, so this serves small sets, and samples of one scene.
    """

    def __init__(self, parts: Mapping[str, Part], *, cache: int = 16) -> None:
        self.parts = {name: part for name, part in parts.items() if part.weight != 0}
        weights = [len(p.source) if p.weight is None else p.weight for p in self.parts.values()]
        self.chance = _shares(weights, parts)
        self._size = cache
        self._scenes: OrderedDict[tuple[str, str], Scene] = OrderedDict()

    def draw(self, rng: np.random.Generator, request: SampleRequest) -> tuple[str, str]:
        """Names of a part and of one of its scenes."""
        name = list(self.parts)[int(rng.choice(len(self.chance), p=self.chance))]
        return name, self.parts[name].source.draw(rng, request)

    def read(self, name: str, scene: str) -> Scene:
        """That scene; read once and remembered for a while, or as long as its folder is there."""
        part = self.parts[name]
        found = self._scenes.pop((name, scene), None)
        if found is None or not (found.folder is None or found.folder.is_dir()):
            found = part.photos(prepared(part.source, scene))
        self._scenes[name, scene] = found  # the last one used comes last
        while len(self._scenes) > self._size:
            self._scenes.popitem(last=False)
        return found

    def __len__(self) -> int:
        """Number of scenes in all."""
        return sum(len(part.source) for part in self.parts.values())


class DatasetMixture:
    """Several datasets of samples as one: each request goes to one of them, by weight.

    For datasets that make samples in another way than from scenes on disk, the procedural world above
    all. The choice depends on the request's seed alone.

    Args:
        datasets: name -> dataset, each answering ``dataset[request]``.
        weights: name -> relative frequency.
        labels: masks (``sky``, ``objects``) that all of them give; others are dropped, since a batch needs
            the same fields in every sample.
    """

    def __init__(
        self, datasets: Mapping[str, object], weights: Mapping[str, float], *, labels: Sequence[str] = ()
    ) -> None:
        if set(datasets) != set(weights):
            raise InputError(f"mixture: expected a weight of each of {list(datasets)}, got {dict(weights)}")
        self.datasets: Sequence = list(datasets.values())
        self.chance = _shares([weights[name] for name in datasets], weights)
        self.labels = tuple(labels)
        self.collate = getattr(self.datasets[0], "collate", None)

    def __getitem__(self, request: SampleRequest) -> Example:
        rng = np.random.default_rng(derive_seed(request.seed, "which dataset"))
        sample = self.datasets[int(rng.choice(len(self.chance), p=self.chance))][request]
        return keep_labels(sample, self.labels)


def keep_labels(record: R, labels: Sequence[str]) -> R:
    """The record with only these masks of ``sky`` and ``objects``, in every `Truth` inside it."""
    if isinstance(record, Truth):
        return replace(record, **{label: None for label in LABELS if label not in labels})
    inner = {f.name: getattr(record, f.name) for f in fields(record)}
    return replace(
        record, **{k: keep_labels(v, labels) for k, v in inner.items() if isinstance(v, TensorRecord)}
    )


def _shares(weights: Sequence[float], given: Mapping) -> np.ndarray:
    """Weights that sum to 1."""
    shares = np.asarray(weights, dtype=np.float64)
    if not (len(shares) and (shares >= 0).all() and 0 < shares.sum() < np.inf):
        raise InputError(f"mixture: expected parts with weights of 0 or more, got {dict(given)!r:.200}")
    return shares / shares.sum()

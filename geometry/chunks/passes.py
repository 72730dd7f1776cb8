"""One chunk through the network; each result lies on disk and is never computed twice."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.atomic import atomic_file
from geometry.device import precision
from geometry.models.da3 import MonocularDepth
from geometry.ops import se3
from geometry.predict import Network, predict_geometry, predict_partly
from geometry.prediction import Geometry
from geometry.views import Cameras, Views

_KEPT = ("depth", "depth_conf", "sky", "scale_factor")  # of a `Geometry`


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """What one pass made of some photos, in a world of its own unless their cameras were given."""

    photos: tuple[int, ...]
    geometry: Geometry  # of these photos, on the CPU: depth, confidence, sky, cameras
    file: Path  # in which it lies

    @property
    def depth(self) -> float:
        """A typical one."""
        depth = self.geometry.depth
        return float(depth[depth.isfinite() & (depth > 0)].median())

    @property
    def middle(self) -> Float[np.ndarray, " 3"]:
        """Of the cameras, in this chunk's world."""
        return se3.centres(self.geometry.cameras.extrinsics[0].double()).mean(dim=0).numpy()

    def rows(self, photos: Sequence[int]) -> list[int]:
        """Where photos lie in this chunk."""
        place = {photo: row for row, photo in enumerate(self.photos)}
        return [place[photo] for photo in photos]

    def cameras(self, photos: Sequence[int]) -> Cameras:
        return self.geometry.cameras[:, self.rows(photos)]


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Runs chunks.

    Args:
        views: all photos, [1, V, ...], with cameras where all have one.
        folder: what is done lies there, named by what went in: the photos' pixels, cameras and ``key``. A
            run that was killed goes on with the same numbers, and changed photos are computed anew.
        key: names the weights.
        options: of `geometry.predict.predict_geometry`.
        precision: of the network (`geometry.options.NetworkOptions`).
    """

    network: Network
    views: Views
    device: torch.device
    folder: Path
    key: str
    options: dict[str, Any]
    precision: str = "auto"

    def __call__(self, photos: Sequence[int], told: Chunk | None = None) -> Chunk:
        """One pass over some photos.

        Args:
            told: an earlier chunk, in whose world the network is told the cameras of the photos in both.
        """
        views = self.views[:, list(photos)]
        if told is not None and not self.options.get("ray_pose"):
            known = [photo for photo in photos if photo in told.photos]
            rows = [list(photos).index(photo) for photo in known]
            cameras = told.cameras(known)
            views = replace(
                views,
                cameras=cameras.map(lambda known: _filled(known, rows, len(photos))),
                known=torch.zeros(1, len(photos), dtype=torch.bool).index_fill(1, torch.tensor(rows), True),
            )
        file = self.folder / f"{self._name(views)}.npz"
        if not file.is_file():
            with torch.no_grad(), precision(self.precision, self.network):
                geometry = self._predict(views.to(self.device))
            arrays = {n: t.float().cpu().numpy() for n in _KEPT if (t := getattr(geometry, n)) is not None}
            if geometry.cameras is not None:
                arrays |= {n: t.float().cpu().numpy() for n, t in vars(geometry.cameras).items()}
            with atomic_file(file) as temporary, temporary.open("wb") as out:
                np.savez(out, **arrays)  # type: ignore[arg-type]
        return self.read(photos, file)

    @property
    def monocular(self) -> bool:
        """Whether the network places no cameras."""
        return isinstance(self.network, MonocularDepth)

    def read(self, photos: Sequence[int], file: Path) -> Chunk:
        """A chunk of some photos as it lies on disk: the same numbers now and in the next run."""
        with np.load(file) as stored:
            found = {name: torch.from_numpy(stored[name]) for name in stored}
        poses = {n: found.pop(n) for n in ("extrinsics", "intrinsics") if n in found}
        cameras = Cameras(**poses) if poses else None
        return Chunk(photos=tuple(photos), geometry=Geometry(cameras=cameras, **found), file=file)  # type: ignore[arg-type]

    def _predict(self, views: Views) -> Geometry:
        if views.known is None or self.monocular:
            return predict_geometry(self.network, views, **self.options)
        return predict_partly(self.network, views, **self.options)  # type: ignore[arg-type]

    def _name(self, views: Views) -> str:
        total = hashlib.sha256(f"{self.key} {self.precision} {sorted(self.options.items())}".encode())
        views.map(lambda tensor: _add(total, tensor))
        return total.hexdigest()[:24]


def _add(total: Any, tensor: Tensor) -> Tensor:
    total.update(f"{list(tensor.shape)} {tensor.dtype}".encode())
    total.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
    return tensor


def _filled(known: Tensor, rows: Sequence[int], count: int) -> Tensor:
    """Matrices of some views among ``count``; the others' are the first one's, which nobody is told."""
    whole = known[:, :1].expand(-1, count, -1, -1).clone()
    whole[:, list(rows)] = known
    return whole

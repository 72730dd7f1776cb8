"""A teacher's depth as labels: the files beside the data, and their use from some training step on."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from geometry.atomic import atomic_file
from geometry.errors import InputError, reading
from geometry.options import LabelOptions
from geometry.scenes.scene import Frame, Scene

FOLDER = LabelOptions.folder


def label_folder(scene: Scene, folder: str) -> Path:
    """Where a scene's labels lie: beside its data, in a folder of the scene's name.

    Several scenes may share one data folder, hence the name.

    Raises:
        InputError: the scene is not in a folder.
    """
    if scene.folder is None:
        raise InputError(f"{scene.name}: labels are kept beside the data, but this scene is in no folder")
    return Path(scene.folder) / folder / _plain(scene.name)


def label_path(scene: Scene, frame: Frame, folder: str) -> Path:
    """The file of one frame's label."""
    return label_folder(scene, folder) / f"{_plain(frame.name)}.npz"


def write_label(path: Path, depth: Float[np.ndarray, "h w"]) -> None:
    """Depth as compressed float16 and one unit, whole or not at all; 0 where there is none.

    float16 keeps 11 bits, a step of 0.05 % to 0.1 % of depth, from 0.0001 to 60 000 units. The unit is
    the median depth.
    """
    known = depth > 0
    unit = float(np.median(depth[known])) if known.any() else 1.0
    scaled = np.where(known, np.clip(depth / unit, 1e-4, 6e4), 0).astype(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        np.savez_compressed(temporary, depth=scaled, unit=np.float32(unit))


def read_label(path: Path) -> Float[np.ndarray, "h w"]:
    """Depth in the data's unit, 0 where there is none.

    Raises:
        InputError: the file is damaged.
    """
    with reading(path, "a depth label"), np.load(path, allow_pickle=False) as stored:
        return stored["depth"].astype(np.float32) * stored["unit"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledFrame(Frame):
    """A frame whose depth is a label file instead of the data set's own; None: no depth at all."""

    label: Path | None
    label_turns: int  # `quarter_turns` of the frame that the label was made from

    def load_depth(self) -> Float[np.ndarray, "h w"]:
        """The label in the geometry of `load`: it was made from the upright, undistorted photo."""
        if self.label is None:
            return np.zeros(self.image_size, np.float32)
        return np.ascontiguousarray(np.rot90(read_label(self.label), k=self.label_turns - self.quarter_turns))


def with_label(frame: Frame, label: Path | None) -> LabelledFrame:
    """The frame with this label."""
    own = {f.name: getattr(frame, f.name) for f in fields(Frame)}
    return LabelledFrame(**own, label=label, label_turns=frame.quarter_turns)


@dataclass(frozen=True, kw_only=True)
class TeacherLabels:
    """Gives scenes their teacher labels from a training step on: a `SamplingDataset`'s ``relabel``.

    Args:
        from_step: measured depth before this step, labels from it on.
        folder: as given to `geometry label`.
        missing: what a frame without a label gets, because its alignment failed or it was not labelled:
            ``measured`` depth, or none (``skip``). The paper does not say; measured depth trains on, and is
            right where it exists.

    Source: DA3 (arXiv:2511.10647): teacher labels from step 120k.
    """

    from_step: int
    folder: str = FOLDER
    missing: Literal["measured", "skip"] = "measured"

    def __post_init__(self) -> None:
        if self.missing not in ("measured", "skip"):
            raise InputError(f"labels: missing must be measured or skip, got {self.missing!r}")

    def __call__(self, scene: Scene, step: int) -> Scene:
        if step < self.from_step:
            return scene
        return replace(scene, frames=tuple(self._relabel(scene, frame) for frame in scene.frames))

    def _relabel(self, scene: Scene, frame: Frame) -> Frame:
        path = label_path(scene, frame, self.folder)
        if path.is_file():
            return with_label(frame, path)
        return frame if self.missing == "measured" else with_label(frame, None)


def _plain(name: str) -> str:
    """A name as a relative path inside a folder, whatever a data set calls its frames."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or "_"


class MixedLabels:
    """Aligned teacher depth, or the measured depth with some probability: the metric model's labels.

    Draws from torch's global generator, which the engine seeds for each sample.

    Args:
        measured: probability that a sample keeps its measured depth.
        folder: as given to `geometry label`.

    Source: DA3 (arXiv:2511.10647) section 4.4: the raw ground truth with probability 20 %.
    """

    def __init__(self, *, measured: float = 0.2, folder: str = FOLDER) -> None:
        self.measured = measured
        self.labels = TeacherLabels(from_step=0, folder=folder)

    def __call__(self, scene: Scene, step: int) -> Scene:
        keep = torch.rand(()).item() < self.measured
        return scene if keep else self.labels(scene, step)

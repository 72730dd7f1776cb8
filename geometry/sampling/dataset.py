"""Scenes to training samples: an endless map-style dataset, each sample a function of its seed alone.

Nothing is remembered from sample to sample but files already read, so a resumed run, another number of
workers, or another order of requests gives the same samples.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch

from geometry.console import counted
from geometry.engine.notes import note, note_origin
from geometry.engine.samplers import SampleRequest
from geometry.engine.seeding import derive_seed, make_generator
from geometry.errors import InputError
from geometry.sampling.assemble import LABELS, assemble
from geometry.sampling.augment import GeometricAugmentation, PhotometricAugmentation
from geometry.sampling.far_depth import without_far_depth
from geometry.sampling.mixture import Mixture
from geometry.sampling.overlap import sample_views
from geometry.scenes.scene import Frame, Scene
from geometry.tensors import collate
from geometry.views import Example, Views

_DRAWS = 20  # scenes tried for one sample before giving up


@dataclass(eq=False)
class SamplingDataset:
    """Samples of overlapping views for training the geometry model.

    ``dataset[request]`` with the engine's `SampleRequest`, or ``dataset[i]``: a scene by mixture weight,
    views of it that overlap, one image size, augmentation. A scene with too few views is passed over for
    another one, which the seed decides too.
    """

    mixture: Mixture  # where scenes come from
    _: KW_ONLY
    image_size: Sequence[int] | None = None  # (H, W) where the request gives none
    views: int | None = None  # number of views where the request gives none
    geometric: GeometricAugmentation | None = None  # zoom, shift, flips, turns
    photometric: PhotometricAugmentation | None = None  # colour changes
    # So many samples on end are of one scene: for those of single photos, which else cost a scene each.
    samples_of_scene: int = 1
    least_overlap: float = 0.2  # share that each view has in common with one drawn before it
    sparse_depth: bool = True  # use observed sparse points as depth where a frame has no depth map
    labels: Sequence[str] = ()  # masks that every sample carries, of ``sky`` and ``objects``
    # Called with the chosen views' scene and the training step; returns the scene with other labels, for
    # example a teacher's depth from some step on (`geometry.training.labels.TeacherLabels`).
    relabel: Callable[[Scene, int], Scene] | None = None
    # Take what a scene has, two at least, where that is fewer than the views asked for; a batch then has as
    # many as its smallest sample.
    fewer_views: bool = False
    skip_broken: bool = True  # pass over photos and scenes with damaged files, with a warning; False stops
    seed: int = 0  # for ``dataset[i]`` with a plain number

    targets = 0  # views that `choose` adds to those of a request

    def collate(self, samples: list[Any]) -> Any:
        if self.fewer_views:
            least = min(sample.views.images.shape[1] for sample in samples)
            samples = [sample[:, :least] for sample in samples]
        return collate(samples)

    def __post_init__(self) -> None:
        if not set(self.labels) <= set(LABELS):
            raise InputError(f"labels: expected some of {LABELS}, got {list(self.labels)}")

    def __getitem__(self, request: SampleRequest | int) -> Any:
        return self.sample(*sized_request(request, self.seed, self.image_size, self.views))

    def choose(self, scene: Scene, views: int, rng: np.random.Generator) -> list[int]:
        """Frames of a sample of so many views."""
        return sample_views(scene, views, rng, least=self.least_overlap)

    def sample(self, request: SampleRequest, image_size: tuple[int, int], views: int) -> Example:
        """The sample of the first drawn scene that has enough posed views.

        Raises:
            InputError: none of the scenes drawn has, or a file is damaged and ``skip_broken`` is off.
        """
        damaged = None
        for attempt in range(_DRAWS):
            rng = np.random.default_rng(derive_seed(request.seed, "scene", attempt))
            which = rng
            if self.samples_of_scene > 1:
                several = request.number // self.samples_of_scene
                which = np.random.default_rng(derive_seed(request.run_seed, "scene of", several, attempt))
            name, drawn = self.mixture.draw(which, request)
            try:
                scene = self.mixture.read(name, drawn)
                frames = enumerate(scene.frames)
                posed = [i for i, f in frames if f.extrinsics is not None and f.intrinsics is not None]
                scene = scene if len(posed) == len(scene) else scene.select(posed)
                example = self._of_scene(scene, name, request, image_size, views, rng)
            except InputError as error:
                if not self.skip_broken:
                    raise
                damaged = error
                note(name, "passed_over", str(error))
                warnings.warn(f"{name}: passed over a scene: {error}", stacklevel=2)
            else:
                if example is not None:
                    note(name, "samples")
                    return recolour(example, self.photometric, request.seed)
        if damaged is not None:
            raise InputError(
                f"sampling: expected a scene that can be used, {_DRAWS} drawn from "
                f"{', '.join(self.mixture.parts)} are damaged or too small, the last damaged one: {damaged}"
            )
        raise InputError(
            f"sampling: expected a scene of at least {views + self.targets} posed views, {_DRAWS} drawn from "
            f"{', '.join(self.mixture.parts)} have fewer"
        )

    def _of_scene(
        self,
        scene: Scene,
        name: str,
        request: SampleRequest,
        image_size: tuple[int, int],
        views: int,
        rng: np.random.Generator,
    ) -> Example | None:
        """A sample of a scene, of its other photos where some are damaged; None if it is too small.

        Raises:
            InputError: something else is damaged, or too few photos are left.
        """
        damage = None
        least = min(views, 2) if self.fewer_views else views
        while len(scene) >= least + self.targets:
            indices: Sequence[int] = range(len(scene))
            chosen = scene
            try:
                indices = self.choose(scene, min(views, len(scene) - self.targets), rng)
                chosen = scene.select(indices)
                if self.relabel is not None:
                    chosen = self.relabel(chosen, request.step)
                example = assemble(
                    chosen,
                    range(len(chosen)),
                    image_size,
                    rng=rng,
                    augmentation=self.geometric or GeometricAugmentation(),
                    sparse_depth=self.sparse_depth,
                    labels=self.labels,
                    without_sky=self.mixture.parts[name].without_sky,
                )
            except InputError as error:
                damaged = {i for i, f in zip(indices, chosen.frames) if self.skip_broken and not _decodes(f)}
                if not damaged:
                    raise
                note(name, "photos_left_out", str(error))
                warnings.warn(f"{name}: left out {counted(len(damaged), 'photo')}: {error}", stacklevel=3)
                scene, damage = scene.select(i for i in range(len(scene)) if i not in damaged), error
                continue
            example, far = without_far_depth(example)
            if far:
                note(name, "far_depth", f"{scene.name}: {far}")
                warnings.warn(f"{name}/{scene.name}: {far}", stacklevel=3)
            note_origin(f"{name}/{scene.name}: {', '.join(f.name for f in chosen.frames)}")
            return example
        if damage is not None:
            raise damage
        return None


def _decodes(frame: Frame) -> bool:
    """Whether a frame's files can be read."""
    try:
        for load in (frame.load, frame.load_depth, frame.load_mask, frame.load_sky, frame.load_objects):
            load()
    except InputError:
        return False
    return True


def plain_request(request: SampleRequest | int, seed: int) -> SampleRequest:
    """The request, or one for the i-th sample under ``seed``."""
    if isinstance(request, SampleRequest):
        return request
    i = int(request)
    return SampleRequest(index=i, number=i, step=0, seed=derive_seed(seed, "sample", i))


def sized_request(
    request: SampleRequest | int, seed: int, image_size: Sequence[int] | None, views: int | None
) -> tuple[SampleRequest, tuple[int, int], int]:
    """`plain_request`, its image size and number of views, or these where it gives none.

    Raises:
        InputError: nobody gives one.
    """
    request = plain_request(request, seed)
    image_size, views = request.image_size or image_size, request.views or views
    if image_size is None or views is None:
        raise InputError("sampling: expected an image size and a number of views, neither is given")
    return request, (int(image_size[0]), int(image_size[1])), views


def recolour(sample: Example, photometric: PhotometricAugmentation | None, seed: int) -> Example:
    """The sample with changed colours, drawn from the seed."""
    if photometric is None:
        return sample
    images = photometric(sample.views.images[0], make_generator("cpu", seed, "colour"))[None]
    if not torch.isfinite(images).all():
        raise InputError("photometric augmentation: expected finite colours, got others; lower its ranges")
    return Example(views=Views(images=images, cameras=sample.views.cameras), truth=sample.truth)

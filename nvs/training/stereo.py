"""Training of the stereo network: sweeps of procedural worlds on disk, and what it should say of them."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional as F

from geometry.atomic import atomic_file
from geometry.engine import ParameterGroup, Validation, ValidationRun, parameter_groups
from geometry.engine.samplers import SampleRequest
from geometry.tensors import TensorRecord, collate
from geometry.training.validation import batches_of
from geometry.views import Example, Views
from geometry.worlds import ProceduralDataset
from nvs.model.pooling import sample, spaced_grid
from nvs.stereo.depth import SWEEP_SPACING, sweep_depth
from nvs.stereo.network import Estimate, Evidence, StereoNetwork

RIGHT, RIGHT_PLANES = 0.02, 0.5  # depth is right within 2 %, or within half a plane where planes are wider
SIZES = ((168, 224), (224, 168), (196, 280), (168, 280))  # (H, W) of photos; sweeps are half as large
PATHS = ("orbit", "forward", "handheld", "looks", "wide", "slide")  # a pan has no parallax
VIEWS = (3, 8)
OVERGROWN = 0.5  # share of worlds with plants and thin things
SHAKE = 0.6  # pixels of the photos, at most, by which cameras are wrong
_ALL = slice(None)
# How the parts of `Evidence` are kept, as bytes: type and number of steps to one.
_STORED = {
    "colours": (np.uint8, 255),
    "matching": (np.int8, 127),
    "smoothed": (np.uint8, 127),
    "others": (np.int8, 1),
}


@dataclass(frozen=True, kw_only=True)
class StereoExample(TensorRecord):
    """What the network is given of some views, and what it should say."""

    evidence: Evidence
    plane: Float[Tensor, "N h w"]  # true depth, as a fractional index of planes; may lie outside of them
    infinity: Float[Tensor, " N"]  # by how many planes infinite depth lies before the first
    sky: Bool[Tensor, "N h w"]


def write_sweep(path: Path, example: Example) -> None:
    """Sweep the photos of one world, and keep what the network would be given, as one file of bytes."""
    kept: list[Evidence] = []

    def keep(evidence: Evidence) -> Estimate:
        kept.append(evidence)
        nothing = torch.zeros_like(evidence.colours[:, 0])
        return Estimate(scores=evidence.matching, plane=nothing, confidence=nothing, sky=nothing)

    grid = spaced_grid(example.views.image_size, SWEEP_SPACING)
    swept = sweep_depth(example.views, grid, network=keep)
    evidence = collate(kept)
    arrays = {name: _bytes(getattr(evidence, name), *_STORED[name]) for name in _STORED}
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            limits=swept.limits[0].numpy(),
            depth=sample(example.truth.depth, grid)[0].numpy(),
            sky=sample(example.truth.sky.float(), grid)[0].numpy() > 0.5,
            **arrays,  # type: ignore[arg-type]
        )


def _bytes(values: Tensor, kind: type, steps: int) -> np.ndarray:
    info = np.iinfo(kind)
    return (values.numpy() * steps).round().clip(info.min, info.max).astype(kind)


def write_sweeps(folder: Path, seed: int, count: int) -> list[Path]:
    """Files of as many worlds; those that are there already are kept."""
    worlds = ProceduralDataset(seed=seed, samples_per_world=2, overgrown=OVERGROWN)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{i:05d}.npz" for i in range(count)]
    for i, file in enumerate(files):
        if not file.is_file():
            rng = np.random.default_rng(np.random.SeedSequence((seed, i, 1)).generate_state(1, np.uint64))
            views, size = int(rng.integers(*VIEWS, endpoint=True)), SIZES[rng.integers(len(SIZES))]
            example = worlds.sample(i, n_views=views, image_size=size, path=str(rng.choice(PATHS)))
            write_sweep(file, replace(example, views=shaken(example.views, example.truth.depth, rng)))
    return files


def shaken(views: Views, depth: Float[Tensor, "1 V H W"], rng: np.random.Generator) -> Views:
    """Cameras as wrong as those of structure from motion: turned and moved, by up to `SHAKE` pixels."""
    cameras = views.cameras
    V = cameras.extrinsics.shape[1]
    angle = SHAKE * rng.random() ** 2 / float(cameras.intrinsics[..., 0, 0].mean())
    moved = torch.eye(4).repeat(V, 1, 1)
    moved[:, :3, :3] = torch.from_numpy(Rotation.from_rotvec(rng.normal(0, angle, (V, 3))).as_matrix())
    distance = depth.flatten(2).median(dim=-1).values.T  # [V, 1]
    moved[:, :3, 3] = distance * torch.from_numpy(rng.normal(0, angle, (V, 3))).float()
    return replace(views, cameras=replace(cameras, extrinsics=moved @ cameras.extrinsics))


def read_sweep(path: Path, view: int, rows: slice = _ALL, columns: slice = _ALL) -> StereoExample:
    """One view, or a part of it."""
    with np.load(path) as file:
        limits, depth = file["limits"][view], file["depth"][view, rows, columns]
        sky = file["sky"][view, rows, columns]
        parts = {
            n: torch.from_numpy(file[n][view][:, rows, columns].astype(np.float32) / _STORED[n][1])[None]
            for n in _STORED
        }
    near, far = limits.tolist()
    step = (1 / near - 1 / far) / (parts["matching"].shape[1] - 1)
    plane = (1 / np.maximum(depth, 1e-6) - 1 / far) / step
    return StereoExample(
        evidence=Evidence(**parts),
        plane=torch.from_numpy(plane.astype(np.float32))[None],
        infinity=torch.tensor([1 / far / step]),
        sky=torch.from_numpy(sky)[None],
    )


@dataclass(eq=False)
class SweepCrops:
    """Crops of kept sweeps, mirrored and tinted at random; an endless dataset."""

    files: Sequence[Path]
    _: KW_ONLY
    size: tuple[int, int] = (64, 80)  # of a crop, cells; not larger than the sweeps

    collate = staticmethod(collate)

    def __getitem__(self, request: SampleRequest) -> StereoExample:
        rng = np.random.default_rng(request.seed)
        path = self.files[int(rng.integers(len(self.files)))]
        h, w = self.size
        with np.load(path) as file:
            V, H, W = file["depth"].shape
        y, x = rng.integers(H - h + 1), rng.integers(W - w + 1)
        example = read_sweep(path, int(rng.integers(V)), slice(y, y + h), slice(x, x + w))
        if rng.random() < 0.5:  # never upside down: sky is above
            example = example.map(lambda t: t if t.ndim < 3 else t.flip(-1))
        tint = torch.from_numpy(np.exp(rng.normal(0, 0.15, (3, 1, 1)) + rng.normal(0, 0.2))).float()
        example.evidence.colours.mul_(tint).clamp_(0, 1)
        return example


@dataclass(eq=False)
class StereoStep:
    """What the engine trains: planes by cross entropy, depth between planes, confidence and sky."""

    model: StereoNetwork
    validation: Sequence[Path] = ()

    def trainable_parameters(self) -> list[ParameterGroup]:
        return parameter_groups(self.model)

    def training_loss(
        self, batch: StereoExample, generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        said = self.model(batch.evidence)
        known = (~batch.sky).float()
        right, terms = rightness(said, batch), {}

        def mean(values: Tensor) -> Tensor:
            return (values * known).sum() / known.sum().clamp(min=1)

        last = said.scores.shape[1] - 1
        plane = batch.plane.clamp(0, last)
        low = plane.floor().long().clamp(max=last - 1)[:, None]
        between = plane[:, None] - low
        scores = said.scores.log_softmax(1)
        chance = scores.gather(1, low) * (1 - between) + scores.gather(1, low + 1) * between
        terms["plane"] = mean(-chance[:, 0])
        terms["depth"] = mean(F.smooth_l1_loss(said.plane, plane, reduction="none", beta=0.5).clamp(max=3))
        terms["confidence"] = mean(
            F.binary_cross_entropy_with_logits(said.confidence, right, reduction="none")
        )
        terms["sky"] = F.binary_cross_entropy_with_logits(said.sky, batch.sky.float())
        loss = terms["plane"] + 0.3 * (terms["depth"] + terms["confidence"] + terms["sky"])
        return loss, {**terms, "right": mean(right).detach()}

    def validate(self, run: ValidationRun) -> Validation:
        """Means over every second view of the held-out sweeps; ``precision`` is of the trusted."""
        totals = np.zeros(7)
        for (index,), counted in batches_of(len(self.validation), 1, run.rank, run.world_size):
            path = self.validation[index]
            with np.load(path) as file:
                views = len(file["depth"])
            for view in range(0, views, 2):
                example = read_sweep(path, view)
                said = self.model(example.evidence)
                known, right = ~example.sky, rightness(said, example) > 0
                trusted, sky = known & (said.confidence > 0), said.sky > 0
                pairs = (right & known, known, right & trusted, trusted, sky & example.sky, sky | example.sky)
                if counted:
                    totals += [float(p.sum()) for p in pairs] + [1]
        right, known, precise, trusted, both, either, views = totals.clip(min=1)
        metrics = {"right": right / known, "trusted": trusted / known, "precision": precise / trusted}
        return Validation(metrics={**metrics, "sky_iou": both / either}, weight=views)


def rightness(said: Estimate, truth: StereoExample) -> Float[Tensor, "N h w"]:
    """1 where the depth is right."""
    last = said.scores.shape[1] - 1
    bound = RIGHT * (truth.plane.clamp(0, last) + truth.infinity[:, None, None])
    return ((said.plane - truth.plane).abs() < bound.clamp(min=RIGHT_PLANES)).float()

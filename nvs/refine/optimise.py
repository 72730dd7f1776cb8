"""Gaussians optimised on the photos that they came from: what `nvs render` does after the first pass."""

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.errors import InputError
from geometry.ops import se3
from geometry.views import Cameras, Views
from nvs.cameras.transform import small_motion
from nvs.fusion import fuse, visibility
from nvs.gaussians import Gaussians
from nvs.metrics import psnr, unmasked
from nvs.model.pooling import resize_cameras, whole_cells
from nvs.rasterizer import rasterize
from nvs.refine.adam import Adam
from nvs.refine.dropping import dropped_share, without_some
from nvs.refine.moving import LOOKS, moved
from nvs.refine.ssim_loss import Photo, dissimilarity

_REPORTS = 12  # lines of progress, in even steps
# Photos of half the size are quicker and reach further: what they teach is learnt in some rounds.
COARSE_ROUNDS, COARSE_SHARE, SMALL = 10, 0.7, 128
MANY, SLOWEST = 24, 0.5  # photos from which on rates fall, and how far
FUSED = 0.5  # of the steps, after which Gaussians beyond the budget are merged: by then they have settled
_IDENTITY = 0.01  # weight of an exposure's squared distance from none


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Adam's learning rates at the first step; all fall to ``last`` of that by the last step.

    Those of Gaussians are lower for more than `MANY` photos (`pace`).
    """

    means: float = 0.3  # in the Gaussian's own first width: the scale of the world cancels
    scales: float = 0.2  # of the logarithm: small ones, as a sample starts with, have to grow
    quats: float = 1.5e-2
    opacities: float = 0.15  # of the logit
    colours: float = 2.5e-2  # degree-0 coefficients
    harmonics: float = 1.25e-3  # higher degrees: a twentieth, as in 3D Gaussian Splatting
    cameras: float = 3e-4  # radians, and shifts in median depths
    exposures: float = 1e-2  # of matrices on colours in 0..1
    last: float = 0.1

    def at(self, progress: float, slower: float) -> dict[str, float]:
        """By name, at a share of all steps; those of Gaussians, which photos share, times ``slower``."""
        rates = {f.name: getattr(self, f.name) * self.last**progress for f in fields(self)}
        own = "cameras", "exposures"  # one photo's
        return {name: rate if name in own else rate * slower for name, rate in rates.items()}


@dataclass(frozen=True, kw_only=True)
class Refined:
    """What came of it."""

    gaussians: Gaussians
    cameras: Cameras  # of the photos; as given unless they were to be optimised
    exposures: Float[Tensor, "V 3 4"] | None  # from the Gaussians' colours to each photo's: matrix, offset
    steps: int  # that were done
    seconds: float
    psnr: float  # dB, mean of the training photos before their last step
    interrupted: bool = False
    still: Bool[Tensor, "1 V H W"] | None = None  # what is used of the photos and has not moved
    moved: float | None = None  # share of the used pixels that has; None: not looked for

    @property
    def summary(self) -> str:
        """One line for the log."""
        return f"refined: {self.steps} steps in {self.seconds:.1f} s; photos {self.psnr:.2f} dB"

    def as_json(self) -> dict[str, Any]:
        """For metrics.json: all but the tensors."""
        return {
            "steps": self.steps,
            "seconds": round(self.seconds, 2),
            "training_psnr": round(self.psnr, 4),
            "exposures": None if self.exposures is None else self.exposures.cpu().numpy().round(4).tolist(),
            "interrupted": self.interrupted,
            "moved": None if self.moved is None else round(self.moved, 4),
        }


def refine(
    gaussians: Gaussians,
    photos: Views,
    *,
    steps: int,
    seed: int = 0,
    rates: Rates | None = None,
    dissimilar: float = 0.2,
    most_seconds: float | None = None,
    move: Sequence[int] = (),
    exposure: bool = False,
    moving: bool = False,
    most: int | None = None,
    background: Float[Tensor, " 3"] | None = None,
    backend: str = "auto",
    report: Callable[[str], None] = lambda line: None,
) -> Refined:
    """Gradient steps on one photo each: (1 - w) L1 + w (1 - SSIM), as in 3D Gaussian Splatting.

    No Gaussian is added. Every photo is trained on, first at half its size. Of few photos each step does
    without a part of the Gaussians (`nvs.refine.dropping`). Deterministic given the seed, unless
    ``most_seconds`` become short (rates then follow the clock) or Ctrl-C ends it: what was reached is the
    result.

    Args:
        gaussians: one scene, in the world of the photos' cameras.
        photos: with cameras, at the size that is rendered; smaller is quicker. float16 halves their memory.
        seed: of the order of the photos, and of what is left out.
        dissimilar: the weight w.
        most_seconds: after which it ends, whatever step it is at; None takes the time that it takes.
        move: photos whose poses are optimised, too; one at least should stay, to hold the world in place.
        exposure: an affine map of colours per photo is estimated, for exposure and white balance. The mean
            of the maps is held at the identity, so the Gaussians have the colours of the mean photo.
        moving: parts of photos that show what the others do not are sought and left out meanwhile, and named
            in the end (``still``).
        most: Gaussians that are left in the end. More are merged (`nvs.fusion`) after half of the steps, when
            it is known what each is for, or where it ends before.
        report: takes a line of progress now and then.

    Raises:
        InputError: no cameras, no photos or no steps.

    Source: Kerbl et al. 2023; rates of the means relative to each Gaussian are ours.
    """
    if photos.cameras is None or steps < 1:
        raise InputError(f"refine: expected photos with cameras and at least one step, got {steps} steps")
    photos = photos.map(_ordinary)
    V = photos.images.shape[1]
    drawn = {"background": background, "backend": backend}
    state = _State(gaussians, photos, rates or Rates(), move, drawn, exposure=exposure)
    generator = torch.Generator().manual_seed(seed)
    order = _in_turns(V, generator)
    interval = max(10, round(steps / _REPORTS))
    latest: deque[Tensor] = deque(maxlen=V)  # PSNR of the last round
    start, interrupted, done = time.perf_counter(), False, 0
    looks, given = deque(LOOKS if moving else ()), photos.mask

    def within_budget() -> None:
        count = state.count
        if most is not None and count > most:
            state.fuse(most)
            report(f"refine: step {done} of {steps}, {count:,} Gaussians became {state.count:,}")

    with torch.inference_mode(False), torch.enable_grad():
        try:
            for step in range(steps):
                if most_seconds is not None and time.perf_counter() - start > most_seconds:
                    report(f"refine: the time is over at step {step} of {steps}")
                    break
                view, over = next(order), (time.perf_counter() - start) / (most_seconds or math.inf)
                progress = max(step / steps, over)  # rates fall to the end, also where time ends it
                if looks and progress >= looks[0]:
                    looks.popleft()
                    still, gone = state.still(given)
                    photos = replace(photos, mask=still)
                    report(
                        f"refine: step {step} of {steps}, {gone:.1%} of the photos has moved and is left out"
                    )
                if progress >= FUSED:
                    within_budget()
                photo = _photo(photos, view, halved=is_coarse(step, progress, V))
                latest.append(state.learn(view, photo, progress, dissimilar, generator))
                done = step + 1
                if done % interval == 0 or done == steps:
                    seconds = time.perf_counter() - start
                    report(f"refine: step {done} of {steps}, {seconds:.1f} s, {_mean(latest):.2f} dB")
        except KeyboardInterrupt:
            interrupted = True
            report(f"refine: interrupted at step {done} of {steps}; what was reached is kept")
        try:
            within_budget()  # where it ended before
        except KeyboardInterrupt:
            interrupted = True
            report(f"refine: interrupted while Gaussians were merged; all {state.count:,} are kept")
    final, cameras = state.result()
    still, gone = state.still(given) if moving else (None, None)
    return Refined(
        gaussians=final[:, final.opacities[0] > 1 / 255],
        cameras=cameras,
        exposures=state.exposures(),
        steps=done,
        seconds=time.perf_counter() - start,
        psnr=_mean(latest),
        interrupted=interrupted,
        still=still,
        moved=gone,
    )


def _ordinary(tensor: Tensor) -> Tensor:
    """Tensors of an inference mode cannot take part in a gradient."""
    return tensor.clone() if tensor.is_inference() else tensor


def is_coarse(step: int, progress: float, photos: int) -> bool:
    """Whether a step is on a photo of half the size; ``progress`` of all steps or of the time, 0..1."""
    return step < COARSE_ROUNDS * photos and progress < COARSE_SHARE


def pace(photos: int) -> float:
    """What is left of the rates, 1 to `SLOWEST`: more photos pull a Gaussian to more sides, by turns."""
    return max(min(math.sqrt(MANY / photos), 1.0), SLOWEST)


def _photo(photos: Views, view: int, *, halved: bool) -> Photo:
    """A photo and its mask; halved, each pixel is the mean of those it covers, and a small one stays."""
    device = photos.cameras.extrinsics.device  # the images may lie on the disk
    image = photos.images[0, view].to(device).float()
    mask = None if photos.mask is None else photos.mask[0, view].to(device)
    H, W = image.shape[1:]
    if halved and (half := _halved((H, W))) != (H, W):
        image = F.interpolate(image[None], half, mode="area")[0]
        mask = None if mask is None else whole_cells(mask[None, None], half)[0, 0]
    return Photo(image, mask)


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    """Half of it; a small one stays."""
    H, W = size
    return (H // 2, W // 2) if min(H, W) >= SMALL else (H, W)


def _mean(values: Collection[Tensor]) -> float:
    return float(torch.stack(list(values)).mean()) if values else float("nan")


def step_seconds(
    gaussians: Gaussians,
    photos: Views,
    *,
    background: Float[Tensor, " 3"] | None = None,
    backend: str = "auto",
) -> float:
    """What a step of `refine` takes here, half of them coarse: medians of a few, all over the capture."""
    photos = photos.map(_ordinary)
    V = photos.images.shape[1]
    views = sorted({round(i * (V - 1) / 3) for i in range(4)})
    seconds: list[list[float]] = []
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.enable_grad():
        drawn = {"background": background, "backend": backend}
        state = _State(gaussians, photos, Rates(), (), drawn, exposure=False)
        for halved in (True, False):
            seconds.append([])
            for view in (views[0], *views):  # the first one compiles kernels
                photo, start = _photo(photos, view, halved=halved), time.perf_counter()
                state.learn(view, photo, 0.0, 0.2, generator)
                seconds[-1].append(time.perf_counter() - start)
    small, full = (sorted(times[1:])[len(times[1:]) // 2] for times in seconds)
    return (small + full) / 2


def _in_turns(count: int, generator: torch.Generator) -> Iterator[int]:
    """All views in an order drawn anew for every round, without end."""
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


class _State:
    """What is optimised, as free numbers, and the optimizer."""

    def __init__(
        self,
        gaussians: Gaussians,
        photos: Views,
        rates: Rates,
        move: Sequence[int],
        drawn: dict[str, Any],
        *,
        exposure: bool,
    ) -> None:
        self._drawn, self._photos, self._rates = drawn, photos, rates
        start, moves = gaussians.map(torch.detach), []
        if len(move):
            self._move = torch.tensor(list(move), device=start.means.device)
            moves = [start.means.new_zeros(len(move), 6)]
            z = (start.means[0] - se3.centres(photos.cameras.extrinsics[0])[0]).norm(dim=-1)
            self._distance = z.median()
        # What is added to the identity. One tensor a photo: Adam leaves those alone that a step does not use.
        maps = start.means.new_zeros(photos.images.shape[1] if exposure else 0, 3, 4)
        self._moves, self._maps = moves, list(maps)  # moves: none, or one tensor of all
        self._begin(start)

    def _begin(self, start: Gaussians) -> None:
        """These as free numbers, beside what has been learnt of the photos, and an optimizer of all."""
        self._means = start.means
        self._width = start.scales.mean(dim=-1, keepdim=True)
        self._free = {
            "means": torch.zeros_like(start.means),
            "scales": start.scales.log(),
            "quats": start.quats.clone(),
            "opacities": start.opacities.logit(eps=1e-4),
            "colours": start.sh[..., :1, :].clone(),
            "harmonics": start.sh[..., 1:, :].clone(),
        }
        named = {"exposures": self._maps, **{name: [values] for name, values in self._free.items()}}
        self._optimizer = Adam(
            {
                name: [values.requires_grad_(True) for values in some if values.numel()]
                for name, some in {**named, "cameras": self._moves}.items()
            }
        )

    @property
    def count(self) -> int:
        return self._means.shape[1]

    @torch.no_grad()
    def fuse(self, most: int) -> None:
        """Go on with so many Gaussians: all photos say which are seen, at half their size to be quick."""
        size = _halved(self._photos.image_size)
        cameras = resize_cameras(self.cameras(), self._photos.image_size, size)
        gaussians, asked = self.gaussians(), range(self._photos.images.shape[1])
        seen = visibility(gaussians, cameras, size, asked=asked, backend=self._drawn["backend"])
        self._begin(fuse(gaussians, seen, most))

    def gaussians(self) -> Gaussians:
        free = self._free
        return Gaussians(
            means=self._means + free["means"] * self._width,
            scales=free["scales"].exp(),
            quats=free["quats"],
            opacities=free["opacities"].sigmoid(),
            sh=torch.cat((free["colours"], free["harmonics"]), dim=-2),
        )

    def cameras(self) -> Cameras:
        given = self._photos.cameras
        if not self._moves:
            return given
        step = small_motion(self._moves[0], self._distance)
        moved = step[None] @ given.extrinsics[:, self._move]
        return replace(given, extrinsics=given.extrinsics.index_copy(1, self._move, moved))

    def learn(
        self, view: int, photo: Photo, progress: float, dissimilar: float, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """One gradient step on a photo, of any size; its PSNR before it."""
        H, W = photo.image.shape[1:]
        camera = resize_cameras(self.cameras()[:, view : view + 1], self._photos.image_size, (H, W))
        gaussians, share = self.gaussians(), dropped_share(self._photos.images.shape[1], progress)
        if share:
            gaussians = without_some(gaussians, share, generator)
        drawn = rasterize(gaussians, camera, (H, W), **self._drawn).rgb[0, 0]
        drawn, moved = self._exposed(drawn, view)
        rgb = unmasked(drawn, photo.image, photo.mask)
        loss = (1 - dissimilar) * (rgb - photo.image).abs().mean() + _IDENTITY * moved
        if dissimilar > 0:
            loss = loss + dissimilar * dissimilarity(rgb, photo)
        loss.backward()
        self._optimizer.step(self._rates.at(progress, pace(self._photos.images.shape[1])))
        kept = None if photo.mask is None else photo.mask[None]
        return psnr(drawn.detach().clamp(0, 1)[None], photo.image[None], kept)[0]

    def still(self, given: Bool[Tensor, "1 V H W"] | None) -> tuple[Bool[Tensor, "1 V H W"], float]:
        """What is used of the photos and shows what the others do; and the share of it that does not."""
        still = torch.stack([~self._moved(v) for v in range(self._photos.images.shape[1])])[None]
        if given is None:
            return still, 1 - float(still.float().mean())
        given = given.to(still.device)
        return still & given, 1 - float(still[given].float().mean())

    @torch.no_grad()
    def _moved(self, view: int) -> Bool[Tensor, "H W"]:
        """Where a photo shows what the others do not."""
        photo = _photo(self._photos, view, halved=False).image
        camera = self.cameras()[:, view : view + 1]
        drawn = rasterize(self.gaussians(), camera, self._photos.image_size, **self._drawn)
        return moved(self._exposed(drawn.rgb[0, 0], view)[0], drawn.alpha[0, 0], photo)

    def _exposed(self, drawn: Float[Tensor, "3 H W"], view: int) -> tuple[Tensor, Tensor | float]:
        """A rendering as a photo was exposed, and how far (squared) that is from leaving it as it is."""
        if not self._maps:
            return drawn, 0.0
        away = self._maps[view] - torch.stack(self._maps).detach().mean(dim=0)
        mixed = torch.einsum("ij,jhw->ihw", away[:, :3], drawn)
        return drawn + mixed + away[:, 3, None, None], away.square().sum()

    @torch.no_grad()
    def exposures(self) -> Float[Tensor, "V 3 4"] | None:
        if not self._maps:
            return None
        maps = torch.stack(self._maps)
        return maps - maps.mean(dim=0) + torch.eye(3, 4).to(maps)

    @torch.no_grad()
    def result(self) -> tuple[Gaussians, Cameras]:
        return self.gaussians().map(torch.clone), self.cameras().map(torch.clone)

"""Gaussians optimised on the photos that they came from: `nvs render --refine STEPS`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.rotations import matrix_from_quat_xyzw
from geometry.views import Cameras, Views
from nvs.gaussians import Gaussians
from nvs.metrics import psnr
from nvs.rasterizer import rasterize
from nvs.refine.ssim_loss import Photo, dissimilarity

_LEAST_VIEWS = 5  # with fewer photos none is held out
_LOOKS = 12  # of the validation photos, in even steps
_PATIENCE = 5  # of them without a gain before it stops: the first steps of Adam may set a photo back


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Adam's learning rates at the first step; all fall to ``last`` of that by the last step."""

    means: float = 0.5  # in the Gaussian's own first width: the scale of the world cancels
    scales: float = 2e-2  # of the logarithm
    quats: float = 2e-3
    opacities: float = 6e-2  # of the logit
    colours: float = 1.5e-2  # degree-0 coefficients
    harmonics: float = 7.5e-4  # higher degrees: a twentieth, as in 3D Gaussian Splatting
    cameras: float = 3e-4  # radians, and shifts in median depths
    last: float = 0.1


@dataclass(frozen=True)
class Look:
    """The validation photos at one step."""

    step: int
    seconds: float
    psnr: float  # dB, mean over the validation photos


@dataclass(frozen=True)
class Refined:
    """The result. Without validation photos ``best_step`` is the last one and ``looks`` is empty.

    ``steps`` beyond the last look trained on all photos, from the best step's state on.
    """

    gaussians: Gaussians
    cameras: Cameras  # of the photos; as given unless they were to be optimised
    best_step: int
    steps: int
    seconds: float
    watched: list[int] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """One line for the log."""
        if not self.looks:
            return f"refined: {self.steps} steps in {self.seconds:.1f} s, no validation photos"
        first, best = self.looks[0], _best(self.looks)
        return (
            f"refined: {self.steps} steps in {self.seconds:.1f} s; the best on validation photos was "
            f"step {self.best_step}: {first.psnr:.2f} -> {best.psnr:.2f} dB"
        )

    def as_json(self) -> dict[str, object]:
        """For metrics.json: all but the tensors."""
        return {
            "steps": self.steps,
            "best_step": self.best_step,
            "seconds": round(self.seconds, 2),
            "watched": self.watched,
            "looks": [asdict(look) for look in self.looks],
        }


def refine(
    gaussians: Gaussians,
    photos: Views,
    *,
    steps: int,
    seed: int = 0,
    rates: Rates | None = None,
    dissimilar: float = 0.2,
    watch: bool = True,
    finish: float = 0.25,
    owners: Int[Tensor, " N"] | None = None,
    optimise_cameras: bool = False,
    background: Float[Tensor, " 3"] | None = None,
    backend: str = "auto",
    report: Callable[[str], None] = lambda line: None,
) -> Refined:
    """Gradient steps on one photo each: (1 - w) L1 + w (1 - SSIM), as in 3D Gaussian Splatting.

    No Gaussian is added. A few validation photos are not trained on: their PSNR shows when the others are
    overfitted. The state that is best on them is kept, and five evaluations without a gain end the run. If
    nothing was overfitted (the best state is a late one) the last steps start from it and train on all
    photos. Deterministic given the seed.

    Args:
        gaussians: one scene, in the world of the photos' cameras.
        photos: with cameras, at the size that is rendered; smaller is quicker.
        seed: of the order of the photos.
        dissimilar: the weight w.
        watch: False trains on all photos to the last step; so do fewer than five photos.
        finish: share of the steps kept for all photos at the end.
        owners: the photo from which each Gaussian came. A validation photo is then rendered without its own
            Gaussians: those reproduce it before any step, and the first steps would look like a loss.
        optimise_cameras: the photos' poses too, but for the first one's, which holds the world in place.
        report: takes a line of progress now and then.

    Raises:
        InputError: no cameras, no photos or no steps.

    Source: Kerbl et al. 2023; rates of the means relative to each Gaussian are ours.
    """
    if photos.cameras is None or steps < 1:
        raise InputError(f"refine: expected photos with cameras and at least one step, got {steps} steps")
    photos = photos.map(torch.clone)  # tensors of an inference mode cannot take part in a gradient
    watched = watched_views(photos.images.shape[1]) if watch else []
    state = _State(gaussians, photos, rates or Rates(), optimise_cameras)
    everyone = list(range(photos.images.shape[1]))
    targets = [Photo(image) for image in photos.images[0]]
    guarded = steps - int(finish * steps) if watched else steps
    generator = torch.Generator().manual_seed(seed)
    interval = max(10, round(guarded / _LOOKS))
    looks: list[Look] = []
    best: dict[str, Tensor] = {}
    start = time.perf_counter()

    def draw(view: int, *, without_own: bool = False) -> Float[Tensor, "3 H W"]:
        drawn, camera = state.gaussians(), state.cameras()[:, view : view + 1]
        if without_own and owners is not None:
            drawn = drawn[:, owners != view]
        return rasterize(drawn, camera, photos.image_size, background=background, backend=backend).rgb[0, 0]

    @torch.no_grad()
    def look(step: int) -> Look:
        shown = torch.stack([draw(v, without_own=True).clamp(0, 1) for v in watched])
        value = float(psnr(shown, photos.images[0, watched]).mean())
        return Look(step, round(time.perf_counter() - start, 2), value)

    def learn(step: int, view: int) -> None:
        state.set_rates(step / steps)
        rgb, photo = draw(view), targets[view]
        loss = (1 - dissimilar) * (rgb - photo.image).abs().mean()
        if dissimilar > 0:
            loss = loss + dissimilar * dissimilarity(rgb, photo)
        state.advance(loss)

    def tell(step: int) -> None:
        watching = f", validation photos {looks[-1].psnr:.2f} dB" if looks else ""
        report(f"refine: step {step} of {steps}, {time.perf_counter() - start:.1f} s{watching}")

    with torch.inference_mode(False), torch.enable_grad():
        order = _in_turns([v for v in everyone if v not in watched], generator)
        for step in range(guarded + 1):
            if step % interval == 0 or step == guarded:
                if watched:
                    looks.append(look(step))
                    if looks[-1] == _best(looks):
                        best = state.snapshot()
                tell(step)
                if looks and step >= _best(looks).step + _PATIENCE * interval:
                    break
            if step < guarded:
                learn(step, next(order))
        if best:
            state.restore(best)
        if step == guarded < steps and 2 * _best(looks).step >= guarded:
            order = _in_turns(everyone, generator)
            for step in range(guarded, steps):
                learn(step, next(order))
            step = steps
            report(f"refine: step {steps} of {steps}, the last {steps - guarded} on all photos")
    final, cameras = state.result()
    return Refined(
        gaussians=final[:, final.opacities[0] > 1 / 255],
        cameras=cameras,
        best_step=_best(looks).step if looks else step,
        steps=step,
        seconds=time.perf_counter() - start,
        watched=watched,
        looks=looks,
    )


def _in_turns(views: list[int], generator: torch.Generator) -> Iterator[int]:
    """All views in an order drawn anew for every round, without end."""
    while True:
        yield from (views[i] for i in torch.randperm(len(views), generator=generator).tolist())


def watched_views(count: int) -> list[int]:
    """An eighth of the photos, from the middle of equal stretches of the capture; none of a few."""
    if count < _LEAST_VIEWS:
        return []
    n = max(1, round(count / 8))
    return [(2 * i + 1) * count // (2 * n) for i in range(n)]


def _best(looks: list[Look]) -> Look:
    return max(looks, key=lambda look: look.psnr)


class _State:
    """What is optimised, as free numbers, and the optimizer."""

    def __init__(self, gaussians: Gaussians, photos: Views, rates: Rates, optimise_cameras: bool) -> None:
        start = gaussians.map(lambda t: t.detach().clone())
        self._start, self._photos, self._rates = start, photos, rates
        self._width = start.scales.mean(dim=-1, keepdim=True)
        self._free = {
            "means": torch.zeros_like(start.means),
            "scales": start.scales.log(),
            "quats": start.quats,
            "opacities": start.opacities.logit(eps=1e-4),
            "colours": start.sh[..., :1, :].clone(),
            "harmonics": start.sh[..., 1:, :].clone(),
        }
        V = photos.images.shape[1]
        if optimise_cameras and V > 1:
            self._free["cameras"] = start.means.new_zeros(V - 1, 6)
            z = (start.means[0] - se3.centres(photos.cameras.extrinsics[0])[0]).norm(dim=-1)
            self._distance = z.median()
        groups = []
        for name, values in self._free.items():
            if values.numel():
                values.requires_grad_(True)
                groups.append({"params": [values], "name": name})
        self._optimizer = torch.optim.Adam(groups, eps=1e-15, fused=True)

    def gaussians(self) -> Gaussians:
        free = self._free
        return Gaussians(
            means=self._start.means + free["means"] * self._width,
            scales=free["scales"].exp(),
            quats=free["quats"],
            opacities=free["opacities"].sigmoid(),
            sh=torch.cat((free["colours"], free["harmonics"]), dim=-2),
        )

    def cameras(self) -> Cameras:
        given = self._photos.cameras
        if "cameras" not in self._free:
            return given
        move = self._free["cameras"]
        # Half the rotation vector is the quaternion's vector part, to first order.
        quat = torch.cat((0.5 * move[:, :3], torch.ones_like(move[:, :1])), dim=-1)
        step = se3.from_rotation_translation(matrix_from_quat_xyzw(quat), move[:, 3:] * self._distance)
        first, others = given.extrinsics.split((1, len(move)), dim=1)
        return replace(given, extrinsics=torch.cat((first, step[None] @ others), dim=1))

    def set_rates(self, progress: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = getattr(self._rates, group["name"]) * self._rates.last**progress

    def advance(self, loss: Float[Tensor, ""]) -> None:
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def snapshot(self) -> dict[str, Tensor]:
        return {name: values.detach().clone() for name, values in self._free.items()}

    @torch.no_grad()
    def restore(self, snapshot: dict[str, Tensor]) -> None:
        for name, values in self._free.items():
            values.copy_(snapshot[name])

    @torch.no_grad()
    def result(self) -> tuple[Gaussians, Cameras]:
        return self.gaussians().map(torch.clone), self.cameras().map(torch.clone)

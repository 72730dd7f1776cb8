"""A small network that reads depth off a plane sweep: matching volume in, depth, confidence and sky out.

It is convolutional over planes as over pixels, so what it learns about one depth holds at all others, and it
knows nothing of cameras, scale or the number of sources.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from geometry.tensors import TensorRecord
from geometry.weights.checkpoint import BUNDLED
from geometry.weights.files import load_strict, read_safetensors

_REACH = 2  # planes on either side of the best one whose mean is the depth
_FEW = 12  # channels


@dataclass(frozen=True, kw_only=True)
class Evidence(TensorRecord):
    """What a plane sweep knows of some views; N views, planes even in inverse depth, far to near."""

    colours: Float[Tensor, "N 3 h w"]  # 0..1
    matching: Float[Tensor, "N P h w"]  # NCC, -1..1
    smoothed: Float[Tensor, "N P h w"]  # semi-global cost, low where the surface is
    others: Float[
        Tensor, "N P h w"
    ]  # views that see through a place less those that see a surface there, -2..2


@dataclass(frozen=True, kw_only=True)
class Estimate(TensorRecord):
    """What the network says of every pixel."""

    scores: Float[Tensor, "N P h w"]  # log-probabilities of planes, up to a constant
    plane: Float[Tensor, "N h w"]  # the depth, as a fractional index of planes
    confidence: Float[Tensor, "N h w"]  # logit of: the depth is right
    sky: Float[Tensor, "N h w"]  # logit


class StereoNetwork(nn.Module):
    """An hourglass over planes and pixels, led by an hourglass over the photo's pixels.

    Scores start as those of semi-global smoothing; the network learns what to add.

    Args:
        width: channels over planes, at half, quarter, ... of the planes and of the resolution.
        photo: channels over pixels, at full, half, ... resolution; one more.

    Source: the shape is that of learned stereo since Kendall et al. 2017 (GC-Net); gates from the photo as in
    Bangunharcana et al. 2021 (CoEx), upsampling as in Teed and Deng 2020 (RAFT).
    """

    def __init__(
        self, width: tuple[int, ...] = (12, 24, 40, 56), photo: tuple[int, ...] = (16, 24, 32, 48, 64)
    ) -> None:
        super().__init__()
        self.photo_down = nn.ModuleList(
            _pixels(a, b, stride=1 if i == 0 else 2) for i, (a, b) in enumerate(zip((5, *photo), photo))
        )
        self.down = nn.ModuleList(PlaneConv(a, b, stride=2) for a, b in zip((3, *width), width))
        self.gates = nn.ModuleList(nn.Conv2d(a, 2 * b, 1) for a, b in zip(photo[1:], width))
        self.across = nn.ModuleList(PlaneConv(c, c) for c in width[1:])
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(width))
        self.joined = nn.ModuleList(PlaneConv(c, c) for c in width[:-1])
        self.last = PlaneConv(width[0], 2)  # two planes from each
        self.photo_up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(photo))
        self.seen = nn.ModuleList(nn.Conv2d(2 * b, a, 1) for a, b in zip(photo[1:], width))
        self.photo_joined = nn.ModuleList(_pixels(c, c) for c in photo[:-1])
        self.spread = nn.Conv2d(photo[0], 9 + 2, 1)  # weights of coarse scores around; of own ones
        self.verdict = nn.Sequential(_pixels(photo[0] + 7, photo[0]), nn.Conv2d(photo[0], 2, 1))
        self.start()

    def start(self) -> None:
        """Nothing is added to the scores of smoothing, at first."""
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, a=0.1)
                nn.init.zeros_(m.bias)
        for m in (self.last.conv, self.spread, self.verdict[-1], *self.gates):
            nn.init.normal_(m.weight, std=1e-3)
        with torch.no_grad():
            self.spread.bias[4] = 1.0

    def forward(self, evidence: Evidence) -> Estimate:
        matching, smoothed, others = evidence.matching, evidence.smoothed, evidence.others
        best = matching.amax(1, keepdim=True)
        x = torch.cat((2 * evidence.colours - 1, best, smoothed.amin(1, keepdim=True)), dim=1)
        photo = []
        for layer in self.photo_down:
            photo.append(x := layer(x))

        x = torch.stack((matching, smoothed, 0.5 * others), dim=1)  # [N, C, P, h, w]
        levels = []
        for i, (down, gate) in enumerate(zip(self.down, self.gates)):
            x = F.leaky_relu(down(x), 0.1)
            factor, shift = gate(photo[i + 1])[:, :, None].chunk(2, dim=1)
            x = x * (1 + factor) + shift
            if i:  # the finest level is where the time goes
                x = x + F.leaky_relu(self.across[i - 1](x), 0.1)
            levels.append(x)
        for i in reversed(range(len(self.up))):
            x = levels[i + 1]
            coarse = self.up[i](x.flatten(2, 3)).unflatten(2, x.shape[2:4])  # pixel by pixel, of all planes
            x = levels[i] + F.interpolate(coarse, size=levels[i].shape[-3:])
            levels[i] = x + F.leaky_relu(self.joined[i](x), 0.1)
        coarse = self.last(levels[0]).movedim(1, 2).flatten(1, 2)  # [N, P, h / 2, w / 2]

        y = photo[-1]
        for i in reversed(range(len(self.photo_up))):
            volume = levels[i]
            y = y + self.seen[i](torch.cat((volume.amax(2), volume.mean(2)), dim=1))
            y = photo[i] + F.interpolate(self.photo_up[i](y), size=photo[i].shape[-2:])
            y = y + self.photo_joined[i](y)
        spread = self.spread(y)
        scores = _upsample(coarse, spread[:, :9].softmax(dim=1))
        scores = scores - 10 * torch.exp(spread[:, 9:10]) * smoothed + 10 * spread[:, 10:11] * matching
        scores = scores.float()
        plane, at, certain, entropy = peak(scores)
        about = [v.gather(1, at) for v in (matching, smoothed, others)]
        about += [best - about[0], smoothed.amin(1, keepdim=True) - about[1], certain, entropy]
        confidence, sky = self.verdict(torch.cat((y, *(a.detach() for a in about)), dim=1)).float().unbind(1)
        return Estimate(scores=scores, plane=plane, confidence=confidence, sky=sky)


@cache
def bundled_network() -> StereoNetwork:
    """The trained network that ships with the package."""
    file = BUNDLED / "stereo.safetensors"
    network = StereoNetwork()
    load_strict(network, read_safetensors(file)[0], str(file), what="the stereo network")
    return network.requires_grad_(False).eval()


def peak(
    scores: Float[Tensor, "N P h w"],
) -> tuple[
    Float[Tensor, "N h w"], Int[Tensor, "N 1 h w"], Float[Tensor, "N 1 h w"], Float[Tensor, "N 1 h w"]
]:
    """Mean plane around the best one, the best one, the probability around it, and the entropy (0..1)."""
    P = scores.shape[1]
    at = scores.argmax(1, keepdim=True)
    near = torch.arange(-_REACH, _REACH + 1, device=scores.device).view(1, -1, 1, 1) + at
    inside = (near >= 0) & (near < P)
    kept = scores.gather(1, near.clamp(0, P - 1)).masked_fill(~inside, -torch.inf)
    plane = (kept.softmax(dim=1) * near).sum(1)
    logp = scores.log_softmax(dim=1)
    certain = (kept.logsumexp(1, keepdim=True) - scores.logsumexp(1, keepdim=True)).exp()
    entropy = -(logp.exp() * logp).sum(1, keepdim=True) / 4
    return plane, at, certain, entropy


class PlaneConv(nn.Module):
    """A 3 x 3 x 3 convolution; its weights are those of a two-dimensional one of three planes side by side.

    Of few channels libraries are up to ten times as fast in three dimensions, of many as slow or slower than
    in two: both were measured with AVX2 and with AVX-512.
    """

    def __init__(self, inner: int, outer: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.few = stride, inner <= _FEW
        self.conv = nn.Conv2d(3 * inner, outer, 3, stride=stride, padding=1)

    def forward(self, x: Float[Tensor, "N C P h w"]) -> Float[Tensor, "N D p y x"]:
        if self.few:
            weight = self.conv.weight.unflatten(1, (3, -1)).movedim(1, 2)
            return F.conv3d(x, weight, self.conv.bias, stride=self.stride, padding=1)
        planes = F.pad(x, (0, 0, 0, 0, 1, 1)).movedim(1, 2)
        near = [planes[:, i : i + x.shape[2] : self.stride] for i in range(3)]
        found = self.conv(torch.cat(near, dim=2).flatten(0, 1))
        return found.unflatten(0, (len(x), -1)).movedim(1, 2)


def _pixels(inner: int, outer: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, stride=stride, padding=1),
        nn.LeakyReLU(0.1),
        nn.Conv2d(outer, outer, 3, padding=1),
        nn.LeakyReLU(0.1),
    )


def _upsample(
    coarse: Float[Tensor, "N P y x"], weights: Float[Tensor, "N 9 h w"]
) -> Float[Tensor, "N P h w"]:
    """Twice as large: every pixel a weighted mean of the nine coarse ones around it."""
    (h, w), (y, x) = weights.shape[-2:], coarse.shape[-2:]
    padded = F.pad(coarse, (1, 1, 1, 1), mode="replicate")[:, :, None, None]
    # The four fine pixels of a coarse one as planes of their own: rows stay whole, which is quick.
    fine = F.pad(weights, (0, 2 * x - w, 0, 2 * y - h)).unflatten(2, (y, 2)).unflatten(4, (x, 2))
    fine = fine.permute(0, 1, 3, 5, 2, 4).contiguous()[:, :, None]
    total = fine[:, 0] * padded[..., :y, :x]
    for i in range(1, 9):
        total = torch.addcmul(total, fine[:, i], padded[..., i // 3 : i // 3 + y, i % 3 : i % 3 + x])
    return total.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)[..., :h, :w]

"""The Numba kernels against the PyTorch twin: from the same projection, and from end to end."""

import math

import numpy as np
import pytest
import torch

from geometry.views import Cameras
from nvs.gaussians import Gaussians
from nvs.rasterizer import rasterize, twin
from nvs.rasterizer.cpu import layout
from nvs.rasterizer.cpu.binning import chunk_shift, place_chunks, scatter
from nvs.rasterizer.cpu.projection_backward import add_entries
from nvs.rasterizer.cpu.view import Binned, blend_view, blend_view_backward
from nvs.rasterizer.settings import ALPHA_MIN, Settings

SIZE = (40, 56)


def settings_for(image_size) -> Settings:
    return Settings(
        image_size=image_size,
        near=0.01,
        far=1e10,
        eps2d=0.3,
        antialiased=False,
    )


def relative(actual: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((actual.double() - wanted.double()).norm() / wanted.double().norm().clamp(min=1e-12)).item()


def binned_from(projected: twin.Projected, settings: Settings) -> tuple[Binned, np.ndarray]:
    """The kernels' records and tile lists of Gaussians that gsplat's functions have projected."""
    H, W = settings.image_size
    count = projected.index.numel()
    assert count <= 1 << chunk_shift(count), "this helper makes one chunk"
    a, b, c = projected.conics.double().unbind(-1)
    reach = (2 * (projected.opacities.double() / ALPHA_MIN).log()).clamp(min=0).sqrt() + 0.05
    det = a * c - b * b
    extent = reach[:, None] * torch.stack((c / det, a / det), dim=-1).sqrt()
    side = torch.tensor([W, H])
    first = (projected.means.double() - extent - 0.5).ceil().clamp(min=0).long()
    last = torch.minimum((projected.means.double() + extent - 0.5).floor().long(), side - 1)
    first = torch.minimum(first, side - 1)
    last = torch.maximum(last, first)
    ranges = (first | last << 16).int().numpy()

    records = np.zeros((count, layout.RECORD), np.float32)
    ints = records.view(np.int32)
    records[:, [layout.X, layout.Y]] = projected.means
    scale = torch.tensor([0.5, 1.0, 0.5]) * float(layout.LOG2_E)
    records[:, layout.XX : layout.YY + 1] = projected.conics * scale
    records[:, layout.LOG_OPACITY] = projected.opacities.log2()
    records[:, layout.FEATURES : layout.FEATURES + 4] = projected.features
    ints[:, layout.COLUMNS : layout.ROWS + 1] = ranges

    tiles_x, tiles_y = -(-W // layout.TILE), -(-H // layout.TILE)
    histogram, slot = np.zeros((1, tiles_x * tiles_y), np.int64), 0
    tiles = torch.cat((first // layout.TILE, last // layout.TILE), dim=-1).tolist()
    for i, (x0, y0, x1, y1) in enumerate(tiles):
        ints[i, layout.SLOT] = slot
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                histogram[0, y * tiles_x + x] += 1
                slot += 1
    places = np.stack(
        (ranges[:, 0], ranges[:, 1], ints[:, layout.SLOT], projected.features[:, 3].numpy().view(np.int32)),
        axis=1,
    )
    offsets, chunk_slots = np.empty(tiles_x * tiles_y + 1, np.int64), np.empty(1, np.int64)
    total = place_chunks(histogram, np.array([slot]), chunk_slots, offsets)
    entries, order = np.empty(total, np.int64), np.empty(total, np.int64)
    scatter(0, 1, places.ravel(), chunk_shift(count), histogram, tiles_x, entries)
    used = np.empty(tiles_x * tiles_y, np.int64)
    return Binned(places.ravel(), chunk_slots, records.ravel(), order, offsets, used), entries


def test_same_projection_gives_the_same_image_and_gradients(scene, cameras, generator):
    settings = settings_for(SIZE)
    gaussians, camera = scene(1000, size=0.1), cameras(1, SIZE)
    gaussians.opacities[0, :40] = 1.0  # so that alpha meets its limit
    projected = twin.project(gaussians, None, camera.extrinsics[0, 0], camera.intrinsics[0, 0], settings)
    count = projected.index.numel()
    leaves = [
        t.detach().clone().requires_grad_()
        for t in (projected.means, projected.conics, projected.opacities, projected.features)
    ]
    seen = twin.Projected(
        index=projected.index,
        means=leaves[0],
        conics=leaves[1],
        radii=projected.radii,
        opacities=leaves[2],
        features=leaves[3],
    )
    wanted = twin.composite(seen, *twin.touched_pixels(seen, settings), settings)
    gradient = torch.randn(wanted.shape, generator=generator)
    wanted.backward(gradient)

    binned, entries = binned_from(projected, settings)
    image = [np.empty((3, *SIZE), np.float32), np.empty(SIZE, np.float32), np.empty(SIZE, np.float32)]
    blend_view(binned, entries, settings, *image)
    actual = torch.from_numpy(np.concatenate((image[0], image[1][None], image[2][None])))
    assert (actual - wanted).abs().max() < 1e-5

    planes = [gradient[:3].numpy(), gradient[3].numpy(), gradient[4].numpy()]
    entry_sums, touched = blend_view_backward(binned, settings, chunk_shift(count), image, planes)
    total = np.zeros((count, layout.SUMS), np.float32)
    for i in range(count):
        add_entries(binned.places, i, binned.chunk_slots[0], entry_sums, touched, total[i])
    sums = torch.from_numpy(total)
    v, vx, vy, vxx, vxy, vyy = sums[:, :6].unbind(-1)
    a, b, c = projected.conics.unbind(-1)
    found = [
        torch.stack((-(a * vx + b * vy), -(b * vx + c * vy)), dim=-1),
        torch.stack((-0.5 * vxx, -vxy, -0.5 * vyy), dim=-1),
        v / projected.opacities,
        sums[:, layout.VFEATURES : layout.VFEATURES + 4],
    ]
    for ours, leaf in zip(found, leaves):
        assert relative(ours, leaf.grad) < 5e-5


def with_gradients(gaussians, cameras, colors, backend, **options):
    gaussians = gaussians.map(lambda t: t.detach().clone().requires_grad_())
    cameras = cameras.map(lambda t: t.detach().clone().requires_grad_())
    extra = {} if colors is None else {"colors": colors.to(gaussians.means).detach().clone().requires_grad_()}
    image = rasterize(gaussians, cameras, SIZE, backend=backend, **extra, **options)
    outputs = list(vars(image).values())
    generator = torch.Generator().manual_seed(11)
    weights = [torch.randn(t.shape, generator=generator).to(t) for t in outputs]
    sum((w * t).sum() for w, t in zip(weights, outputs)).backward()
    leaves = [*vars(gaussians).values(), *vars(cameras).values(), *extra.values()]
    return [t.detach() for t in outputs], [t.grad for t in leaves if t.grad is not None]


@pytest.mark.extended
@pytest.mark.parametrize(
    ("degree", "options"),
    [
        (0, {}),
        (0, {"antialiased": True, "depth": "accumulated"}),
        (1, {"near": 2.2, "far": 3.1, "background": torch.tensor([0.2, 0.3, 0.4])}),
        (2, {"eps2d": 0.1, "antialiased": True}),
        (3, {}),
        (None, {}),
    ],
)
def test_end_to_end(scene, cameras, generator, degree, options):
    """Two scenes of two views, off-centre principal points; Gaussians reach beyond gsplat's lean margin."""
    gaussians, views = scene(500, batch=2, degree=degree or 0), cameras(2, SIZE, batch=2)
    gaussians.means[:, :100, :2] *= 2.0
    colors = torch.rand(2, 500, 3, generator=generator) if degree is None else None
    ours, our_gradients = with_gradients(gaussians, views, colors, "cpu", **options)
    wanted, gradients = with_gradients(
        gaussians.to(torch.float64), views.to(torch.float64), colors, "torch", **options
    )
    for actual, expected in zip(ours, wanted):
        differs = (actual - expected).abs() > 1e-4
        assert differs.double().mean() <= 5e-4
        assert (actual - expected).abs().max() < 0.02, "a flipped pixel changes by one weak contribution"
    assert len(our_gradients) == len(gradients) == 7
    for actual, expected in zip(our_gradients, gradients):
        assert relative(actual, expected) < 2e-4


def test_many_small_gaussians_end_to_end(scene, cameras):
    gaussians, view = scene(20_000, size=0.02), cameras(1, (96, 96))
    ours = rasterize(gaussians, view, (96, 96), backend="cpu")
    wanted = rasterize(gaussians, view, (96, 96), backend="torch")
    for actual, expected in zip(vars(ours).values(), vars(wanted).values()):
        assert ((actual - expected).abs() > 1e-4).double().mean() <= 5e-4


def test_a_batch_of_views_is_the_views_one_by_one(scene, cameras):
    gaussians, views = scene(300, batch=2, degree=1), cameras(3, SIZE, batch=2)
    together = rasterize(gaussians, views, SIZE, backend="cpu")
    for b in range(2):
        for v in range(3):
            alone = rasterize(
                gaussians.map(lambda t, b=b: t[b : b + 1]), views[b : b + 1, v : v + 1], SIZE, backend="cpu"
            )
            assert torch.equal(alone.rgb[0, 0], together.rgb[b, v])
            assert torch.equal(alone.depth[0, 0], together.depth[b, v])


def test_the_world_s_frame_does_not_matter(scene, cameras):
    gaussians, view = scene(400), cameras(1, SIZE)
    angle = 0.7
    turn = torch.eye(4)
    turn[0, 0] = turn[1, 1] = math.cos(angle)
    turn[1, 0], turn[0, 1] = math.sin(angle), -math.sin(angle)
    turn[:3, 3] = torch.tensor([0.3, -0.2, 0.5])
    half = torch.tensor([math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2)])
    w, x, y, z = gaussians.quats.unbind(-1)
    c, s = half[0], half[3]
    moved = Gaussians(
        means=gaussians.means @ turn[:3, :3].T + turn[:3, 3],
        quats=torch.stack((c * w - s * z, c * x - s * y, c * y + s * x, c * z + s * w), dim=-1),
        scales=gaussians.scales,
        opacities=gaussians.opacities,
        sh=gaussians.sh,
    )
    there = Cameras(extrinsics=view.extrinsics @ turn.inverse(), intrinsics=view.intrinsics)
    image, again = (rasterize(g, c, SIZE, backend="cpu") for g, c in ((gaussians, view), (moved, there)))
    assert ((image.rgb - again.rgb).abs() > 1e-4).double().mean() <= 5e-4

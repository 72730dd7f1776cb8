"""Merging Gaussians: duplicates become one, moments are kept, a budget is met and pictures change little."""

import pytest
import torch
from pretended_cuda import pretended_cuda
from scenes import make_gaussians, turned_cameras
from torch.testing import assert_close

from geometry.errors import InputError
from nvs.fusion import Visibility, _merged, fuse, visibility
from nvs.gaussians.transform import covariances
from nvs.metrics import psnr
from nvs.options import GaussianOptions
from nvs.rasterizer import rasterize

SIZE = (48, 64)


def twice(gaussians):
    return gaussians.map(lambda t: torch.cat((t, t), dim=1))


def seen_alike(gaussians):
    N = gaussians.means.shape[1]
    return Visibility(pixels=torch.ones(N), eye=torch.tensor([0.0, 0.0, -3.0]).expand(N, 3))


def test_duplicates_become_one_that_lets_through_what_both_did(generator):
    gaussians = make_gaussians(300, generator, degree=1)
    ours = _merged(twice(gaussians), seen_alike(twice(gaussians)), 300)
    order, wanted = ours.means[0, :, 0].argsort(), gaussians.means[0, :, 0].argsort()
    assert_close(ours.means[0, order], gaussians.means[0, wanted])
    assert_close(covariances(ours)[order], covariances(gaussians)[wanted], atol=1e-6, rtol=1e-4)
    assert_close(ours.sh[0, order], gaussians.sh[0, wanted])
    let_through = (1 - gaussians.opacities[0, wanted]).square()
    assert_close(1 - ours.opacities[0, order], let_through, atol=1e-4, rtol=1e-3)
    cameras = turned_cameras(3, SIZE)
    before, after = (rasterize(g, cameras, SIZE).rgb[0] for g in (twice(gaussians), ours))
    assert psnr(after, before).min() > 25  # all that differs is which of two neighbours is in front


def test_many_alike_and_far_larger_ones_end_too(generator):
    gaussians = twice(twice(make_gaussians(50, generator)))
    gaussians.scales[:, ::7] *= 1e7
    assert fuse(gaussians, seen_alike(gaussians), 3).means.shape[1] == 3


def test_two_make_the_moments_of_both_by_what_is_seen_of_them(generator):
    two = make_gaussians(2, generator)
    weights = torch.tensor([3.0, 1.0])
    one = _merged(two, Visibility(pixels=weights, eye=torch.zeros(2, 3)), 1)
    w = (weights + 0.01 * two.opacities[0]) / (weights + 0.01 * two.opacities[0]).sum()
    mean = w @ two.means[0]
    apart = two.means[0] - mean
    wanted = (w[:, None, None] * (covariances(two) + apart[:, :, None] * apart[:, None])).sum(0)
    assert_close(one.means[0, 0], mean)
    assert_close(covariances(one)[0], wanted, atol=1e-6, rtol=1e-4)
    assert_close(one.sh[0, 0], torch.einsum("n,nkc->kc", w, two.sh[0]))


def test_side_by_side_they_stay_as_opaque():
    flat = torch.tensor([0.5, 0.5, 0.01])
    row = make_gaussians(2, torch.Generator().manual_seed(0))
    row = type(row)(
        means=torch.tensor([[[-0.5, 0.0, 3.0], [0.5, 0.0, 3.0]]]),
        quats=torch.tensor([1.0, 0, 0, 0]).expand(1, 2, 4),
        scales=flat.expand(1, 2, 3),
        opacities=torch.full((1, 2), 0.5),
        sh=row.sh,
    )
    one = _merged(row, Visibility(pixels=torch.ones(2), eye=torch.tensor([[0.0, 0.0, -100.0]] * 2)), 1)
    # Twice the optical depth and area, spread over sqrt(2) times an area: the moments' ellipse.
    assert_close(one.opacities, 1 - 0.5 ** torch.full((1, 1), 2**0.5), atol=1e-3, rtol=0)


def test_a_budget_is_met_and_merging_beats_dropping(generator):
    gaussians, cameras = make_gaussians(600, generator, size=0.05), turned_cameras(3, SIZE)
    seen = visibility(gaussians, cameras, SIZE)
    assert float(seen.pixels.sum()) == pytest.approx(
        float(rasterize(gaussians, cameras, SIZE).alpha.sum()), rel=1e-4
    )
    ours, dropped = fuse(gaussians, seen, 300), gaussians[:, seen.pixels.topk(300).indices]
    assert ours.means.shape[1] == 300
    whole = rasterize(gaussians, cameras, SIZE).rgb[0]
    scores = [psnr(rasterize(g, cameras, SIZE).rgb[0], whole).mean() for g in (ours, dropped)]
    assert scores[0] > scores[1]
    assert fuse(gaussians, seen, 600) is gaussians
    again = fuse(gaussians, seen, 300)
    assert torch.equal(again.means, ours.means)


@pytest.mark.extended
def test_on_cuda_it_is_the_same(generator):
    gaussians, cameras = make_gaussians(60, generator), turned_cameras(2, SIZE)
    wanted = fuse(gaussians, visibility(gaussians, cameras, SIZE, backend="torch"), 30)
    with pretended_cuda():
        there = gaussians.to("cuda")
        ours = fuse(there, visibility(there, cameras.to("cuda"), SIZE, backend="torch"), 30)
        assert ours.means.is_cuda
        ours = ours.to("cpu")
    assert_close(vars(ours), vars(wanted))


def test_budgets(unchecked):
    assert GaussianOptions().budget(100) == 100
    assert GaussianOptions(gaussians=30).budget(100) == 30
    assert GaussianOptions(gaussians=300).budget(100) == 100
    assert GaussianOptions(compression=4).budget(100) == 25
    with pytest.raises(InputError, match="both"):
        GaussianOptions(gaussians=3, compression=2)
    with pytest.raises(InputError, match="compression"):
        GaussianOptions(compression=0.5)

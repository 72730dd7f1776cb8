"""Teacher depth aligned to measurements: accuracy with few points and many outliers, and honest failures."""

import json

import pytest
import torch
from torch.testing import assert_close

from geometry.training.pseudo_depth import align_teacher_depth


def world(seed, H=60, W=80):
    """True depth 1..9, and a teacher's that is right up to scale, shift and 1 % noise."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(0, 1, H), torch.linspace(0, 1, W), indexing="ij")
    truth = 2 + 6 * y + torch.sin(9 * x + seed)
    noise = 1 + 0.01 * torch.randn(H, W, generator=generator)
    return truth, 0.3 * (truth * noise) - 0.2, generator


def sparse(truth, points, generator):
    chosen = torch.randperm(truth.numel(), generator=generator)[:points]
    valid = torch.zeros(truth.numel(), dtype=torch.bool)
    valid[chosen] = True
    return chosen, valid.view_as(truth)


OUTLIERS = {
    "anywhere": lambda y, g: 30 * torch.rand(y.shape, generator=g),
    "one-sided": lambda y, g: y * (1.3 + torch.rand(y.shape, generator=g)),
    "one wall": lambda y, g: 4 + 0.05 * torch.randn(y.shape, generator=g),
    "far": lambda y, g: 1e3 * torch.rand(y.shape, generator=g),
}


@pytest.mark.parametrize("kind", OUTLIERS)
@pytest.mark.parametrize("points", [200, 300])
def test_a_few_hundred_points_with_forty_percent_outliers(kind, points):
    for seed in range(8):
        truth, teacher, generator = world(seed)
        chosen, valid = sparse(truth, points, generator)
        measured = torch.where(valid, truth, 0.0)
        bad = chosen[: int(0.4 * points)]
        measured.view(-1)[bad] = OUTLIERS[kind](truth.view(-1)[bad], generator)
        aligned, report = align_teacher_depth(teacher, measured, valid, generator=generator)
        assert report.failure is None, report
        # The teacher's own noise alone is 0.8 % in the mean.
        assert ((aligned - truth).abs() / truth).mean() < 0.02, (seed, report)
        assert 0.5 < report.inlier_share < 0.75, (seed, report)


def test_exact_dense_depth_is_recovered_exactly(generator):
    truth, _, _ = world(0)
    aligned, report = align_teacher_depth(
        5 * truth + 2, truth, torch.ones_like(truth, dtype=torch.bool), generator=generator
    )
    assert_close(aligned, truth, atol=1e-5, rtol=0)
    assert report.scale == pytest.approx(0.2, rel=1e-5)
    assert report.shift == pytest.approx(-0.4, rel=1e-4)
    assert report.inlier_share > 0.9
    assert json.loads(json.dumps(vars(report)))["failure"] is None


def test_a_label_is_never_negative(generator):
    truth, teacher, _ = world(0)
    teacher[0, 0] = -50
    valid = torch.ones_like(truth, dtype=torch.bool)
    valid[0, 0] = False
    aligned, _ = align_teacher_depth(teacher, truth, valid, generator=generator)
    assert aligned[0, 0] == 0


def test_failures_say_why(generator):
    truth, teacher, _ = world(0)
    everywhere = torch.ones_like(truth, dtype=torch.bool)

    def failure(teacher, measured, valid=everywhere):
        aligned, report = align_teacher_depth(teacher, measured, valid, generator=generator)
        assert aligned is None
        return report.failure

    _, few = sparse(truth, 20, generator)
    assert failure(teacher, truth, few).startswith("too few points: 20")
    assert failure(teacher, torch.where(few, truth, torch.nan)).startswith("too few points: 20")
    assert failure(torch.ones_like(teacher), truth).startswith("no spread")
    wall = 3 + 0.05 * torch.randn(truth.shape, generator=generator)
    _, some = sparse(truth, 200, generator)
    flat = 1 + 0.001 * torch.randn(truth.shape, generator=generator)
    assert failure(flat, wall, some).startswith("no spread")
    unrelated = 1 + 5 * torch.rand(truth.shape, generator=generator)
    assert failure(unrelated, truth, some).startswith("no agreement")
    assert failure(10 - teacher, truth).startswith("negative scale")


def test_the_same_seed_gives_the_same_label():
    labels = []
    for _ in range(2):
        truth, teacher, generator = world(3)
        _, valid = sparse(truth, 250, generator)
        labels.append(align_teacher_depth(teacher, truth, valid, generator=generator)[0])
    assert torch.equal(*labels)

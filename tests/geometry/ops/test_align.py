"""Umeyama, camera alignment, scale and shift: by hand, against the released numbers, and under outliers."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from geometry.ops import se3
from geometry.ops.align import (
    DegenerateAlignment,
    Similarity,
    align_poses,
    camera_scale,
    fit_scale,
    fit_scale_shift,
    normalise_extrinsics,
    robust_scale_shift,
    umeyama,
)
from geometry.ops.rotations import matrix_from_quat_xyzw


def random_similarity(generator, *batch):
    return Similarity(
        scale=torch.rand(batch, generator=generator, dtype=torch.float64) + 0.5,
        rotation=matrix_from_quat_xyzw(torch.randn((*batch, 4), generator=generator, dtype=torch.float64)),
        translation=torch.randn((*batch, 3), generator=generator, dtype=torch.float64),
    )


def random_extrinsics(generator, *batch):
    rotation = matrix_from_quat_xyzw(torch.randn((*batch, 4), generator=generator, dtype=torch.float64))
    translation = torch.randn((*batch, 3), generator=generator, dtype=torch.float64)
    return se3.from_rotation_translation(rotation, translation)


def test_umeyama_by_hand():
    # A square doubled, turned a quarter about z and moved.
    source = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    target = torch.tensor([[5.0, 0, 1], [5, 2, 1], [3, 2, 1], [3, 0, 1]])
    fit = umeyama(source, target)
    assert_close(fit.scale, torch.tensor(2.0, dtype=torch.float64))
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    assert_close(fit.rotation, quarter)
    assert_close(fit.translation, torch.tensor([5.0, 0, 1], dtype=torch.float64))


def test_umeyama_recovers_a_batch_and_ignores_points_without_weight(generator):
    truth = random_similarity(generator, 2, 3)
    source = torch.randn(2, 3, 8, 3, generator=generator, dtype=torch.float64)
    target = truth.points(source)
    target[..., 0, :] += 100
    weights = torch.ones(2, 3, 8, dtype=torch.float64)
    weights[..., 0] = 0
    fit = umeyama(source, target, weights)
    assert_close(fit.scale, truth.scale)
    assert_close(fit.rotation, truth.rotation)
    assert_close(fit.translation, truth.translation)


def test_umeyama_never_reflects(generator):
    source = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    fit = umeyama(source, source * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    assert_close(torch.linalg.det(fit.rotation), torch.tensor(1.0, dtype=torch.float64))


def test_umeyama_gradients(generator):
    source = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)

    def fitted(source, target):
        fit = umeyama(source, target)
        return fit.scale, fit.rotation, fit.translation

    assert torch.autograd.gradcheck(fitted, (source, target))


@pytest.mark.parametrize(
    ("points", "rank"),
    [([[1.0, 2, 3]] * 4, 0), ([[0.1, 0, 0], [0.3, 0.1, 0]], 1), ([[0.0, 0, 0], [1, 1, 1], [3, 3, 3]], 1)],
)
def test_umeyama_says_when_points_do_not_determine_it(points, rank, generator):
    source = torch.tensor(points)
    target = random_similarity(generator).points(source.double())
    with pytest.raises(DegenerateAlignment, match=f"got rank {rank}"):
        umeyama(source, target)
    if rank == 1:
        fit = umeyama(source, target, min_rank=1)
        assert_close(fit.points(source.double()), target, atol=1e-6, rtol=0)


def test_similarity_moves_cameras_with_their_points_and_inverts(generator):
    similarity = random_similarity(generator, 2)
    extrinsics = random_extrinsics(generator, 2, 3)
    points = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    before = se3.transform(extrinsics, points[:, None].expand(2, 3, 5, 3))
    moved = similarity.points(points)[:, None].expand(2, 3, 5, 3)
    after = se3.transform(similarity.extrinsics(extrinsics), moved)
    assert_close(after, similarity.scale[:, None, None, None] * before)
    assert_close(similarity.inverse().points(similarity.points(points)), points)


@pytest.mark.parametrize(("name", "ransac"), [("plain", False), ("ransac", True)])
def test_camera_alignment_agrees_with_the_released_one(golden_dir, name, ransac):
    golden = np.load(golden_dir / "geometry_utils.npz")
    reference, estimate = (torch.from_numpy(golden[f"align_{n}"]) for n in ("ref", "est"))
    similarity, aligned = align_poses(reference, estimate, ransac=ransac, seed=42)
    for ours, key in (
        (similarity.rotation, "r"),
        (similarity.translation, "t"),
        (similarity.scale, "s"),
        (aligned, "ext"),
    ):
        assert_close(ours, torch.from_numpy(golden[f"align_{name}_{key}"]), atol=1e-9, rtol=1e-9)


def test_ransac_alignment_survives_lost_cameras(generator):
    truth = random_similarity(generator)
    estimate = random_extrinsics(generator, 20)
    reference = truth.extrinsics(estimate)
    lost = estimate.clone()
    lost[:2, :3, 3] += 5 * torch.randn(2, 3, generator=generator, dtype=torch.float64)
    plain, _ = align_poses(reference, lost)
    robust, _ = align_poses(reference, lost, ransac=True)
    assert abs(float(robust.scale / truth.scale) - 1) < 1e-6
    assert abs(float(plain.scale / truth.scale) - 1) > 1e-2


def test_camera_scale(generator):
    estimate = random_extrinsics(generator, 4, 2)
    estimate[3, 1] = estimate[3, 0]  # coincident: nothing fixes the scale
    factors = torch.tensor([2.0, 0.5, 100.0, 2.0], dtype=torch.float64)
    similarity = random_similarity(generator, 4)
    reference = Similarity(
        scale=factors, rotation=similarity.rotation, translation=similarity.translation
    ).extrinsics(estimate)
    expected = torch.tensor([2.0, 0.5, 3.0, 1.0], dtype=torch.float64)
    assert_close(camera_scale(reference, estimate), expected)
    assert_close(camera_scale(reference.float(), estimate.float()), expected, atol=1e-5, rtol=0)
    # A pure rotation: centres differ by the rounding of float32 poses only.
    spin = random_extrinsics(generator, 1, 2)
    spin[..., :3, 3] = -(spin[..., :3, :3] @ torch.tensor([3.0, -1.0, 2.0], dtype=torch.float64))
    assert camera_scale(spin.float(), estimate[:1].float()).tolist() == [1.0]
    assert_close(camera_scale(reference[:, :1], estimate[:, :1]), torch.ones(4, dtype=torch.float64))


def test_normalised_extrinsics_agree_with_the_released_api(golden_dir):
    golden = np.load(golden_dir / "geometry_utils.npz")
    extrinsics = torch.from_numpy(golden["ext"])
    normalised, world = normalise_extrinsics(extrinsics)
    assert_close(normalised, torch.from_numpy(golden["api_normalised_ext"]), atol=1e-6, rtol=1e-6)
    assert_close(world.extrinsics(normalised), extrinsics, atol=1e-5, rtol=1e-5)


def test_normalised_extrinsics_by_hand():
    extrinsics = torch.eye(4).repeat(1, 3, 1, 1)
    extrinsics[0, :, 0, 3] = torch.tensor([1.0, 5.0, 9.0])  # centres at x = -1, -5, -9
    normalised, world = normalise_extrinsics(extrinsics)
    assert normalised[0, :, 0, 3].tolist() == [0.0, 1.0, 2.0]  # distances 0, 4, 8: median 4
    assert world.scale.tolist() == [4.0]
    assert world.translation.tolist() == [[-1.0, 0.0, 0.0]]
    still, world = normalise_extrinsics(torch.eye(4).repeat(1, 2, 1, 1))
    assert world.scale.item() == pytest.approx(0.1)
    assert torch.equal(still, torch.eye(4).repeat(1, 2, 1, 1))


def test_scale_and_shift_least_squares_by_hand():
    source = torch.tensor([[1.0, 2.0, 3.0, math.nan], [1.0, 1.0, 1.0, 5.0]])
    target = torch.tensor([[5.0, 7.0, 9.0, math.nan], [2.0, 4.0, 6.0, 0.0]])
    mask = torch.tensor([[True, True, True, False]] * 2)
    scale, shift = fit_scale_shift(source, target, mask)
    assert scale.tolist() == [2.0, 1.0]  # a constant source determines a shift only
    assert shift.tolist() == [3.0, 3.0]
    assert fit_scale(source, target, mask).tolist() == [46 / 14, 4.0]
    nothing = torch.zeros_like(mask)
    assert fit_scale(source, target, nothing).tolist() == [1.0, 1.0]
    assert [x.tolist() for x in fit_scale_shift(source, target, nothing)] == [[1.0, 1.0], [0.0, 0.0]]


def test_weighted_scale_shift_agrees_with_numpy(generator):
    source, target, weights = torch.rand(3, 40, generator=generator, dtype=torch.float64)
    design = np.stack((source.numpy(), np.ones(40)), axis=1) * weights.sqrt().numpy()[:, None]
    expected = np.linalg.lstsq(design, (target * weights.sqrt()).numpy(), rcond=None)[0]
    ours = torch.stack(fit_scale_shift(source, target, weights))
    assert_close(ours, torch.from_numpy(expected))


def test_robust_scale_shift_is_exact_on_exact_data_with_outliers(generator):
    source = torch.rand(300, generator=generator, dtype=torch.float64) * 4 + 1
    target = 2.5 * source - 0.7
    target[:120] = 20 * torch.rand(120, generator=generator, dtype=torch.float64)
    fit = robust_scale_shift(source, target, generator=generator)
    assert_close(fit.scale, torch.tensor(2.5, dtype=torch.float64), atol=1e-9, rtol=0)
    assert_close(fit.shift, torch.tensor(-0.7, dtype=torch.float64), atol=1e-9, rtol=0)
    assert fit.inliers[120:].all()
    assert fit.inliers[:120].sum() <= 2


def test_robust_scale_shift_repeats_for_a_seed_and_says_what_it_needs(generator):
    source, target = torch.rand(2, 50, generator=generator)
    first, again = (
        robust_scale_shift(source, target, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first.scale, again.scale)
    with pytest.raises(DegenerateAlignment, match="at least 2"):
        robust_scale_shift(source[:1], target[:1], generator=generator)
    with pytest.raises(DegenerateAlignment, match="constant"):
        robust_scale_shift(torch.ones(50), target, generator=generator)
    with pytest.raises(DegenerateAlignment, match="positive"):
        robust_scale_shift(source, -source, generator=generator)
    assert robust_scale_shift(source, -source, generator=generator, positive=False).scale < 0

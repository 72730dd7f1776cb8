"""Alignment and relative poses against evo and SciPy."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from eval.protocols.reconstruction import carried
from geometry.metrics.pose import pose_errors_deg
from geometry.ops import se3


def trajectories(seed=0, count=12):
    """True world-to-camera poses, and noisy ones in another world."""
    rng = np.random.default_rng(seed)
    truth, found = np.tile(np.eye(4), (2, count, 1, 1))
    centres = rng.normal(size=(count, 3))
    R = Rotation.random(count, random_state=seed)
    truth[:, :3, :3] = R.as_matrix()
    truth[:, :3, 3] = -R.apply(centres)
    other = Rotation.random(random_state=seed + 1)
    moved = 0.4 * other.apply(centres) + [1, 2, 3] + rng.normal(scale=0.005, size=(count, 3))
    noisy = Rotation.from_rotvec(rng.normal(scale=0.02, size=(count, 3))) * R * other.inv()
    found[:, :3, :3] = noisy.as_matrix()
    found[:, :3, 3] = -noisy.apply(moved)
    return truth, found


def test_relative_rotations_are_scipys():
    truth, found = trajectories()
    rotation, translation = pose_errors_deg(torch.from_numpy(found), torch.from_numpy(truth))
    i, j = np.triu_indices(len(truth), 1)
    # In E_i^-1 E_j of world-to-camera poses the rotation hangs on the world: the first camera's is taken.
    first = [E @ np.linalg.inv(E[0]) for E in (found, truth)]
    relative = [np.linalg.inv(E[i]) @ E[j] for E in first]
    p, t = (Rotation.from_matrix(m[:, :3, :3]) for m in relative)
    np.testing.assert_allclose(rotation.numpy(), np.rad2deg((p * t.inv()).magnitude()), atol=1e-6)
    a, b = (m[:, :3, 3] for m in relative)
    cosine = np.abs((a * b).sum(1)) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(translation.numpy(), np.rad2deg(np.arccos(cosine.clip(0, 1))), atol=1e-4)


def test_a_lost_camera_does_not_bend_the_alignment():
    truth, found = trajectories()
    whole = carried(found, truth)
    assert float(whole.scale) == pytest.approx(1 / 0.4, rel=0.01)
    found[3, :3, 3] += 50
    robust = carried(found, truth)
    assert float(robust.scale) == pytest.approx(1 / 0.4, rel=0.02)


def test_umeyama_is_evos():
    umeyama = pytest.importorskip("evo.core.geometry").umeyama_alignment
    from geometry.ops.align import umeyama as ours

    truth, found = trajectories()
    source, target = (se3.centres(torch.from_numpy(E)) for E in (found, truth))
    R, t, scale = umeyama(source.numpy().T, target.numpy().T, with_scale=True)
    fit = ours(source, target)
    np.testing.assert_allclose(fit.rotation.numpy(), R, atol=1e-9)
    np.testing.assert_allclose(fit.translation.numpy(), t, atol=1e-9)
    assert float(fit.scale) == pytest.approx(scale)


def test_cameras_on_a_line_and_in_one_place_are_aligned_by_their_directions():
    truth, _ = trajectories()
    line = truth.copy()
    for k, E in enumerate(line):
        E[:3, 3] = -E[:3, :3] @ [k, 0, 0]
    carry = carried(line, line)
    torch.testing.assert_close(carry.rotation, torch.eye(3, dtype=torch.float64))
    here = truth.copy()
    here[:, :3, 3] = 0
    assert float(carried(here, truth).scale) > 0

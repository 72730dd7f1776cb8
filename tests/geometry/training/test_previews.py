"""Pictures of a validation sample show what they say."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from geometry.ops import se3
from geometry.training.previews import lay_over


@pytest.mark.parametrize("views", [2, 5])
def test_right_cameras_of_another_world_and_scale_lie_on_the_truth(views):
    """A pair's two centres leave the turn about their line open, so centres alone cannot place it."""
    *wanted, world = _random_poses(views + 1)
    wanted = torch.stack(wanted)
    came = world @ wanted
    came[:, :3, 3] *= 2.5
    torch.testing.assert_close(lay_over(came, wanted), wanted)

    came[1, :3, 3] += 1.0
    assert not torch.allclose(lay_over(came, wanted), wanted, atol=0.05)


def _random_poses(count: int) -> torch.Tensor:
    rotation = torch.from_numpy(Rotation.random(count, random_state=0).as_matrix())
    translation = torch.from_numpy(np.random.default_rng(0).normal(size=(count, 3)))
    return se3.from_rotation_translation(rotation, translation)

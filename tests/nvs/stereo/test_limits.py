"""Between which depths planes are tried."""

import pytest

from geometry.worlds import ProceduralDataset
from nvs.stereo import StereoDepth
from nvs.stereo.limits import FEATURES_FROM, depth_limits


@pytest.fixture(scope="module")
def example():
    world = ProceduralDataset(seed=3, photometry=0, kinds=["objects"])
    return world.sample(0, n_views=4, image_size=(126, 168), path="orbit")


def test_the_ground_before_the_camera_is_within_the_limits(example):
    """Few features lie on it; what is nearer than the nearest plane can never be found."""
    depth, solid = example.truth.depth[0], ~example.truth.sky[0]
    for z, shown, (near, far) in zip(depth, solid, depth_limits(example.views)):
        assert (z[shown] < near).float().mean() < 0.02
        assert near < z[shown].median() < far


@pytest.mark.parametrize("learned", [False, True])
def test_only_trusted_depth_is_nearer_than_features(example, learned):
    """What is guessed there would hide what lies behind."""
    swept = StereoDepth(learned=learned).sweep(example.views)
    near = FEATURES_FROM * swept.limits[0, :, 0, None, None].expand_as(swept.depth[0])
    depth, trusted = swept.depth[0], swept.trusted[0]
    assert (depth[trusted] < near[trusted]).any()
    assert (depth[~trusted] >= near[~trusted] * (1 - 1e-6)).all()

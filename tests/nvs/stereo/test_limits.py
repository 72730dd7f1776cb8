"""Between which depths planes are tried."""

from geometry.worlds import ProceduralDataset
from nvs.stereo.limits import depth_limits


def test_the_ground_before_the_camera_is_within_the_limits():
    """Few features lie on it; what is nearer than the nearest plane can never be found."""
    world = ProceduralDataset(seed=3, photometry=0, kinds=["objects"])
    example = world.sample(0, n_views=4, image_size=(126, 168), path="orbit")
    depth, solid = example.truth.depth[0], ~example.truth.sky[0]
    for z, shown, (near, far) in zip(depth, solid, depth_limits(example.views)):
        assert (z[shown] < near).float().mean() < 0.02
        assert near < z[shown].median() < far

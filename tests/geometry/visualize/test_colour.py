import numpy as np
import pytest

from geometry.visualize import colour_confidence, colour_depth, depth_limits

GREY = [128, 128, 128]


def luma(image: np.ndarray) -> np.ndarray:
    return image @ np.array([0.2126, 0.7152, 0.0722])


def test_near_is_brighter_than_far_all_the_way():
    depth = np.linspace(1, 10, 50, dtype=np.float32)[None]
    brightness = luma(colour_depth(depth))[0]
    assert (np.diff(brightness) < 0.5).all()  # a step of its bytes
    assert brightness[0] > brightness[-1] + 150


def test_steps_are_even_in_inverse_depth():
    inverse = np.linspace(1, 0.1, 256)
    image = colour_depth(1 / inverse[None], limits=(1.0, 10.0))
    assert len({tuple(c) for c in image[0].tolist()}) > 210  # of 256 colours, less the darkest


def test_unknown_depth_is_grey_and_does_not_move_the_limits():
    depth = np.array([[1.0, 2.0, 3.0, 4.0]])
    spoilt = np.concatenate((depth, [[0.0, -5.0, np.nan, np.inf]]))
    image = colour_depth(spoilt)
    assert (image[1] == GREY).all()
    np.testing.assert_array_equal(image[:1], colour_depth(depth))
    assert GREY not in image[0].tolist()


def test_given_limits_hold_and_clip():
    frames = [colour_depth(np.array([[d]]), limits=(1.0, 4.0)) for d in (0.5, 1.0, 4.0, 9.0)]
    np.testing.assert_array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(frames[2], frames[3])
    assert (frames[0] != frames[2]).any()


def test_limits_are_percentiles_and_survive_flat_and_empty_maps():
    near, far = depth_limits(np.linspace(100, 200, 10_001)[None])
    assert near == pytest.approx(102, abs=0.1)
    assert far == pytest.approx(198, abs=0.1)
    for depth in (np.full((3, 3), 2.0), np.zeros((3, 3)), np.full((3, 3), np.nan)):
        assert colour_depth(depth).shape == (3, 3, 3)
        near, far = depth_limits(depth)
        assert 0 < near < far


@pytest.mark.parametrize("outlier", [1e-4, 0.01, 1e5])
def test_a_tenth_of_wild_depth_leaves_the_colours_to_the_rest(outlier):
    depth = np.linspace(2, 4, 1000)
    depth[::10] = outlier
    image = colour_depth(depth[None])[0]
    brightness = np.delete(luma(image), np.s_[::10])
    assert brightness[0] - brightness[-1] > 25  # the surface keeps its shape
    assert brightness.min() > 15  # and no part of it is black


def test_a_surface_beyond_the_limits_is_not_black():
    assert luma(colour_depth(np.full((2, 2), 1e6), limits=(1.0, 4.0))).min() > 10


def test_confidence_rises_to_bright():
    brightness = luma(colour_confidence(np.linspace(1, 30, 40)[None]))[0]
    assert (np.diff(brightness) >= -1).all()  # viridis rises but for rounding
    assert (colour_confidence(np.array([[1.0, np.nan]]))[0, 1] == GREY).all()
    assert colour_confidence(np.ones((2, 2, 3))).shape == (2, 2, 3, 3)

import cv2
import numpy as np
import pytest

from geometry.formats.images import read_map
from geometry.visualize import depth_unit, even_padded, write_depth, write_image


def test_png_is_exact_and_rgb(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], image)


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises((ValueError, cv2.error)):
        write_image(tmp_path / "a.xyz", np.zeros((2, 2, 3), np.uint8))


def test_even_padding_repeats_the_last_row_and_column():
    image = np.arange(15, dtype=np.uint8).reshape(3, 5, 1).repeat(3, axis=2)
    padded = even_padded(image)
    assert padded.shape == (4, 6, 3)
    np.testing.assert_array_equal(padded[:3, :5], image)
    np.testing.assert_array_equal(padded[3, :5], image[2])
    np.testing.assert_array_equal(padded[:3, 5], image[:, 4])
    assert even_padded(padded) is padded


def test_depth_comes_back_from_its_png_to_half_a_step(tmp_path):
    depth = np.random.default_rng(0).uniform(0.5, 40, (20, 30)).astype(np.float32)
    depth[0] = [0, -1, np.nan, np.inf, 1e9, 1e-9, *[3.0] * 24]
    unit = depth_unit(depth[1:])
    write_depth(tmp_path / "d.png", depth, unit)
    stored = read_map(tmp_path / "d.png")
    assert stored.dtype == np.uint16
    assert stored[0, :6].tolist() == [0, 0, 0, 0, 65535, 1]
    np.testing.assert_allclose(stored[1:] * unit, depth[1:], atol=0.501 * unit)


@pytest.mark.parametrize("median", [1.0, 3.0, 9.99, 0.02, 4e5])
def test_steps_of_depth_are_fine_and_its_range_is_wide(median):
    unit = depth_unit(np.full((3, 3), median))
    assert 1000 <= median / unit * (1 + 1e-9) <= 10_000
    assert depth_unit(np.zeros((2, 2))) == 1e-3

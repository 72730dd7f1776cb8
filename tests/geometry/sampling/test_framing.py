"""Windows of photos: pixels, maps and intrinsics must tell the same story."""

import numpy as np
import pytest

from geometry.sampling.framing import frame_window, show_map, show_photo


def coordinates(size):
    """A photo whose red and green are the coordinates of its pixel centres."""
    H, W = size
    x, y = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
    return np.stack((x, y, np.zeros_like(x)), -1)


WINDOWS = [
    ((120, 160), (60, 80), {}),
    ((120, 160), (60, 60), {"zoom": 1.3, "shift": (0.5, -1.0)}),
    ((160, 120), (42, 70), {"stretch": 1.2}),
    ((120, 160), (150, 210), {"zoom": 1.5, "shift": (0.4, -0.3)}),
    ((97, 131), (56, 84), {"shift": (-0.7, 0.9), "zoom": 1.1}),
]


@pytest.mark.parametrize(("photo_size", "size", "options"), WINDOWS)
def test_pixels_lie_where_the_map_says(photo_size, size, options):
    window = frame_window(photo_size, size, **options)
    shown = show_photo(coordinates(photo_size).astype(np.uint8), window).astype(float)
    expected = window.to_photo(coordinates(size)[..., :2])
    inner = (slice(4, -4), slice(4, -4))  # cubic enlarging bends at the border
    error = np.abs(shown[..., :2] - expected)[inner]
    assert error.max() < 1.01  # 8-bit rounding down of half pixels
    assert np.abs((shown[..., :2] - expected)[inner].mean()) < 0.6


@pytest.mark.parametrize(("photo_size", "size", "options"), WINDOWS)
def test_maps_take_the_pixel_under_each_centre(photo_size, size, options):
    window = frame_window(photo_size, size, **options)
    for map_size in (photo_size, (photo_size[0] // 2, photo_size[1] // 2)):
        values = np.arange(map_size[0] * map_size[1]).reshape(map_size)
        shown = show_map(values, window)
        places = window.to_photo(coordinates(size)[..., :2]) * (
            map_size[1] / photo_size[1],
            map_size[0] / photo_size[0],
        )
        assert (shown == values[places[..., 1].astype(int), places[..., 0].astype(int)]).all()


@pytest.mark.parametrize(("photo_size", "size", "options"), WINDOWS)
def test_windows_stay_inside_and_have_the_shape(photo_size, size, options):
    window = frame_window(photo_size, size, **options)
    corners = window.to_photo(np.array([[0.0, 0.0], [size[1], size[0]]]))
    assert (corners >= 0).all()
    assert (corners <= (photo_size[1], photo_size[0])).all()
    (width, height) = corners[1] - corners[0]
    wanted = size[1] / size[0] * options.get("stretch", 1.0)
    assert width / height == pytest.approx(wanted, rel=0.03)


def test_the_whole_photo_by_default():
    window = frame_window((100, 200), (50, 100))
    np.testing.assert_allclose(np.array([[200.0, 100.0]]) * window.scale - window.offset, [[100, 50]])
    K = np.array([[80.0, 0, 90], [0, 70, 60], [0, 0, 1]])
    np.testing.assert_allclose(window.network_intrinsics(K), [[40, 0, 45], [0, 35, 30], [0, 0, 1]])

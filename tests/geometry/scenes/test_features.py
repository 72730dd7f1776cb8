"""Features against blobs whose places are known, and pairs of photos against what they show."""

import numpy as np
import pytest

from geometry.scenes.features import find_features, largest, pairs_to_match

SIZE = (120, 160)


def blob(x, y, sigma=6.0):
    """A bright spot; the centre of the first pixel is (0.5, 0.5)."""
    v, u = np.indices(SIZE) + 0.5
    return np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * sigma**2))


def grey(values):
    return (255 * values).round().clip(0, 255).astype(np.uint8)


def wall(seed, left=0, width=160):
    """Part of a wall of spots of many sizes."""
    rng = np.random.default_rng(seed)
    v, u = np.indices((120, 400)) + 0.5
    spots = np.full((120, 400), 0.5)
    for x, y, sigma, sign in zip(
        rng.uniform(0, 400, 300), rng.uniform(0, 120, 300), rng.uniform(1.5, 5, 300), rng.choice([-1, 1], 300)
    ):
        spots += 0.3 * sign * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * sigma**2))
    return grey(spots[:, left : left + width])


@pytest.mark.parametrize(("x", "y"), [(80.0, 60.0), (70.3, 50.6)])
def test_a_spot_is_found_where_it_is(x, y):
    found = find_features(grey(0.1 + 0.8 * blob(x, y)), 20)
    nearest = np.linalg.norm(found.places - [x, y], axis=1).argmin()
    np.testing.assert_allclose(found.places[nearest], [x, y], atol=0.06)
    assert found.scales[nearest] == pytest.approx(6.0, rel=0.25)
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)


def test_masked_places_have_no_features():
    keep = np.zeros(SIZE, bool)
    keep[:, :80] = True
    found = find_features(wall(0), 500, keep=keep)
    assert len(found.places) > 10
    assert found.places[:, 0].max() < 80.5
    assert find_features(wall(0), 500).places[:, 0].max() > 120


def test_a_blank_photo_has_none():
    found = find_features(np.full(SIZE, 99, np.uint8), 500)
    assert found.places.shape == (0, 2)
    assert found.descriptors.shape == (0, 128)


def test_photos_are_matched_with_those_that_show_the_same():
    """Two walls in turns, three photos each that overlap by two thirds, and a blank one."""
    photos = [wall(side, 50 * step) for step in range(3) for side in (0, 1)] + [np.full(SIZE, 99, np.uint8)]
    features = [largest(find_features(photo, 500)) for photo in photos]
    pairs = pairs_to_match(features, 1)
    blank = [pair for pair in pairs if 6 in pair]
    assert len(blank) == 1  # it has to be asked for with some photo
    assert all((i - j) % 2 == 0 for i, j in pairs if 6 not in (i, j))
    assert {frozenset(p) for p in ((0, 2), (1, 3))} <= {frozenset(p) for p in pairs}
    assert len(pairs_to_match(features, 6)) == len(pairs_to_match(features, 100)) == 21


def test_one_photo_has_no_pair():
    assert pairs_to_match([largest(find_features(wall(0), 500))], 20) == []

"""Structure from motion against the exact cameras of a generated capture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import save

from geometry.errors import InputError
from geometry.formats.images import ExifLens, read_exif_lens
from geometry.metrics.pose import pose_auc
from geometry.scenes import structure_from_motion as sfm
from geometry.scenes.features import find_features
from geometry.scenes.photos import open_photos
from geometry.worlds import procedural_world, render, sample_cameras

SIZE = (240, 320)
needs_pycolmap = pytest.mark.skipif(not sfm.available(), reason="pycolmap is not installed (extra 'sfm')")


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """Six photos of a room and a seventh of noise, and the cameras of the six."""
    folder = tmp_path_factory.mktemp("capture")
    world = procedural_world(12, "room", texture_size=256)
    generator = torch.Generator().manual_seed(3)
    cameras = sample_cameras(world, 6, SIZE, generator, "orbit", zoom=False)
    K = torch.tensor([[300.0, 0.0, 160.0], [0.0, 300.0, 120.0], [0.0, 0.0, 1.0]])  # square pixels, as photos'
    cameras = replace(cameras, intrinsics=K.expand_as(cameras.intrinsics))
    photos = render(world, cameras, SIZE).radiance[0].clamp(0, 1)
    for v, photo in enumerate(photos):
        save(folder / f"{v}.png", (photo.permute(1, 2, 0) * 255).round().byte().numpy())
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    save(folder / "6.png", noise)
    return folder, cameras


@pytest.mark.extended
@needs_pycolmap
def test_cameras_are_found_and_the_stranger_is_named(capture):
    folder, truth = capture
    scene = open_photos(folder, unposed=True)
    placed = sfm.place_photos(scene)
    assert (placed.indices, placed.missing) == ([0, 1, 2, 3, 4, 5], [6])
    assert placed.scene.posed
    assert placed.scene.source == sfm.SOURCE
    auc = pose_auc(torch.from_numpy(placed.scene.extrinsics), truth.extrinsics[0])
    assert auc[5] > 0.6
    assert auc[30] > 0.85
    K, expected = placed.scene.intrinsics, truth.intrinsics[0].numpy()
    assert np.abs(K[:, 0, 0] / expected[:, 0, 0] - 1).max() < 0.03
    np.testing.assert_allclose(placed.scene.extrinsics[0], np.eye(4), atol=1e-12)
    threads = torch.get_num_threads()
    torch.set_num_threads(3 - min(threads, 2))  # one instead of more, else two: the same bits by any number
    try:
        again = sfm.place_photos(scene)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(again.scene.extrinsics, placed.scene.extrinsics)
    np.testing.assert_array_equal(again.scene.intrinsics, placed.scene.intrinsics)


@needs_pycolmap
def test_photos_of_many_have_fewer_features(tmp_path, monkeypatch):
    asked = set()

    def recorded(grey, most, **options):
        asked.add(most)
        return find_features(grey, most, **options)

    monkeypatch.setattr(sfm, "find_features", recorded)
    for v in range(3):
        save(tmp_path / f"{v}.png", np.zeros((64, 64, 3), np.uint8))
    sfm.place_photos(open_photos(tmp_path))
    assert asked == {sfm.FEATURES}
    monkeypatch.setattr(sfm, "ALL_PAIRS", 2)
    sfm.place_photos(open_photos(tmp_path))
    assert asked == {sfm.FEATURES, sfm.FEATURES_OF_MANY}


@needs_pycolmap
@pytest.mark.parametrize("contrast", [255, 1])  # noise, and without a feature
def test_photos_of_nothing_are_not_placed(tmp_path, capfd, contrast):
    rng = np.random.default_rng(0)
    for v in range(2):
        save(tmp_path / f"{v}.png", rng.integers(0, contrast, (64, 64, 3), dtype=np.uint8))
    placed = sfm.place_photos(open_photos(tmp_path))
    assert (placed.indices, placed.missing, len(placed.scene)) == ([], [0, 1], 0)
    assert capfd.readouterr() == ("", "")


def test_a_missing_package_is_named(monkeypatch, capture):
    monkeypatch.setattr(sfm, "available", lambda: False)
    with pytest.raises(InputError, match="pip install pycolmap"):
        sfm.place_photos(open_photos(capture[0], unposed=True))


def test_exif_tells_lenses_apart(tmp_path):
    pixels = np.zeros((20, 30, 3), np.uint8)
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "M1"
    exif.get_ifd(0x8769).update({0x920A: 4.25, 0xA405: 28})
    save(tmp_path / "told.jpg", pixels, exif=exif)
    save(tmp_path / "silent.jpg", pixels)
    assert read_exif_lens(tmp_path / "told.jpg") == ExifLens(
        camera="Maker M1", focal_mm=4.25, focal_35mm=28.0
    )
    assert read_exif_lens(tmp_path / "silent.jpg") == ExifLens()

"""HEIC photos, with the optional package and without."""

import numpy as np
import pytest
from PIL import Image

from geometry.errors import InputError
from geometry.formats import images
from geometry.scenes import photo_files, photos


@pytest.mark.parametrize("orientation", [1, 6, 3])
def test_with_the_package_they_open_like_jpeg(tmp_path, orientation):
    heif = pytest.importorskip("pillow_heif")
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, :48], pixels[:32, 48:] = (220, 40, 40), (40, 40, 220)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    image = Image.fromarray(pixels)
    image.save(tmp_path / "b.jpg", exif=exif, quality=95)
    heif.from_pillow(image).save(tmp_path / "a.heic", quality=95, exif=exif.tobytes())
    scene = photos.open_photos(tmp_path)
    assert [frame.name for frame in scene.frames] == ["a.heic", "b.jpg"]
    ours, jpeg = (frame.load().astype(int) for frame in scene.frames)
    assert ours.shape == jpeg.shape
    assert np.abs(ours - jpeg).mean() < 5
    assert images.read_exif_lens(tmp_path / "a.heic").camera == "Maker"
    (tmp_path / "named.jpg").write_bytes((tmp_path / "a.heic").read_bytes())  # as some phones' exports are
    assert images.read_image(tmp_path / "named.jpg").shape == jpeg.shape


@pytest.fixture
def without_the_package(monkeypatch):
    images._register_heic.cache_clear()
    monkeypatch.setattr(images, "HEIC_READABLE", False)
    for module in (images, photo_files):
        monkeypatch.setattr(module, "IMAGE_SUFFIXES", images.IMAGE_SUFFIXES - images.HEIC_SUFFIXES)
    for module in (images, photos):
        monkeypatch.setattr(module, "FOREIGN_SUFFIXES", images.FOREIGN_SUFFIXES | images.HEIC_SUFFIXES)
    yield
    images._register_heic.cache_clear()


@pytest.mark.usefixtures("without_the_package")
def test_without_it_the_message_names_it(tmp_path):
    path = tmp_path / "1.HEIC"
    path.write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(40))
    with pytest.raises(InputError, match=r"1\.HEIC.*pip install pillow-heif.*extra 'heic'.*convert"):
        photos.open_photos(tmp_path)
    with pytest.raises(InputError, match=r"1\.HEIC: expected an image, got a HEIC photo.*pillow-heif"):
        images.read_header(path)
    Image.new("RGB", (20, 20)).save(tmp_path / "2.png")
    with pytest.warns(UserWarning, match=r"1 files such as 1\.HEIC.*pillow-heif"):
        assert len(photos.open_photos(tmp_path)) == 1

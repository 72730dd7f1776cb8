"""Photos from disk: orientation, odd pixel formats, and one clear line for what is no photo."""

import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps
from scenes import save_grey, write_gps

from geometry.errors import InputError
from geometry.formats import images
from geometry.formats.images import natural_key, read_exif_position, read_header, read_image, read_map
from geometry.scenes.photos import open_photos


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_as_pillow_applies_it(tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", exif=False), pixels)
    header = read_header(tmp_path / "a.png")
    assert header.stored_size == (20, 30)
    assert header.upright_size == expected.shape[:2]


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_is_turned_once_as_png_is(tmp_path, orientation, compression):
    """Pillow turns TIFF, and TIFF alone, while it loads, and states the turned size before that."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    image.save(tmp_path / "a.tif", exif=exif, compression=compression)
    grey = Image.fromarray(pixels[..., 0])  # a mode that Pillow maps into memory
    grey.save(tmp_path / "grey.tif", exif=exif, compression=compression)
    assert read_header(tmp_path / "a.tif") == read_header(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), read_image(tmp_path / "a.png"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", exif=False), pixels)
    np.testing.assert_array_equal(read_map(tmp_path / "grey.tif"), pixels[..., 0])
    np.testing.assert_array_equal(
        read_image(tmp_path / "grey.tif")[..., 0], read_image(tmp_path / "a.png")[..., 0]
    )


def test_numbers_sort_as_numbers():
    names = ["10.jpg", "2.jpg", "a/IMG_100.JPG", "a/img_99.jpg", "frame2b", "frame2a", "02.jpg"]
    expected = ["02.jpg", "2.jpg", "10.jpg", "a/img_99.jpg", "a/IMG_100.JPG", "frame2a", "frame2b"]
    assert sorted(names, key=natural_key) == expected


def test_transparency_is_composited_over_white(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2] = (200, 100, 0, 255)
    rgba[2] = (0, 0, 0, 128)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image[0, 0].tolist() == [200, 100, 0]
    assert image[3, 0].tolist() == [255, 255, 255]
    assert abs(int(image[2, 0, 0]) - 127) <= 1


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.shape == (8, 8, 3)
    np.testing.assert_array_equal(image[..., 1], ramp >> 8)
    np.testing.assert_array_equal(read_map(tmp_path / "a.png"), ramp)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "RGBA"])
def test_any_mode_becomes_rgb(tmp_path, mode):
    suffix = "tif" if mode == "CMYK" else "png"
    Image.new("RGB", (6, 5), (255, 255, 255)).convert(mode).save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.shape == (5, 6, 3)
    assert image.dtype == np.uint8
    assert image.min() == 255


def bad_files(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    heic = b"\x00\x00\x00\x18ftypheic" + bytes(40)
    return {
        "text.png": (b"hello, I am text", "text file"),
        "cut.jpg": (whole[: len(whole) // 2], "truncated"),
        "empty.jpg": (b"", "empty"),
        "photo.jpg": (heic, "HEIC"),
        "noise.png": (bytes(range(128, 160)), "bytes 80 81"),
    }


@pytest.mark.parametrize("name", ["text.png", "cut.jpg", "empty.jpg", "photo.jpg", "noise.png"])
def test_what_is_no_photo_is_one_line_that_names_the_file(tmp_path, name):
    content, hint = bad_files(tmp_path)[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=hint) as error:
        read_image(tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_header(tmp_path / "none.png")
    with pytest.raises(InputError, match="folder"):
        read_header(tmp_path)


@pytest.mark.parametrize("late", [False, True])
def test_exif_before_or_behind_a_pngs_pixels(tmp_path, late, monkeypatch):
    """Both are legal. Only the late one may cost decoding the image: a capture has hundreds of headers."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.zeros((20, 30, 3), np.uint8))
    image.save(tmp_path / "a.png", exif=exif)
    data = (tmp_path / "a.png").read_bytes()
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    chunk, rest = data[start:end], data[:start] + data[end:]
    if late:
        (tmp_path / "a.png").write_bytes(rest[:-12] + chunk + rest[-12:])
    assert read_header(tmp_path / "a.png").quarter_turns == 1
    assert read_image(tmp_path / "a.png").shape == (30, 20, 3)

    (tmp_path / "b.png").write_bytes(rest)
    monkeypatch.setattr(
        "PIL.PngImagePlugin.PngImageFile.load", lambda self: pytest.fail("pixels were decoded")
    )
    assert read_header(tmp_path / "b.png").upright_size == (20, 30)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".mpo", ".JFIF"])
def test_jpeg_under_its_other_names(tmp_path, suffix):
    folder = tmp_path / "photos"
    for i in range(2):
        save_grey(folder / f"{i}.jpg")
        (folder / f"{i}.jpg").rename(folder / f"{i}{suffix if i else '.jpg'}")
    assert [frame.load().shape for frame in open_photos(folder).frames] == [(60, 80, 3)] * 2


def test_large_photos_open_without_a_word_and_larger_ones_are_refused(tmp_path, monkeypatch):
    """Pillow takes 90 million pixels for an attack and warns, 180 million and refuses."""
    path = tmp_path / "a.png"
    Image.new("1", (20_000, 10_000)).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images.read_header(path).stored_size == (10_000, 20_000)
    assert Image.MAX_IMAGE_PIXELS is not None
    monkeypatch.setattr(images, "MOST_PIXELS", 10**6)
    with pytest.raises(InputError, match=r"a\.png: expected at most 1 million pixels, got 10000 x 20000"):
        images.read_header(path)


@pytest.mark.parametrize(
    ("place", "centre"),
    [
        ((0.0001, 0.0, 0.0), (6378137.0, 0.0, 11.05743)),  # 0.0001 degrees at 6 335 439 m
        ((-90.0, 30.0, 100.0), (0.0, 0.0, -6356852.314245)),
        ((0.0, -90.0, -10.0), (0.0, -6378127.0, 0.0)),
        ((45.0, 180.0, 0.0), (-4517590.8788, 0.0, 4487348.4088)),
    ],
)
def test_gps_is_a_place_on_the_ellipsoid(tmp_path, place, centre):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    write_gps(tmp_path / "a.jpg", *place)
    np.testing.assert_allclose(read_exif_position(tmp_path / "a.jpg"), centre, atol=2e-3)


def test_photos_without_gps(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    assert read_exif_position(tmp_path / "a.jpg") is None
    write_gps(tmp_path / "a.jpg", 0, 0, 3)  # what cameras write that have found no satellite
    assert read_exif_position(tmp_path / "a.jpg") is None

"""Photos that casual readers get wrong: wide gamut, stereo pairs, presses' colours, names of any script."""

import struct

import numpy as np
import pytest
from PIL import Image, features
from scenes import NO_POINTS

from geometry.errors import InputError
from geometry.formats import colmap, images
from geometry.scenes import transforms_json
from geometry.scenes.photos import open_photos

# Colorants of red, green and blue, adapted to D50, and gamma: (XYZ columns, gamma).
SPACES = {
    "Display P3": (
        [[0.51512, 0.29198, 0.1571], [0.2412, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]],
        2.2,
    ),
    "Adobe RGB": (
        [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]],
        2.2,
    ),
}
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.7141]])


def icc(name, columns, gamma):
    """A profile of three colorants and a gamma, version 2."""

    def xyz(values):
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    text = name.encode() + b"\0"
    desc = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {b"desc": desc, b"wtpt": xyz((0.9642, 1.0, 0.8249)), b"cprt": b"text\0\0\0\0none\0"}
    tags |= {c + b"XYZ": xyz(column) for c, column in zip((b"r", b"g", b"b"), np.transpose(columns))}
    tags |= {c + b"TRC": curve for c in (b"r", b"g", b"b")}
    table, body, at = b"", b"", 132 + 12 * len(tags)
    for key, data in tags.items():
        data += bytes(-len(data) % 4)
        table += key + struct.pack(">II", at + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"\0\0\0\0", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def in_srgb(pixels, columns, gamma):
    """By hand: to linear light, XYZ, linear sRGB, its curve."""
    linear = (pixels / 255.0) ** gamma @ np.transpose(columns) @ np.linalg.inv(SRGB).T
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "avif", "heic"])
@pytest.mark.parametrize("space", SPACES)
def test_a_wide_gamut_is_brought_to_srgb(tmp_path, space, suffix):
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    y, x = np.mgrid[:64, :64]
    pixels = np.stack((60 + 2 * x, 200 - 2 * y, 90 + x), axis=-1).astype(np.uint8)
    columns, gamma = SPACES[space]
    path = tmp_path / f"a.{suffix}"
    exact = {"png": {}, "tif": {}, "webp": {"lossless": True}}.get(suffix, {"quality": 98})
    Image.fromarray(pixels).save(path, icc_profile=icc(space, columns, gamma), **exact)
    difference = images.read_image(path) - in_srgb(pixels, columns, gamma)
    assert np.abs(difference).mean() < 2
    Image.fromarray(pixels).save(path, **exact)
    assert np.abs(images.read_image(path) - in_srgb(pixels, columns, gamma)).mean() > 4


@pytest.mark.parametrize(
    "profile", [b"", b"junk" * 50, icc("sRGB IEC61966", SRGB, 2.2), icc("P3", SRGB, 2.2)[:90]]
)
def test_profiles_that_say_nothing_change_nothing(tmp_path, profile):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), pixels)


def test_transparency_keeps_its_profile(tmp_path):
    columns, gamma = SPACES["Display P3"]
    rgba = np.full((20, 20, 4), (200, 40, 40, 255), np.uint8)
    rgba[:10, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png", icc_profile=icc("P3", columns, gamma))
    image = images.read_image(tmp_path / "a.png")
    assert (image[:10] == 255).all()
    np.testing.assert_allclose(image[15, 5], in_srgb(rgba[15, 5, :3], columns, gamma), atol=2)


def test_an_mpo_shows_its_first_photo(tmp_path):
    first, second = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "a.mpo", format="MPO", save_all=True, append_images=[second])
    (frame,) = open_photos(tmp_path).frames
    assert frame.load()[0, 0].argmax() == 0


@pytest.mark.parametrize("kind", ["grey", "16-bit grey", "16-bit grey tif", "CMYK", "palette"])
def test_other_kinds_of_pixels(tmp_path, kind):
    ramp = np.linspace(0, 255, 30 * 40).reshape(30, 40)
    expected = np.repeat(ramp[..., None], 3, axis=-1)
    path = tmp_path / {"CMYK": "a.jpg", "16-bit grey tif": "a.tif"}.get(kind, "a.png")
    if kind.startswith("16"):
        Image.fromarray((ramp * 257).astype(np.uint16)).save(path)
    else:
        mode = {"grey": "L", "CMYK": "CMYK", "palette": "P"}[kind]
        image = Image.fromarray(expected.astype(np.uint8))
        image = image.quantize(256) if mode == "P" else image.convert(mode)
        image.save(path, **({"quality": 98} if kind == "CMYK" else {}))
    image = open_photos(tmp_path).frames[0].load()
    assert image.shape == (30, 40, 3)
    assert np.abs(image - expected).max() < 6


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif", "heic"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_every_format(tmp_path, suffix, orientation):
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    y, x = np.mgrid[:48, :64]
    pixels = np.stack((4 * x, 5 * y, 0 * x), axis=-1).clip(0, 255).astype(np.uint8)
    for name in (f"a.{suffix}", "b.png"):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(tmp_path / name, exif=exif.tobytes(), quality=95)
    ours, png = open_photos(tmp_path).frames
    assert ours.image_size == png.image_size
    assert np.abs(ours.load().astype(int) - png.load()).mean() < 4


@pytest.mark.parametrize("cameras", ["none", "json", "colmap"])
def test_names_of_any_script(tmp_path, cameras):
    folder = tmp_path / "Ferien 2026 – Räume/写真 с дачи"
    names = ["im 1.png", "é á.png", "кухня.png", "台所 2.png", "a'b\"c.png", "100%.png", "[x] {y}.png"]
    for name in names:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (80, 60)).save(folder / "images" / name)
    poses = np.tile(np.eye(4), (len(names), 1, 1))
    poses[:, 0, 3] = range(len(names))
    K = np.tile([[50.0, 0, 40], [0, 50, 30], [0, 0, 1]], (len(names), 1, 1))
    sizes = [(60, 80)] * len(names)
    if cameras == "json":
        path = folder / "transforms.json"
        transforms_json.write_scene(path, [f"images/{n}" for n in names], poses, K, sizes)
    elif cameras == "colmap":
        colmap.write_model(
            folder / "sparse/0", colmap.model_from_cameras(names, poses, K, sizes, **NO_POINTS)
        )
    scene = open_photos(folder, check=False)
    assert len(scene) == len(names)
    for frame in scene.frames:
        assert frame.load().shape == (60, 80, 3)
        if cameras != "none":
            assert frame.extrinsics[0, 3] == names.index(frame.name.removeprefix("images/"))


def test_cut_photos_are_refused_with_the_remedy(tmp_path):
    """How much was cut at which side, no file says: a middle that is only likely would bend the geometry."""
    Image.new("RGB", (80, 45)).save(tmp_path / "a.png")
    K = np.array([[[50.0, 0, 40], [0, 50, 30], [0, 0, 1]]])
    transforms_json.write_scene(tmp_path / "transforms.json", ["a.png"], np.eye(4)[None], K, [(60, 80)])
    with pytest.raises(InputError, match=r"a\.png: expected .*\(60, 80\), got \(45, 80\).*cx and cy"):
        open_photos(tmp_path)

"""Masks beside photos, in transforms.json and in alpha: what `Frame.load_mask` gives."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import make_room, save, write_capture, write_photos

from geometry.errors import InputError
from geometry.scenes.photos import open_photos

H, W = 60, 90
HALF = np.zeros((H, W), bool)
HALF[: H // 2, : W // 3] = True  # no symmetry


def hide(path, keep=HALF, **options):
    return save(path, keep.astype(np.uint8) * 255, **options)


@pytest.mark.parametrize(
    ("photo", "mask"),
    [
        ("{}.jpg", "masks/{}.jpg.png"),  # COLMAP
        ("{}.jpg", "masks/{}.png"),  # nerfstudio
        ("images/{}.jpg", "masks/{}.jpg.png"),
        ("images/{}.png", "images/masks/{}.png"),
        ("images/cam1/{}.jpg", "masks/cam1/{}.jpg.png"),
        ("images/{}.jpg", "mask/{}.JPG"),
    ],
)
def test_masks_are_found_beside_photos(tmp_path, photo, mask):
    write_photos(tmp_path, 3, (H, W), photo)
    for i in (0, 2):
        hide(tmp_path / mask.format(i), quality=100) if mask.endswith("JPG") else hide(
            tmp_path / mask.format(i)
        )
    for place in (tmp_path, (tmp_path / photo).parent):
        if place.name == "cam1":
            continue  # its photos' masks lie too far off to be taken for theirs
        frames = open_photos(place).frames
        assert len(frames) == 3
        assert frames[1].load_mask() is None
        for frame in (frames[0], frames[2]):
            np.testing.assert_array_equal(frame.load_mask(), HALF)
        assert all(frame.load_mask() is None for frame in open_photos(place, masks="none").frames)


def test_a_stated_folder_comes_before_the_file_and_must_fit(tmp_path):
    write_capture(tmp_path / "capture", make_room(2))
    path = tmp_path / "capture/transforms.json"
    content = json.loads(path.read_text())
    hide(tmp_path / "capture/any name.png", ~HALF)
    content["frames"][1]["mask_path"] = "any name.png"
    path.write_text(json.dumps(content))
    stated = open_photos(tmp_path / "capture", check=False)
    assert [frame.mask is None for frame in stated.frames] == [False, True]
    hide(tmp_path / "other/frame_2.png")
    other = open_photos(tmp_path / "capture", check=False, masks=tmp_path / "other")
    assert [frame.mask is None for frame in other.frames] == [True, False]
    with pytest.raises(InputError, match=r"gone: expected a folder of masks"):
        open_photos(tmp_path / "capture", check=False, masks=tmp_path / "gone")
    (tmp_path / "other/frame_2.png").rename(tmp_path / "other/b.png")
    with pytest.raises(InputError, match=r"other: expected masks named as the photos .*frame_1\.png"):
        open_photos(tmp_path / "capture", check=False, masks=tmp_path / "other")


def test_a_mask_that_hides_everything_is_refused(tmp_path):
    write_photos(tmp_path, 2, (H, W))
    hide(tmp_path / "masks/00.png", HALF & ~HALF)
    with pytest.raises(InputError, match=r"00\.png: expected a mask that shows some .*white keeps"):
        open_photos(tmp_path).frames[0].load_mask()


@pytest.mark.parametrize("upright", [False, True])
def test_a_mask_turns_with_its_photo_unless_it_is_upright(tmp_path, upright):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    photo = np.where(HALF, 255, 0).astype(np.uint8)
    save(tmp_path / "a.jpg", photo, exif=exif, quality=100)
    write_photos(tmp_path, 1, (H, W))
    hide(tmp_path / "masks/a.png", np.rot90(HALF, -1) if upright else HALF)
    frame = open_photos(tmp_path).frames[1]
    assert frame.name == "a.jpg"
    np.testing.assert_array_equal(frame.load_mask(), frame.load()[..., 0] > 127)


def test_alpha_is_a_mask_unless_its_background_is_stated(tmp_path):
    colour = np.full((H, W, 4), 100, np.uint8)
    colour[..., 3] = HALF * 255
    for name, pixels in (("a", colour), ("b", colour | (0, 0, 0, 255))):
        save(tmp_path / f"{name}.png", pixels.astype(np.uint8))
    cut, whole = open_photos(tmp_path).frames
    np.testing.assert_array_equal(cut.load_mask(), HALF)
    assert whole.load_mask() is None  # an alpha channel that is opaque
    cut, _ = open_photos(tmp_path, background=(0, 0, 0)).frames
    np.testing.assert_array_equal(cut.load()[..., 0], HALF * 100)
    np.testing.assert_array_equal(cut.load_mask(), HALF)
    assert cut.load_mask(compared=True) is None  # that nothing is there is known


@pytest.mark.parametrize("form", ["bytes", "floats", "tensor", "Pillow"])
def test_alpha_in_memory_is_that_of_a_file(tmp_path, form):
    colour = np.full((H, W, 4), 100, np.uint8)
    colour[..., 3] = HALF * 255
    save(tmp_path / "a.png", colour)
    image = {
        "bytes": colour,
        "floats": (colour / 255).astype(np.float32),
        "tensor": torch.from_numpy(colour / 255).movedim(-1, 0),
        "Pillow": Image.fromarray(colour),
    }[form]
    for background in (None, (0, 255, 0)):
        (held,), (filed,) = (open_photos(p, background=background).frames for p in ([image], tmp_path))
        np.testing.assert_array_equal(held.load(), filed.load())
        np.testing.assert_array_equal(held.load_mask(), HALF)
        assert (held.load_mask(compared=True) is None) == (background is not None)
    assert open_photos([image], masks="none").frames[0].load_mask() is None

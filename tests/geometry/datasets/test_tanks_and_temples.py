"""Tanks and Temples: COLMAP form, official form with given intrinsics, and three real frames of Barn."""

import json

import numpy as np
import pytest
from PIL import Image
from scenes import assert_cameras, assert_images, epipolar_error_px

from geometry.datasets.tanks_and_temples import TanksAndTemples
from geometry.errors import InputError


def write_official(root, room, missing=()):
    """The log has an unregistered entry between the room's views; entry k is photo k + 1."""
    (root / "Barn").mkdir(parents=True)
    poses = [room[0].cam_to_world, None, *(v.cam_to_world for v in room[1:])]
    lines = []
    for k, pose in enumerate(poses):
        lines.append(f"{k} {-1 if pose is None else k} 0")
        lines += [" ".join(f"{x:.12f}" for x in row) for row in (np.eye(4) if pose is None else pose)]
    (root / "Barn_COLMAP_SfM.log").write_text("\n".join(lines) + "\n")
    images = [room[0].image, room[0].image, *(v.image for v in room[1:])]
    for k, image in enumerate(images):
        if k not in missing:
            Image.fromarray(image).save(root / "Barn" / f"{k + 1:06d}.png")


def write_intrinsics(path, room, factor=2.0):
    """For another resolution than the photos."""
    H, W = room[0].image.shape[:2]
    (fx, _, cx), (_, fy, cy), _ = room[0].intrinsics * factor
    keys = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": W * factor, "h": H * factor}
    path.write_text(json.dumps({"Barn": keys}))
    return path


def test_official_form(tmp_path, room):
    write_official(tmp_path, room)
    source = TanksAndTemples(tmp_path, intrinsics=write_intrinsics(tmp_path / "k.json", room))
    assert source.names == ("Barn",)
    scene = source[0]
    assert [f.name for f in scene.frames] == ["000001.png", "000003.png", "000004.png"]
    assert_cameras(scene, room, atol=1e-6)
    assert_images(scene, room)


def test_hidden_files_are_no_photos(tmp_path, room):
    """macOS leaves ``._000001.png`` beside each file on disks of other systems."""
    write_official(tmp_path, room)
    for photo in [*(tmp_path / "Barn").iterdir()]:
        photo.with_name(f"._{photo.name}").write_bytes(b"\0\5\x16\7")
        photo.rename(photo.with_name(f"view_{photo.name}"))  # names without numbers go by their count
    scene = TanksAndTemples(tmp_path, intrinsics=write_intrinsics(tmp_path / "k.json", room))[0]
    assert_cameras(scene, room, atol=1e-6)


def test_numbered_photos_keep_their_entry_when_others_are_missing(tmp_path, room):
    write_official(tmp_path, room, missing=(0,))
    scene = TanksAndTemples(tmp_path, intrinsics=write_intrinsics(tmp_path / "k.json", room))[0]
    assert_cameras(scene, room[1:])


def test_intrinsics_must_be_given(tmp_path, room):
    write_official(tmp_path, room)
    with pytest.raises(InputError, match="the official files have none"):
        TanksAndTemples(tmp_path)[0]
    (tmp_path / "k.json").write_text('{"Truck": {}}')
    with pytest.raises(InputError, match=r"k\.json: expected an object with intrinsics of Barn"):
        TanksAndTemples(tmp_path, intrinsics=tmp_path / "k.json")[0]


def test_colmap_form(tmp_path, room):
    folder = tmp_path / "Truck"
    (folder / "sparse/0").mkdir(parents=True)
    (folder / "images").mkdir()
    H, W = room[0].image.shape[:2]
    (fx, _, cx), (_, fy, cy), _ = room[0].intrinsics
    (folder / "sparse/0/cameras.txt").write_text(f"# 1\n# 2\n# 3\n1 PINHOLE {W} {H} {fx} {fy} {cx} {cy}\n")
    text = "# 1\n# 2\n# 3\n# 4\n"
    for i, view in enumerate(room):
        q = quaternion(view.extrinsics[:3, :3])
        t = view.extrinsics[:3, 3]
        text += f"{7 - i} {' '.join(map(repr, map(float, (*q, *t))))} 1 {i + 1:06d}.png\n\n"
        Image.fromarray(view.image).save(folder / "images" / f"{i + 1:06d}.png")
    (folder / "sparse/0/images.txt").write_text(text)
    scene = TanksAndTemples(tmp_path)[0]
    assert scene.name == "Truck"
    assert_cameras(scene, room)
    assert_images(scene, room)


def quaternion(R):
    """Scalar first, from the rotation's eigenvector: no formula of the code's own."""
    w = np.sqrt(1 + np.trace(R)) / 2
    return w, (R[2, 1] - R[1, 2]) / (4 * w), (R[0, 2] - R[2, 0]) / (4 * w), (R[1, 0] - R[0, 1]) / (4 * w)


def test_logs_of_other_photos(tmp_path, room):
    write_official(tmp_path, room)
    k = write_intrinsics(tmp_path / "k.json", room)
    path = tmp_path / "Barn_COLMAP_SfM.log"
    whole = path.read_text().splitlines()
    path.write_text("\n".join(whole[:10]))
    with pytest.raises(InputError, match=r"Barn_COLMAP_SfM\.log: expected an entry for 000003\.png"):
        TanksAndTemples(tmp_path, intrinsics=k)[0]
    path.write_text("\n".join(whole[:-1]))
    with pytest.raises(InputError, match=r"Barn_COLMAP_SfM\.log: expected 5 lines per photo"):
        TanksAndTemples(tmp_path, intrinsics=k)[0]
    path.write_text("\n".join(whole))
    (tmp_path / "Barn/000002.png").rename(tmp_path / "Barn/second.png")
    (tmp_path / "Barn/000001.png").unlink()
    with pytest.raises(InputError, match="expected one entry for each of 3 photos, got 4"):
        TanksAndTemples(tmp_path, intrinsics=k)[0]


def test_real_barn(tmp_path, captures_dir):
    folder = captures_dir / "tnt_barn_mini"
    # The set has no intrinsics; a focal length of 0.6 widths fits these frames (see their notes).
    keys = {"fl_x": 0.6 * 960, "cx": 480, "cy": 270, "w": 960, "h": 540}
    (tmp_path / "k.json").write_text(json.dumps({"Barn": keys}))
    scene = TanksAndTemples(folder, intrinsics=tmp_path / "k.json")[0]
    assert [f.name for f in scene.frames] == ["000001.jpg", "000002.jpg", "000003.jpg"]
    error, matches = epipolar_error_px(scene.frames[0], scene.frames[2])
    assert matches > 100
    assert error < 0.6

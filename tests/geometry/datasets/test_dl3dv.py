"""DL3DV: every layout and resolution, scenes left out by hash, nerfstudio's convention undone."""

import json

import numpy as np
import pytest
from PIL import Image
from scenes import assert_cameras, assert_images, epipolar_error_px

from geometry.datasets.dl3dv import DL3DV
from geometry.errors import InputError

A, B, C = "a" * 64, "0123456789abcdef" * 4, "c" * 64


def write_scene(folder, room, images="images_8", full=8):
    """transforms.json describes a resolution ``full`` times that of the photos in the folder."""
    (folder / images).mkdir(parents=True)
    H, W = room[0].image.shape[:2]
    K = room[0].intrinsics * full
    frames = []
    for i in reversed(range(len(room))):  # the file's order is not the capture's
        Image.fromarray(room[i].image).save(folder / images / f"frame_{i + 1:05d}.png")
        frames.append(
            {
                "file_path": f"images/frame_{i + 1:05d}.png",
                "transform_matrix": room[i].opengl.tolist(),
                "colmap_im_id": i + 1,
            }
        )
    content = {
        "w": W * full,
        "h": H * full,
        "fl_x": K[0, 0],
        "fl_y": K[1, 1],
        "cx": K[0, 2],
        "cy": K[1, 2],
        "k1": 0.0,
        "k2": 0.0,
        "p1": 0.0,
        "p2": 0.0,
        "camera_model": "OPENCV",
        "applied_transform": [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]],
        "frames": frames,
    }
    (folder / "transforms.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("inner", "images", "resolution"),
    [
        (f"1K/{A}", "images_8", "480P"),
        (f"11K/{A}", "images_4", "960P"),
        (A, "images_8", None),
        (f"{A}/nerfstudio", "images_4", None),
        (f"{A}/colmap", "images_8", None),
    ],
)
def test_layouts_and_resolutions(tmp_path, room, inner, images, resolution):
    write_scene(tmp_path / inner, room, images)
    source = DL3DV(tmp_path, exclude=None, resolution=resolution)
    assert source.names == (A,)
    scene = source[0]
    assert scene.name == A
    assert not scene.metric
    assert [frame.name[-9:-4] for frame in scene.frames] == ["00001", "00002", "00003"]
    assert_cameras(scene, room)
    assert_images(scene, room)


def test_resolution_picks_the_folder(tmp_path, room):
    write_scene(tmp_path / A, room)
    small = [Image.fromarray(v.image).resize((32, 24)) for v in room]
    (tmp_path / A / "images_16").mkdir()
    with pytest.raises(InputError, match=r"images in images_4, found folders \['images_16', 'images_8'\]"):
        DL3DV(tmp_path, exclude=None, resolution="960P").read(A)
    (tmp_path / A / "images_4").mkdir()
    for i, image in enumerate(small):
        image.save(tmp_path / A / "images_4" / f"frame_{i + 1:05d}.png")
    frame = DL3DV(tmp_path, exclude=None, resolution="960P").read(A).frames[0]
    assert frame.image_size == (24, 32)
    np.testing.assert_allclose(frame.intrinsics[:2], room[0].intrinsics[:2] / 2)


@pytest.mark.parametrize(
    "text",
    [
        f"{B}\n",
        f"batch,hash,labels\n1K,{B},indoor\n",
        json.dumps({f"dl3dv_{B}": {"context": [0], "target": [1]}}),
    ],
)
def test_benchmark_scenes_are_left_out(tmp_path, room, text):
    for name, batch in ((A, "1K"), (B, "1K"), (C, "2K")):
        write_scene(tmp_path / batch / name, room[:1])
    (tmp_path / "benchmark.csv").write_text(text)
    source = DL3DV(tmp_path, exclude=tmp_path / "benchmark.csv")
    assert source.names == (A, C)
    assert source.excluded == (B,)
    with pytest.raises(InputError, match="expected a scene among 2"):
        source.read(B)


def test_an_exclusion_that_excludes_nothing_is_an_error(tmp_path, room):
    write_scene(tmp_path / A, room[:1])
    (tmp_path / "list.txt").write_text("indoor\n")
    with pytest.raises(InputError, match=r"list\.txt: expected scene hashes"):
        DL3DV(tmp_path, exclude=tmp_path / "list.txt")
    with pytest.raises(TypeError, match="exclude"):
        DL3DV(tmp_path)
    with pytest.raises(InputError, match=r"absent\.txt"):
        DL3DV(tmp_path, exclude=tmp_path / "absent.txt")


def test_a_list_of_scenes(tmp_path, room):
    for name in (A, B, C):
        write_scene(tmp_path / name, room[:1])
    (tmp_path / "train.txt").write_text(f"# mine\n{C}\n\n{A}  # good\n")
    assert DL3DV(tmp_path, exclude=None, scenes=tmp_path / "train.txt").names == (C, A)
    with pytest.raises(InputError, match="1 of them are not there"):
        DL3DV(tmp_path, exclude=None, scenes=["d" * 64])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found none"):
        DL3DV(tmp_path / "empty", exclude=None)


# nerfstudio's turn of COLMAP's world: y and z change places, the new z is negated.
APPLIED = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]])


def write_cache(folder, room):
    """A COLMAP model in its own world, the one before applied_transform; ids are not in order of names."""
    folder.mkdir(parents=True)
    (folder / "cameras.txt").write_text("#\n#\n#\n1 PINHOLE 64 48 50 50 32 24\n")
    ids = {0: 7, 1: 3, 2: 5}  # view -> image id, as in write_scene below
    points = np.array([[0.1, 0.2, 3.0], [0.5, -0.4, 2.5], [-0.6, 0.3, 3.2]])  # in the world of the poses
    before = points @ APPLIED[:, :3]  # the inverse of a rotation is its transpose
    seen_by = [(0, 1), (1, 2), (0, 2)]
    text = "#\n#\n#\n#\n"
    for view, image_id in ids.items():
        seen = "".join(f"1.0 1.0 {p + 100} " for p, views in enumerate(seen_by) if view in views)
        text += f"{image_id} 1 0 0 0 0 0 0 1 frame_{view + 1:05d}.png\n{seen}9 9 -1\n"
    (folder / "images.txt").write_text(text)
    rows = [f"{p + 100} {x!r} {y!r} {z!r} 1 2 3 0.5" for p, (x, y, z) in enumerate(before.tolist())]
    (folder / "points3D.txt").write_text("#\n#\n#\n" + "\n".join(rows) + "\n")
    return ids, points


@pytest.mark.parametrize(
    ("inner", "cache"), [(A, f"{A}/colmap/sparse/0"), (f"{A}/colmap", f"{A}/colmap/colmap/sparse/0")]
)
def test_points_of_the_colmap_cache(tmp_path, room, inner, cache):
    write_scene(tmp_path / inner, room)
    ids, points = write_cache(tmp_path / cache, room)
    path = tmp_path / inner / "transforms.json"
    content = json.loads(path.read_text())
    for entry in content["frames"]:
        entry["colmap_im_id"] = ids[int(entry["file_path"][-9:-4]) - 1]
    path.write_text(json.dumps(content))
    scene = DL3DV(tmp_path, exclude=None)[0]
    np.testing.assert_allclose(scene.points, points, atol=1e-12)
    assert [v.tolist() for v in scene.visibility] == [[0, 2], [0, 1], [1, 2]]
    assert DL3DV(tmp_path, exclude=None, points=False)[0].points is None
    del content["frames"][0]["colmap_im_id"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"transforms\.json: expected applied_transform and colmap_im_id"):
        DL3DV(tmp_path, exclude=None)[0]


def test_a_bad_pose_names_file_and_frame(tmp_path, room):
    write_scene(tmp_path / A, room)
    path = tmp_path / A / "transforms.json"
    content = json.loads(path.read_text())
    content["frames"][0]["transform_matrix"][0][0] = 9.0
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"transforms\.json, frame images/frame_00003\.png"):
        DL3DV(tmp_path, exclude=None).read(A)


def test_real_photos_with_the_same_kind_of_file(tmp_path, captures_dir):
    """fox_phone has a nerfstudio-style file with distortion: laid out as DL3DV, epipolar lines must fit."""
    folder = tmp_path / A
    (folder / "images_8").mkdir(parents=True)
    fox = captures_dir / "fox_phone"
    (folder / "transforms.json").write_text((fox / "transforms.json").read_text())
    for name in ("0001.jpg", "0003.jpg"):
        (folder / "images_8" / name).symlink_to(fox / "images" / name)
    with pytest.warns(UserWarning, match="listed photos are missing"):
        first, second = DL3DV(tmp_path, exclude=None)[0].frames
    error, matches = epipolar_error_px(first, second)
    assert matches > 100
    assert error < 1.0

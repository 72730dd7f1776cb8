"""Any COLMAP or transforms.json folder as a data set, with and without depth."""

import json
import struct

import numpy as np
import pytest
from PIL import Image
from scenes import assert_cameras, assert_consistent, assert_depth, epipolar_error_px

from geometry.datasets.colmap_folder import ColmapFolders
from geometry.datasets.transforms_folder import TransformsFolders
from geometry.errors import InputError


def write_colmap(folder, room):
    (folder / "images").mkdir(parents=True)
    (folder / "depth").mkdir()
    (folder / "sparse/0").mkdir(parents=True)
    H, W = room[0].image.shape[:2]
    (fx, _, cx), (_, fy, cy), _ = room[0].intrinsics
    cameras = struct.pack("<QiiQQ4d", 1, 1, 1, W, H, fx, fy, cx, cy)
    images = struct.pack("<Q", len(room))
    for i, view in enumerate(room):
        R = view.extrinsics[:3, :3]
        w = np.sqrt(1 + np.trace(R)) / 2
        q = w, (R[2, 1] - R[1, 2]) / (4 * w), (R[0, 2] - R[2, 0]) / (4 * w), (R[1, 0] - R[0, 1]) / (4 * w)
        images += struct.pack("<I7dI", 9 - i, *q, *view.extrinsics[:3, 3], 1)
        images += f"{i}.png".encode() + b"\0" + struct.pack("<Q", 0)
        Image.fromarray(view.image).save(folder / "images" / f"{i}.png")
    for name, data in (("cameras", cameras), ("images", images), ("points3D", struct.pack("<Q", 0))):
        (folder / "sparse/0" / f"{name}.bin").write_bytes(data)


def test_colmap_with_depth_of_every_kind(tmp_path, room):
    folder = tmp_path / "kitchen"
    write_colmap(folder, room)
    Image.fromarray(np.round(room[0].depth * 1000).astype(np.uint16)).save(folder / "depth/0.png")
    np.save(folder / "depth/1.npy", room[1].depth.astype(np.float32))
    H, W = room[2].depth.shape
    header = f"Pf\n{W} {H}\n-1.0\n".encode()
    (folder / "depth/2.pfm").write_bytes(header + room[2].depth[::-1].astype("<f4").tobytes())
    scene = ColmapFolders(tmp_path, depth="depth", metric=True)[0]
    assert scene.name == "kitchen"
    assert scene.metric
    assert_cameras(scene, room)
    assert_depth(scene, room)
    assert_consistent(scene)
    assert all(frame.depth is None for frame in ColmapFolders(folder)[0].frames)


def test_transforms_with_depth(tmp_path, room):
    folder = tmp_path / "a"
    folder.mkdir()
    (fx, _, cx), (_, fy, cy), _ = room[0].intrinsics
    frames = []
    for i, view in enumerate(room):
        Image.fromarray(view.image).save(folder / f"{i}.png")
        Image.fromarray(np.round(view.depth * 1000).astype(np.uint16)).save(folder / f"{i}_depth.png")
        frames.append(
            {
                "file_path": f"{i}.png",
                "depth_file_path": f"{i}_depth.png",
                "transform_matrix": view.opengl.tolist(),
            }
        )
    content = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": 64, "h": 48, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(content))
    source = TransformsFolders(tmp_path, metric=True)
    assert source.names == ("a",)
    assert_cameras(source[0], room)
    assert_depth(source[0], room)
    assert_consistent(source[0])


def test_nothing_there(tmp_path):
    for reader in (ColmapFolders, TransformsFolders):
        with pytest.raises(InputError, match="found none"):
            reader(tmp_path)
        with pytest.raises(InputError, match="found no such folder"):
            reader(tmp_path / "absent")


def test_real_castle(captures_dir):
    source = ColmapFolders(captures_dir / "sceaux_castle")
    scene = source[0]
    assert len(scene) == 11
    assert scene.points is not None
    error, matches = epipolar_error_px(scene.frames[0], scene.frames[1])
    assert matches > 100
    assert error < 0.6

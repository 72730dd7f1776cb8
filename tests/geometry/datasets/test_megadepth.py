"""MegaDepth through D2-Net's and LoFTR's index files and through COLMAP, miniature and real."""

import pickle
import struct

import cv2
import h5py
import numpy as np
import pytest
from PIL import Image
from scenes import assert_cameras, assert_consistent, assert_depth, epipolar_error_px, reprojection

from geometry.datasets.megadepth import MegaDepthColmap, MegaDepthIndex
from geometry.errors import InputError

IMAGES = "Undistorted_SfM/0004/images"
DEPTHS = "phoenix/S6/zl548/MegaDepth_v1/0004/dense0/depths"


def write_files(root, room):
    (root / IMAGES).mkdir(parents=True)
    (root / DEPTHS).mkdir(parents=True)
    for i, view in enumerate(room):
        Image.fromarray(view.image).save(root / IMAGES / f"{i}_o.jpg", quality=98)
        depth = view.depth.astype(np.float32)
        depth[:4] = 0
        with h5py.File(root / DEPTHS / f"{i}_o.h5", "w") as file:
            file.create_dataset("depth", data=depth, compression="gzip")


def known(room):
    mask = np.ones(room[0].depth.shape, bool)
    mask[:4] = False
    return mask


def objects(values):
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def index_arrays(room):
    """As both preprocessings write them: a slot without a camera, then the photos."""
    return {
        "image_paths": objects([None] + [f"{IMAGES}/{i}_o.jpg" for i in range(len(room))]),
        "depth_paths": objects([None] + [f"{DEPTHS}/{i}_o.h5" for i in range(len(room))]),
        "intrinsics": objects([None] + [view.intrinsics for view in room]),
        "poses": objects([None] + [view.extrinsics for view in room]),
    }


def write_index(root, room, form):
    arrays = index_arrays(room)
    path = root / "index" / ("0004.npz" if form == "d2net" else "0004_0.1_0.3.npz")
    path.parent.mkdir()
    if form == "d2net":
        n = len(room) + 1
        more = {
            "overlap_matrix": np.full((n, n), -1.0),
            "scale_ratio_matrix": np.full((n, n), -1.0),
            "angles": np.zeros((n, n)),
            "n_points3D": np.zeros(n),
            "points3D_id_to_2D": objects([{}] + [{5: [1.0, 2.0]} for _ in room]),
            "points3D_id_to_ndepth": objects([{}] + [{5: 0.3} for _ in room]),
        }
        np.savez(path, **arrays, **more)
    else:
        pairs = objects([(np.array([1, 2]), 0.2, np.zeros((4, 4)))])
        content = {**arrays, "pair_infos": pairs}
        if form == "loftr bare":
            path.write_bytes(pickle.dumps(content))
        else:
            np.savez(path, **content)
    return path


@pytest.mark.parametrize("form", ["d2net", "loftr", "loftr bare"])
def test_index(tmp_path, room, form):
    write_files(tmp_path, room)
    write_index(tmp_path, room, form)
    scene = MegaDepthIndex(tmp_path, tmp_path / "index")[0]
    assert_cameras(scene, room)
    assert_depth(scene, room, known=known(room))
    assert_consistent(scene)
    assert not scene.metric


def write_colmap(folder, room):
    """A binary COLMAP model, byte by byte; image ids are not in order of names."""
    folder.mkdir(parents=True)
    H, W = room[0].image.shape[:2]
    K = room[0].intrinsics
    (folder / "cameras.bin").write_bytes(
        struct.pack("<QiiQQ4d", 1, 1, 1, W, H, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    )
    images = struct.pack("<Q", len(room))
    for i, view in enumerate(room):
        w, x, y, z = quaternion(view.extrinsics[:3, :3])
        images += struct.pack("<I7dI", 10 - i, w, x, y, z, *view.extrinsics[:3, 3], 1)
        images += f"{i}_o.jpg".encode() + b"\0" + struct.pack("<Q", 0)
    (folder / "images.bin").write_bytes(images)
    (folder / "points3D.bin").write_bytes(struct.pack("<Q", 0))


def quaternion(R):
    axis = cv2.Rodrigues(R)[0][:, 0]
    angle = np.linalg.norm(axis)
    return (np.cos(angle / 2), *(np.sin(angle / 2) * axis / angle))


def test_undistorted_colmap(tmp_path, room):
    write_files(tmp_path, room)
    write_colmap(tmp_path / "Undistorted_SfM/0004/sparse", room)
    (tmp_path / DEPTHS / "2_o.h5").unlink()
    source = MegaDepthColmap(tmp_path)
    assert source.names == ("0004",)
    scene = source.read("0004")
    assert_cameras(scene, room)
    assert scene.frames[2].depth is None
    assert_depth(scene.select([0, 1]), room[:2], known=known(room))
    assert_consistent(scene.select([0, 1]))
    with pytest.raises(InputError, match="found none"):
        MegaDepthColmap(tmp_path, exclude=["0004"])


def test_ordinal_labels_are_no_depth(tmp_path, room):
    write_files(tmp_path, room)
    write_index(tmp_path, room, "d2net")
    with h5py.File(tmp_path / DEPTHS / "0_o.h5", "w") as file:
        file["depth"] = np.where(room[0].depth > np.median(room[0].depth), 1.0, -1.0).astype(np.float32)
    scene = MegaDepthIndex(tmp_path, tmp_path / "index")[0]
    assert (scene.frames[0].load_depth() == 0).all()


def test_test_scenes_are_left_out(tmp_path, room):
    (tmp_path / "index").mkdir()
    for stem in ("0015_0.1_0.3", "0022_0.5_0.7", "0001"):
        np.savez(tmp_path / "index" / f"{stem}.npz", x=1)
    source = MegaDepthIndex(tmp_path, tmp_path / "index", exclude=("0015", "0022"))
    assert source.names == ("0001",)
    with pytest.raises(InputError, match=r"0001\.npz: .*found no image_paths"):
        source[0]


def test_errors_name_file_and_frame(tmp_path, room):
    write_files(tmp_path, room)
    path = write_index(tmp_path, room, "d2net")
    arrays = index_arrays(room)
    arrays["poses"][2] = arrays["poses"][2] * 2
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"0004\.npz, frame .*1_o\.jpg: expected a rigid"):
        MegaDepthIndex(tmp_path, path)[0]
    (tmp_path / DEPTHS / "0_o.h5").write_bytes(b"<html>not found</html>")
    arrays["poses"][2] = np.eye(4)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"0_o\.h5: expected an HDF5 file"):
        MegaDepthIndex(tmp_path, path)[0].frames[0].load_depth()


def test_real_pair(tmp_path, captures_dir):
    folder = captures_dir / "megadepth_pair"
    index = np.load(folder / "sample.npz", allow_pickle=True)  # ours and checked: only here, for its paths
    for key, suffix in (("image_paths", ".jpg"), ("depth_paths", ".h5")):
        for stored in index[key][1:]:
            place = tmp_path / stored
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(folder / (place.stem + suffix))
    scene = MegaDepthIndex(tmp_path, folder / "sample.npz")[0]
    assert [frame.image_size for frame in scene.frames] in (
        [(1194, 1600), (1242, 827)],
        [(1600, 1194), (827, 1242)],
    )
    first, second = scene.frames
    error, matches = epipolar_error_px(first, second)
    assert matches > 200
    assert error < 1.0
    relative, _, count = reprojection(first, second)
    assert count > 10_000
    assert relative < 0.01

"""Layouts are told apart."""

import json

import pytest

from geometry.datasets.registry import READERS, open_source, recognise
from geometry.errors import InputError

LAYOUTS = {
    "dl3dv": f"1K/{'a' * 64}/transforms.json",
    "chunks": "train/000000.torch",
    "megadepth": "Undistorted_SfM/0000/sparse/cameras.bin",
    "co3d": "apple/frame_annotations.jgz",
    "scannetpp": "data/036bce3393/dslr/nerfstudio/transforms.json",
    "blended_mvs": "5a3ca9cb270f0e3f14d0eddb/blended_images/00000000.jpg",
    "hypersim": "ai_001_001/_detail/cam_00/camera_keyframe_positions.hdf5",
    "tartanair": "abandonedfactory/Easy/P000/pose_left.txt",
    "vkitti2": "vkitti_2.0.3_rgb/Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg",
    "arkitscenes": "Training/47333462/lowres_wide.traj",
    "wildrgbd": "apple/scenes/scenes_000/cam_poses.txt",
    "tanks_and_temples": "Barn_COLMAP_SfM.log",
    "colmap": "a/sparse/0/cameras.bin",
    "transforms": "a/transforms.json",
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_recognised(tmp_path, name):
    path = tmp_path / LAYOUTS[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    if name == "chunks":
        (path.parent / "index.json").write_text("{}")
    if name == "colmap":
        (path.parent / "images.bin").touch()
    if name == "tanks_and_temples":
        (tmp_path / "Barn").mkdir()
    assert recognise(tmp_path) == name


def test_every_reader_has_a_layout_here_or_is_never_recognised():
    assert set(READERS) - set(LAYOUTS) == {"megadepth_index", "shards"}  # shards: test_shards.py


def test_unknown_folders_and_kinds(tmp_path):
    with pytest.raises(InputError, match="expected a data set in a known layout"):
        recognise(tmp_path)
    with pytest.raises(InputError, match="found no such folder"):
        recognise(tmp_path / "absent")
    with pytest.raises(InputError, match=r"colmap: expected options among scenes, images, depth, .*got dept"):
        open_source(tmp_path, "colmap", dept="x")
    with pytest.raises(InputError, match="megadepth_index: expected the option index, got none"):
        open_source(tmp_path, "megadepth_index")
    with pytest.raises(InputError, match="expected a kind among"):
        open_source(tmp_path, "nonsense")


def test_looking_at_dl3dv_needs_no_exclusion(tmp_path):
    folder = tmp_path / ("b" * 64)
    folder.mkdir()
    (folder / "transforms.json").write_text(json.dumps({}))
    assert open_source(tmp_path).names == ("b" * 64,)

"""Preparation of miniature downloads: archives as the sets pack them, then the reader."""

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from geometry.commands.prepare_data import main
from geometry.datasets.co3d import CO3D
from geometry.datasets.dl3dv import DL3DV
from geometry.datasets.unpack import below, unpack
from geometry.errors import InputError

A, B = "a" * 64, "b" * 64
POSE = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def said(capsys):
    return "".join(capsys.readouterr())


def run(name, *arguments):
    return main([name, *(str(a) for a in arguments)])


def png(size=(6, 8), value=100):
    buffer = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def scene_files(prefix, good=True):
    frames = [{"file_path": "images/frame_00001.png", "transform_matrix": POSE}]
    content = {"fl_x": 50, "fl_y": 50, "cx": 32, "cy": 24, "w": 64, "h": 48, "frames": frames if good else []}
    return {f"{prefix}transforms.json": json.dumps(content), f"{prefix}images_8/frame_00001.png": png()}


@pytest.mark.parametrize("prefix", ["", f"{A}/", f"1K/{A}/"])
def test_dl3dv(tmp_path, capsys, prefix):
    zipped(tmp_path / "1K" / f"{A}.zip", scene_files(prefix))
    zipped(tmp_path / "1K" / f"{B}.zip", scene_files(f"{B}/"))
    zipped(tmp_path / "2K" / f"{'c' * 64}.zip", scene_files("", good=False))
    (tmp_path / "benchmark.csv").write_text(f"batch,hash\n1K,{B}\n")
    assert run("dl3dv", tmp_path, "--benchmark", tmp_path / "benchmark.csv") == 0
    out = said(capsys)
    assert "1 scenes in" in out
    assert "1 cannot be read; 1 benchmark scenes are left out" in out
    assert (tmp_path / "train.txt").read_text() == f"{A}\n"
    source = DL3DV(tmp_path, exclude=tmp_path / "benchmark.csv", scenes=tmp_path / "train.txt")
    assert source[0].frames[0].image_size == (6, 8)
    run("dl3dv", tmp_path, "--benchmark", tmp_path / "benchmark.csv", "--delete-archives")
    assert "0 files written, 2 there already" in said(capsys)
    assert not list(tmp_path.glob("*/*.zip"))


def test_co3d(tmp_path, capsys):
    frame = {
        "sequence_name": "s1",
        "frame_number": 1,
        "image": {"path": "cup/s1/images/f.png", "size": [6, 8]},
        "viewpoint": {
            "R": np.eye(3).tolist(),
            "T": [0, 0, 1],
            "focal_length": [2.0, 2.0],
            "principal_point": [0.0, 0.0],
            "intrinsics_format": "ndc_isotropic",
        },
    }
    (tmp_path / "cup/s1/images").mkdir(parents=True)
    (tmp_path / "cup/s1/images/f.png").write_bytes(png())
    scores = [{"sequence_name": n, "viewpoint_quality_score": q} for n, q in (("s1", 1.0), ("s2", 2.0))]
    for name, content in (("frame", [frame, {**frame, "sequence_name": "s2"}]), ("sequence", scores)):
        with gzip.open(tmp_path / f"cup/{name}_annotations.jgz", "wt") as file:
            json.dump(content, file)
    without = CO3D(tmp_path).read("cup/s1").frames[0]
    assert run("co3d", tmp_path) == 0
    assert "cup: 1 sequences, 1 without photos here" in said(capsys)
    source = CO3D(tmp_path)
    assert source.prepared is not None
    assert source.names == ("cup/s1",)
    prepared = source[0].frames[0]
    np.testing.assert_array_equal(prepared.extrinsics, without.extrinsics)
    np.testing.assert_array_equal(prepared.intrinsics, without.intrinsics)
    assert run("co3d", tmp_path / "cup") == 2
    assert "found none" in said(capsys)


def test_tartanair_and_blended_mvs(tmp_path, capsys):
    flight = "abandonedfactory/abandonedfactory/Easy/P000"
    zipped(
        tmp_path / "in/abandonedfactory/Easy/image_left.zip",
        {f"{flight}/image_left/000000_left.png": png(), f"{flight}/pose_left.txt": "0 0 0 0 0 0 1"},
    )
    assert run("tartanair", tmp_path / "out", "--archives", tmp_path / "in") == 0
    assert "1 flights" in said(capsys)
    assert (tmp_path / "out/abandonedfactory/Easy/P000/image_left/000000_left.png").is_file()

    # V2 archives begin at the flight; their own folders tell the rest.
    zipped(
        tmp_path / "v2/House/Data_easy/image_lcam_front.zip",
        {"P000/image_lcam_front/000000_lcam_front.png": png(), "P000/pose_lcam_front.txt": "0 0 0 0 0 0 1"},
    )
    run("tartanair", tmp_path / "out", "--archives", tmp_path / "v2")
    assert (tmp_path / "out/House/Data_easy/P000/pose_lcam_front.txt").is_file()

    zipped(
        tmp_path / "b/low.zip", {"dataset_low_res/5a3c/blended_images/00000000.jpg": png(), "readme.txt": "x"}
    )
    run("blended_mvs", tmp_path / "blended", "--archives", tmp_path / "b")
    assert "1 projects" in said(capsys)
    assert not (tmp_path / "blended/readme.txt").exists()


def test_vkitti2(tmp_path, capsys):
    for kind, name in (("rgb", "frames/rgb/Camera_0/rgb_00000.jpg"), ("textgt", "intrinsic.txt")):
        (tmp_path / "in").mkdir(exist_ok=True)
        ending, mode = ("tar", "w") if kind == "rgb" else ("tar.gz", "w:gz")
        with tarfile.open(tmp_path / f"in/vkitti_2.0.3_{kind}.{ending}", mode) as archive:
            info = tarfile.TarInfo(f"./Scene01/clone/{name}")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    assert run("vkitti2", tmp_path / "out", "--archives", tmp_path / "in") == 0
    assert "1 drives" in said(capsys)
    assert (tmp_path / "out/vkitti_2.0.3_textgt/Scene01/clone/intrinsic.txt").read_text() == "abc"


def test_hypersim_takes_only_what_is_read(tmp_path, capsys):
    scene = "ai_001_001"
    zipped(
        tmp_path / f"in/{scene}.zip",
        {
            f"{scene}/_detail/cam_00/camera_keyframe_positions.hdf5": b"x",
            f"{scene}/images/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5": b"x",
            f"{scene}/images/scene_cam_00_geometry_hdf5/frame.0000.semantic.hdf5": b"x",
            f"{scene}/images/scene_cam_00_final_hdf5/frame.0000.color.hdf5": b"x",
        },
    )
    assert run("hypersim", tmp_path / "out", "--archives", tmp_path / "in") == 2
    assert "expected Hypersim's table of lenses" in said(capsys)
    columns = ",".join(f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3))
    (tmp_path / "out/metadata_camera_parameters.csv").write_text(f"scene_name,{columns}\n")
    assert run("hypersim", tmp_path / "out", "--archives", tmp_path / "in") == 0
    assert "1 camera paths" in said(capsys)
    assert len([p for p in (tmp_path / "out" / scene).rglob("*") if p.is_file()]) == 2


def test_scannetpp_lists_what_is_ready(tmp_path, capsys):
    for name in ("one", "two"):
        folder = tmp_path / f"data/{name}/dslr"
        for inner in ("nerfstudio", "resized_images", "render_depth"):
            (folder / inner).mkdir(parents=True)
        content = {"fl_x": 5, "fl_y": 5, "cx": 4, "cy": 3, "w": 8, "h": 6}
        frames = [{"file_path": "a.JPG", "transform_matrix": POSE}]
        (folder / "nerfstudio/transforms.json").write_text(json.dumps({**content, "frames": frames}))
        (folder / "resized_images/a.JPG").write_bytes(png())
    (tmp_path / "data/one/dslr/render_depth/a.png").write_bytes(png())
    assert run("scannetpp", tmp_path) == 0
    out = said(capsys)
    assert (tmp_path / "ready_dslr.txt").read_text() == "one\n"
    assert "a.png: expected rendered depth of a.JPG" in out
    assert "1 scenes ready" in out


def test_megadepth_says_what_to_do_and_compares(tmp_path, capsys, monkeypatch):
    (tmp_path / "phoenix/S6/zl548/MegaDepth_v1/0004/dense0/depths").mkdir(parents=True)
    (tmp_path / "MegaDepth_v1_SfM/0004/sparse/manhattan/0").mkdir(parents=True)
    assert run("megadepth", tmp_path) == 0
    assert "to do: colmap image_undistorter" in said(capsys)
    monkeypatch.setenv("PATH", "")
    assert run("megadepth", tmp_path, "--undistort") == 2
    assert "colmap: expected the program" in said(capsys)
    assert run("megadepth", tmp_path / "absent") == 2
    assert "found no such folder" in said(capsys)


def test_unpack_writes_nothing_outside(tmp_path):
    zipped(tmp_path / "evil.zip", {"../evil.txt": b"x"})
    with pytest.raises(InputError, match="expected paths inside"):
        unpack(tmp_path / "evil.zip", tmp_path / "out", lambda p: p)
    assert not (tmp_path / "evil.txt").exists()
    zipped(tmp_path / "evil.zip", {"/tmp/evil.txt": b"x"})
    with pytest.raises(InputError, match="expected paths inside"):
        unpack(tmp_path / "evil.zip", tmp_path / "out", lambda p: p)


def test_unpack_goes_on_where_it_stopped(tmp_path):
    zipped(tmp_path / "a.zip", {"x": b"12345", "y": b"678"})
    assert unpack(tmp_path / "a.zip", tmp_path / "out", lambda p: p) == (2, 0)
    (tmp_path / "out/x").write_bytes(b"12")  # cut short by something else
    assert unpack(tmp_path / "a.zip", tmp_path / "out", lambda p: p) == (1, 1)
    assert (tmp_path / "out/x").read_bytes() == b"12345"
    (tmp_path / "b.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:40])
    with pytest.raises(InputError, match=r"b\.zip: expected a .zip or .tar"):
        unpack(tmp_path / "b.zip", tmp_path / "out", lambda p: p)


def test_below():
    place = below("cams", keep=1)
    assert place(PurePosixPath("a/b/cams/0.txt")) == PurePosixPath("b/cams/0.txt")
    assert place(PurePosixPath("cams/0.txt")) is None
    assert place(PurePosixPath("a/b/0.txt")) is None

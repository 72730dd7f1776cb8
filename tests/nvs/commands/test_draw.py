"""`nvs draw`: any splat file along cameras of a file, of COLMAP, or on a path."""

import json

import numpy as np
import pytest
import torch
from scenes import cameras_of, make_gaussians, make_room, write_capture
from torch.testing import assert_close

from geometry.formats import colmap
from geometry.formats.images import read_image, read_map
from geometry.threads import evenly
from geometry.visualize import to_bytes
from nvs.commands.draw import main
from nvs.gaussians import Gaussians
from nvs.outputs import render_frames

SIZE = (48, 64)


@pytest.fixture(scope="module")
def room():
    return make_room(3)


@pytest.fixture
def splats(tmp_path, generator):
    g = make_gaussians(200, generator, degree=1)
    g.save(tmp_path / "splats/a.glb")
    return tmp_path / "splats/a.glb"


@pytest.fixture
def cameras(room, tmp_path):
    """The same cameras as a capture's transforms.json and as a COLMAP model without photos."""
    write_capture(tmp_path / "capture", room)
    names = [f"frame_{i}.png" for i in (1, 2, 3)]
    model = colmap.model_from_cameras(
        names,
        np.stack([v.extrinsics for v in room]),
        np.stack([v.intrinsics for v in room]),
        [SIZE] * 3,
        points=np.zeros((0, 3)),
        colours=np.zeros((0, 3), np.uint8),
        seen_by=np.zeros(0, np.int64),
    )
    colmap.write_model(tmp_path / "model/sparse/0", model)
    return {
        "json": tmp_path / "capture/transforms.json",
        "folder": tmp_path / "capture",
        "colmap": tmp_path / "model",
    }


def run(*arguments) -> int:
    return main([str(a) for a in arguments])


def test_frames_that_threads_draw_for_themselves_are_the_same_and_in_order(splats, room):
    scene, cameras = Gaussians.load(splats), cameras_of(room * 4)
    assert torch.get_num_threads() == 1 or evenly(cameras.extrinsics.shape[1])
    frames = list(render_frames(scene, cameras, SIZE, backend="cpu"))
    assert len(frames) == len(room) * 4
    for f, (rgb, depth, alpha) in enumerate(frames):
        alone = scene.render(cameras[:, f : f + 1], SIZE, backend="cpu")
        assert (rgb == to_bytes(alone.rgb[0, 0])).all()
        assert (depth == alone.depth[0, 0].numpy()).all()
        assert (alpha == alone.alpha[0, 0].numpy()).all()


@pytest.mark.parametrize("form", ["json", "folder", "colmap"])
def test_frames_depth_and_cameras(splats, cameras, room, tmp_path, form):
    out = tmp_path / "out"
    assert run(splats, "--cameras", cameras[form], "--out", out, "--background", "white") == 0
    order = [0, 1, 2] if form == "colmap" else [2, 1, 0]  # a transforms.json keeps its own order
    g = Gaussians.load(splats)
    wanted = g.render(cameras_of([room[i] for i in order]), SIZE, background=torch.ones(3))
    unit = json.loads((out / "frames.json").read_text())["depth_unit_scale_factor"]
    for f in range(3):
        assert_close(read_image(out / f"frames/{f:04d}.png"), to_bytes(wanted.rgb[0, f]))
        depth = read_map(out / f"depth16/frames/{f:04d}.png") * unit
        solid = (wanted.alpha[0, f] > 0.5).numpy()
        np.testing.assert_allclose(depth[solid], wanted.depth[0, f].numpy()[solid], atol=unit)
        assert (depth[~solid] == 0).all()
    assert (out / "video.mp4").stat().st_size > 0
    # What was drawn can be drawn again along its own cameras.
    again = tmp_path / "again"
    assert run(splats, "--cameras", out / "frames.json", "--out", again, "--background", "white") == 0
    assert_close(read_image(again / "frames/0001.png"), read_image(out / "frames/0001.png"), atol=1, rtol=0)


def test_size_and_named_paths(splats, cameras, tmp_path, generator):
    assert run(splats, "--cameras", cameras["json"], "--out", tmp_path / "o", "--size", 24, 36) == 0
    assert read_image(tmp_path / "o/frames/0000.png").shape == (24, 36, 3)
    assert run(splats, "--cameras", "orbit", "--out", tmp_path / "p", "--size", 24, 36, "--frames", 3) == 0
    assert len(list((tmp_path / "p/frames").iterdir())) == 3
    # With cameras beside them, paths go through those.
    Gaussians.load(splats).save(tmp_path / "capture/gaussians.spz")
    for name in ("spline", "orbit"):
        out = tmp_path / name
        assert (
            run(tmp_path / "capture", "--cameras", name, "--out", out, "--frames", 3, "--size", 24, 36) == 0
        )
        assert len(list((out / "frames").iterdir())) == 3


def test_cameras_of_a_world_whose_origin_the_scene_took_off(splats, cameras, room, tmp_path):
    origin = [5.0e5, 4.0e6, 100.0]
    (splats.parent / "scene.json").write_text(json.dumps({"origin": origin}))
    far = json.loads(cameras["json"].read_text())
    for frame in far["frames"]:
        for row, shift in zip(frame["transform_matrix"], origin):
            row[3] += shift
    (tmp_path / "far.json").write_text(json.dumps(far))
    for given in (cameras["json"], tmp_path / "far.json"):
        assert run(splats, "--cameras", given, "--out", tmp_path / given.stem) == 0
    ours, theirs = (json.loads((tmp_path / n / "frames.json").read_text()) for n in ("far", "transforms"))
    for a, b in zip(ours["frames"], theirs["frames"]):
        np.testing.assert_allclose(a["transform_matrix"], b["transform_matrix"], atol=1e-3)


def test_the_background_of_the_scene(splats, cameras, tmp_path):
    (splats.parent / "scene.json").write_text(json.dumps({"background": [0.2, 0.4, 0.6]}))
    g = Gaussians.load(splats)
    none = Gaussians(means=g.means + 1e4, quats=g.quats, scales=g.scales, opacities=g.opacities, sh=g.sh)
    none.save(splats)
    assert run(splats, "--cameras", cameras["json"], "--out", tmp_path / "o") == 0
    assert read_image(tmp_path / "o/frames/0000.png")[0, 0].tolist() == [51, 102, 153]


def test_a_folder_whose_y_is_up_fits_its_own_cameras(splats, cameras, tmp_path):
    """.glb is y up itself: there it must not be turned."""
    g = Gaussians.load(splats)
    g.save(splats.with_name("a.ply"))
    g.save(splats, world="y_up")
    (splats.parent / "scene.json").write_text(json.dumps({"world": "turned so that +y is up"}))
    for name in ("a.ply", "a.glb"):
        out = tmp_path / name
        assert run(splats.with_name(name), "--cameras", cameras["json"], "--out", out) == 0
    first, second = (read_image(tmp_path / name / "frames/0000.png") for name in ("a.ply", "a.glb"))
    assert first.std() > 5
    assert_close(first, second, atol=1, rtol=0)


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("nowhere.json", "expected a file of cameras"),
        ("spline", "expected a transforms.json beside"),
        (".", "COLMAP"),
    ],
)
def test_what_is_missing_is_named(splats, tmp_path, monkeypatch, capsys, which, message):
    monkeypatch.chdir(splats.parent)
    assert run(splats, "--cameras", which, "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_output_may_not_hold_the_splats(splats, cameras, capsys):
    assert run(splats, "--cameras", cameras["json"], "--out", splats.parent) == 2
    assert "a folder of its own" in capsys.readouterr().err

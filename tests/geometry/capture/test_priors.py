"""Cameras for some photos, intrinsics alone, known depth, distances: what is done with what is known."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scenes import cameras_of, make_arc, save, scene_of, write_capture, write_gps, write_photos

import geometry
from geometry.capture import find_cameras, find_scale, load_views, open_capture, place_by_network
from geometry.console import listening
from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.align import Similarity, align_cameras
from geometry.options import NetworkOptions, PhotoOptions
from geometry.predict import place_views
from geometry.scenes import structure_from_motion as sfm
from geometry.scenes.photos import open_photos
from geometry.views import Views
from geometry.weights.checkpoint import find_checkpoint, load_network
from geometry.worlds import procedural_world, render, sample_cameras

CPU = torch.device("cpu")
TURN = torch.from_numpy(cv2.Rodrigues(np.array([0.3, -0.8, 0.4]))[0])
WORLD = Similarity(
    scale=torch.tensor(2.5).double(), rotation=TURN, translation=torch.tensor([1.0, -2, 3]).double()
)


@pytest.fixture(scope="module")
def arc():
    return make_arc(6)


@pytest.fixture
def partly(arc, tmp_path):
    """Six photos, four of which have cameras."""
    write_capture(tmp_path / "capture", arc)
    path = tmp_path / "capture/transforms.json"
    content = json.loads(path.read_text())
    content["frames"] = [f for f in content["frames"] if f["file_path"][-5] not in "25"]
    path.write_text(json.dumps(content))
    return tmp_path / "capture"


class Oracle:
    """A network that knows the cameras of the arc, in a world of its own that depends on what it is told."""

    def __init__(self, arc):
        self.truth, self.told = cameras_of(arc), None

    def __call__(self, views, *, reference=None, chunk, rays):
        self.told, self.reference = views, reference
        found = WORLD.extrinsics(self.truth.extrinsics[0].double()).float()[None]
        return SimpleNamespace(cameras=replace(self.truth, extrinsics=found))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_cameras_are_aligned_by_place_and_direction(arc, count):
    poses = cameras_of(arc).extrinsics[0, :count].double()
    there = WORLD.extrinsics(poses)
    carry, error = align_cameras(poses, there)
    assert error < 1e-5
    wanted = WORLD.scale if count > 1 else torch.ones(())
    torch.testing.assert_close(carry.scale, wanted.double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(carry.rotation, TURN, atol=1e-5, rtol=0)
    torch.testing.assert_close(carry.extrinsics(poses)[0], there[0], atol=1e-4, rtol=0)
    if count > 2:
        there[2, :3, 3] += 1.0
        assert align_cameras(poses, there)[1] > 0.1


def test_photos_without_a_camera_stay_where_that_is_wanted(partly, arc):
    with pytest.warns(UserWarning, match="2 of 6 photos have no camera there"):
        assert len(open_photos(partly)) == 4
    scene = open_photos(partly, partly=True)
    assert [frame.name[-5] for frame in scene.frames] == list("123456")
    assert scene.known == [0, 2, 3, 5]
    # One camera took them all: its intrinsics hold for the others.
    np.testing.assert_allclose(scene.frames[1].intrinsics, arc[1].intrinsics)
    with pytest.warns(UserWarning, match="2 of 6 photos have no camera there"):
        given = open_capture(partly, PhotoOptions(cameras="given"), CPU, partly=True)
    assert given.scene.posed


def test_the_network_places_the_others_in_the_given_world(partly, arc):
    options = PhotoOptions(process_res=56)
    capture = open_capture(partly, options, CPU, partly=True)
    assert find_cameras(capture, "auto", trust_network=True, seed=0) is capture
    oracle = Oracle(arc)
    placed = place_by_network(capture, oracle, options, NetworkOptions(), CPU)
    assert placed.scene.posed
    assert [frame.placed for frame in placed.scene.frames] == [False, True, False, False, True, False]
    for frame, view in zip(placed.scene.frames, arc):
        np.testing.assert_allclose(frame.extrinsics, view.extrinsics, atol=1e-4)
        np.testing.assert_allclose(frame.intrinsics, view.intrinsics, rtol=0.03)
    assert oracle.told.known.tolist() == [[True, False, True, True, False, True]]
    assert oracle.reference.tolist() == [0]
    assert place_by_network(placed, None, options, NetworkOptions(), CPU) is placed


def test_structure_from_motion_places_them_for_a_weak_network(partly, arc, monkeypatch):
    truth = scene_of(arc)

    def place_photos(scene, photos, *, seed):
        found = [i for i in sorted(photos) if i != 4]
        poses = WORLD.extrinsics(torch.from_numpy(truth.extrinsics)).numpy()
        frames = [replace(scene.frames[i], extrinsics=poses[i], intrinsics=arc[i].intrinsics) for i in found]
        return sfm.Placed(scene=replace(scene, frames=tuple(frames)), indices=found, missing=[4])

    monkeypatch.setattr(sfm, "available", lambda: True)
    monkeypatch.setattr(sfm, "place_photos", place_photos)
    capture = open_capture(partly, PhotoOptions(holdout=5), CPU, partly=True)
    with pytest.warns(UserWarning, match=r"1 of 6 photos have no camera there \(frame_5\.png\)"):
        placed = find_cameras(capture, "auto", trust_network=False, seed=0)
    assert [name[-5] for name in placed.names + placed.target_names] == ["2", "3", "4", "1", "6"]
    assert placed.scene.frames[1].placed
    np.testing.assert_allclose(placed.scene.frames[1].extrinsics, arc[1].extrinsics, atol=1e-5)
    monkeypatch.setattr(sys.modules["geometry.capture.find_cameras"], "_FAR_OFF", 0.0)
    with pytest.warns(UserWarning, match="2 of 6 photos"):
        assert len(find_cameras(capture, "auto", trust_network=False, seed=0).scene) == 4


def test_the_real_network_is_told_the_known_cameras_alone(arc, generator):
    network = load_network(find_checkpoint("tiny"))
    images = torch.rand(1, 4, 3, 28, 56, generator=generator)
    cameras, known = cameras_of(arc[:4]), torch.tensor([[False, True, False, True]])
    views = Views(images=images, cameras=cameras, known=known)
    found, _ = place_views(network, views)
    torch.testing.assert_close(found.extrinsics[known], cameras.extrinsics[known])
    other = replace(cameras, extrinsics=cameras.extrinsics.clone(), intrinsics=cameras.intrinsics.clone())
    other.extrinsics[~known] = torch.eye(4)
    other.intrinsics[~known] *= 0.7
    again, _ = place_views(network, replace(views, cameras=other))
    torch.testing.assert_close(again.extrinsics, found.extrinsics)
    other.extrinsics[0, 1, :3, 3] += 1.0
    moved, _ = place_views(network, replace(views, cameras=other))
    assert (moved.extrinsics[0, 0] - found.extrinsics[0, 0]).abs().max() > 1e-3


def test_frames_without_a_matrix_have_intrinsics_alone(tmp_path):
    write_photos(tmp_path, 3, (60, 90))
    frames = [{"file_path": f"0{i}.png"} for i in range(3)]
    (tmp_path / "transforms.json").write_text(json.dumps({"camera_angle_x": 1.0, "frames": frames}))
    with pytest.raises(InputError, match="expected a transform_matrix"):
        open_photos(tmp_path)
    scene = open_photos(tmp_path, partly=True)
    assert not scene.posed
    np.testing.assert_allclose(scene.frames[2].intrinsics[0, 0], 45 / np.tan(0.5))


OPENCV = """%YAML:1.0
---
image_width: 180
image_height: 120
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 200., 0., 89.5, 0., 200., 59.5, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ {k1}, 0., 0., 0., 0. ]
"""


def test_forms_of_a_focal_length(tmp_path):
    photos = tmp_path / "photos"
    write_photos(photos, 2, (60, 90))
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 40
    Image.open(photos / "00.png").save(photos / "02.jpg", exif=exif)
    (tmp_path / "k.json").write_text(json.dumps({"fl_x": 200, "w": 180, "h": 120}))
    (tmp_path / "k.txt").write_text("# COLMAP\n1 PINHOLE 180 120 200 200 90 60\n")
    (tmp_path / "k.yml").write_text(OPENCV.format(k1="0."))
    for focal, wanted in (
        *((tmp_path / f"k.{suffix}", [100, 100, 100]) for suffix in ("json", "txt", "yml")),
        (100, [100, 100, 100]),
        ("40mm", [100, 100, 100]),
        ("exif", [None, None, 100]),
    ):
        frames = open_photos(photos, focal=focal).frames
        assert [None if f.intrinsics is None else round(f.intrinsics[1, 1], 6) for f in frames] == wanted
        assert all(f.lens is None and f.extrinsics is None for f in frames)
        np.testing.assert_allclose(frames[2].intrinsics[:2, 2], [45, 30])
    (tmp_path / "k.yml").write_text(OPENCV.format(k1="0.1"))
    assert open_photos(photos, focal=tmp_path / "k.yml").frames[0].lens is not None
    for bad in ("wide", "-3", tmp_path / "gone.json"):
        with pytest.raises(InputError, match=r"--focal .*: expected pixels"):
            open_photos(photos, focal=bad)
    (photos / "02.jpg").unlink()
    with pytest.raises(InputError, match="--focal exif: expected photos whose EXIF"):
        open_photos(photos, focal="exif")


def test_intrinsics_alone_are_kept_by_the_network(arc, tmp_path):
    write_capture(tmp_path, arc)
    options = PhotoOptions(process_res=56, unposed=True, focal=70)
    capture = open_capture(tmp_path, options, CPU)
    placed = place_by_network(capture, Oracle(arc), options, NetworkOptions(), CPU)
    assert placed.scene.estimated
    assert not any(frame.placed for frame in placed.scene.frames)
    assert {frame.intrinsics[0, 0] for frame in placed.scene.frames} == {70}
    relative = se3.relative(torch.from_numpy(placed.scene.extrinsics), torch.from_numpy(arc[0].extrinsics))
    assert torch.isfinite(relative).all()


@pytest.fixture
def measured(arc, tmp_path):
    """An unposed capture with depth in millimetres, and its views as a network would place them, halved."""
    write_capture(tmp_path, arc)
    path = tmp_path / "transforms.json"
    content = json.loads(path.read_text())
    for frame in content["frames"]:
        name = frame["file_path"].replace("images", "depth")
        depth = arc[int(name[-5]) - 1].depth * 1000
        depth[:, ::3] = 0  # unknown
        save(tmp_path / name, depth.astype(np.uint16))
        frame["depth_file_path"] = name
    path.write_text(json.dumps(content))
    options = PhotoOptions(process_res=56, unposed=True)
    capture = open_capture(tmp_path, options, CPU)
    views, maps = load_views(capture, capture.context, options, CPU)
    cameras = cameras_of(arc)
    cameras.extrinsics[:, :, :3, 3] /= 2
    depth = torch.stack([torch.from_numpy(view.depth).float() for view in arc])[None] / 2
    return capture, options, replace(views, cameras=cameras), maps, depth[..., ::2, ::2]


def test_known_depth_fixes_the_scale(measured):
    capture, options, views, maps, depth = measured
    scale = find_scale(capture, options, views, maps, depth)
    assert scale.metric
    assert scale.source == "known depth of 6 photos"
    assert scale.factor == pytest.approx(2, rel=0.02)
    said = []
    with listening(said.append):
        spoilt = find_scale(capture, options, views, maps, depth * torch.arange(1, 7)[:, None, None])
    assert not spoilt.metric
    assert spoilt.factor == 1
    assert "known depth is not used" in said[0]


def test_depth_beside_photos(tmp_path):
    write_photos(tmp_path, 4, (60, 90))
    metres = np.full((30, 45), 1.5, np.float32)
    save(tmp_path / "depth/00.png", (metres * 1000).astype(np.uint16))
    np.save(tmp_path / "depth/01.npy", metres)
    save(tmp_path / "depth/02.png", (metres * 100).astype(np.uint8))  # a picture of depth
    frames = open_photos(tmp_path).frames
    assert [frame.depth is None for frame in frames] == [False, False, True, True]
    for frame in frames[:2]:
        np.testing.assert_allclose(frame.load_depth(), metres)


def test_where_a_scale_comes_from(measured, partly):
    capture, options, views, maps, depth = measured
    apart = float(se3.centres(views.cameras.extrinsics[0])[[1, 3]].diff(dim=0).norm())
    for first in ("frame_2", "frame_2.png", "images/frame_2.png"):
        stated = replace(options, distance=(first, "frame_4", 10.0))
        scale = find_scale(capture, stated, views, maps, depth)
        assert scale.factor == pytest.approx(10 / apart)
        assert scale.as_json()["scale_from"] == f"{first} and frame_4 are 10 m apart"
    with pytest.raises(InputError, match=r"--distance frame_9: expected the name of one of the 6 photos"):
        find_scale(capture, replace(options, distance=("frame_9", "frame_4", 1)), views, maps, depth)
    with pytest.raises(InputError, match="expected photos from different places"):
        find_scale(capture, replace(options, distance=("frame_4", "frame_4", 1)), views, maps, depth)
    bare = replace(capture, scene=replace(capture.scene, frames=scene_of(make_arc(6), depth=False).frames))
    given = find_scale(bare, options, views, maps, depth)
    assert (given.metric, given.source) == (False, f"given cameras: {bare.scene.source}")
    metric = replace(bare, scene=replace(bare.scene, metric=True))
    assert find_scale(metric, options, views, maps, depth).metric
    unposed = replace(bare, scene=bare.scene.without_cameras())
    assert find_scale(unposed, options, views, maps, depth, model="m").source == "the network m"
    assert find_scale(unposed, options, views, maps, depth).source == "nothing: it is arbitrary"


def test_gps_of_photos_that_are_far_apart_gives_metres(arc, tmp_path):
    centres = 100 * se3.centres(cameras_of(arc).extrinsics[0].double()).numpy()  # east, north, up; metres
    rng = np.random.default_rng(0)
    said = []
    for noise, used in ((0.02, True), (0.3, False)):
        places = centres + noise * np.ptp(centres) * rng.normal(size=centres.shape)
        write_capture(tmp_path, arc)
        for i, (east, north, up) in enumerate(places):
            if i != 2:  # by a degree, near 45 degrees north
                at = (45 + north / 111131.8, 8 + east / 78846.8, 50 + up)
                write_gps(tmp_path / f"images/frame_{i + 1}.png", *at)
        options = PhotoOptions(process_res=56, unposed=True)
        capture = open_capture(tmp_path, options, CPU)
        views, maps = load_views(capture, capture.context, options, CPU)
        views = replace(views, cameras=cameras_of(arc))
        depth = torch.ones(1, 6, 4, 4)
        with listening(said.append):
            scale = find_scale(capture, options, views, maps, depth)
        assert scale.metric == used
        if used:
            assert scale.factor == pytest.approx(100, rel=0.05)
            assert scale.source.startswith("GPS of 5 photos, off by ")
    assert "GPS is not used: it is off by" in said[-1]


def test_a_distance_from_end_to_end(partly, tmp_path):
    model, options = geometry.load(), {"process_res": 56, "cameras": "network"}
    plain = model.predict(partly, **options)
    scene = model.predict(partly, **options, distance=("frame_1", "frame_6", 3.0))
    centres = se3.centres(scene.cameras.extrinsics[0])
    assert (centres[0] - centres[5]).norm() == pytest.approx(3, rel=1e-4)
    assert scene.metric
    assert not plain.metric
    factor = scene.about["scale_factor"]
    torch.testing.assert_close(scene.depth, plain.depth * factor)
    scene.save(tmp_path / "out")
    about = json.loads((tmp_path / "out/scene.json").read_text())
    assert about["metric"] is True
    assert about["scale_from"] == "frame_1 and frame_6 are 3 m apart"


@pytest.mark.parametrize("wanted", ["network", "auto"])
def test_the_focal_length_of_exif_is_what_the_network_goes_by(arc, tmp_path, wanted):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 54
    for i, view in enumerate(arc):
        Image.fromarray(view.image).save(tmp_path / f"{i}.jpg", **({} if i == 2 else {"exif": exif}))
    options = PhotoOptions(process_res=56)
    capture = open_capture(tmp_path, options, CPU, partly=True)
    assert all(frame.intrinsics is None for frame in capture.scene.frames)
    capture = find_cameras(capture, wanted, trust_network=True, seed=0)
    placed = place_by_network(capture, Oracle(arc), options, NetworkOptions(), CPU)
    assert placed.scene.source == "the network, with known intrinsics"
    for i, frame in enumerate(placed.scene.frames):
        stated = 54 / 36 * max(frame.image_size)
        assert (frame.intrinsics[0, 0] == pytest.approx(stated)) == (i != 2)
        assert frame.extrinsics is not None


@pytest.mark.slow
def test_known_intrinsics_are_exact_in_structure_from_motion(tmp_path):
    pytest.importorskip("pycolmap")
    world = procedural_world(12, "room", texture_size=256)  # photos with features, which those of an arc lack
    cameras = sample_cameras(world, 6, (240, 320), torch.Generator().manual_seed(3), "orbit", zoom=False)
    K = torch.tensor([[300.0, 0.0, 160.0], [0.0, 300.0, 120.0], [0.0, 0.0, 1.0]])
    cameras = replace(cameras, intrinsics=K.expand_as(cameras.intrinsics))
    for v, photo in enumerate(render(world, cameras, (240, 320)).radiance[0].clamp(0, 1)):
        save(tmp_path / f"{v}.png", (photo.permute(1, 2, 0) * 255).round().byte().numpy())
    scene = open_photos(tmp_path, unposed=True, focal=300)
    placed = sfm.place_photos(scene)
    assert len(placed.indices) >= 6
    for frame in placed.scene.frames:
        np.testing.assert_array_equal(frame.intrinsics, scene.frames[0].intrinsics)
        assert frame.lens is None

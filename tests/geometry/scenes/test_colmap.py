"""COLMAP models: the two forms agree, round trips lose nothing, damage is named with its place."""

import re
import shutil

import numpy as np
import pytest
import torch
from scenes import save_grey, write_colmap_text

from geometry.errors import InputError
from geometry.formats import colmap
from geometry.formats.colmap.records import MODELS
from geometry.ops import pinhole
from geometry.scenes.colmap import read_colmap
from geometry.views import Cameras


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, :3, 3] = rng.normal(size=(3, 3)) * 0.1 + (0, 0, 4)
    poses[1, :3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    K = np.tile([[100.0, 0, 40], [0, 110, 31], [0, 0, 1]], (3, 1, 1))
    return colmap.model_from_cameras(
        ["a b/10.JPG", "a b/9.JPG", "c.png"],
        poses,
        K,
        [(60, 80)] * 3,
        points=rng.normal(size=(20, 3)),
        colours=rng.integers(0, 256, (20, 3), dtype=np.uint8),
        seen_by=rng.integers(0, 3, 20),
    )


def assert_same(first, second, atol=0.0):
    assert first.cameras == second.cameras
    assert first.images.keys() == second.images.keys()
    for i, image in first.images.items():
        other = second.images[i]
        assert (image.name, image.camera_id) == (other.name, other.camera_id)
        np.testing.assert_allclose(image.extrinsics, other.extrinsics, atol=max(atol, 1e-12))
        np.testing.assert_allclose(image.keypoints, other.keypoints, atol=atol)
        np.testing.assert_array_equal(image.point_ids, other.point_ids)
    order, other_order = np.argsort(first.points.ids), np.argsort(second.points.ids)
    for name in ("ids", "xyz", "rgb", "errors_px"):
        a, b = getattr(first.points, name)[order], getattr(second.points, name)[other_order]
        np.testing.assert_allclose(a, b, atol=atol)
    for a, b in zip(order, other_order):
        np.testing.assert_array_equal(first.points.tracks[a], second.points.tracks[b])


@pytest.mark.parametrize("binary", [True, False])
def test_round_trip(tmp_path, model, binary):
    (colmap.write_model if binary else write_colmap_text)(tmp_path, model)
    assert all((tmp_path / f"{n}.{'bin' if binary else 'txt'}").is_file() for n in ("cameras", "points3D"))
    assert_same(model, colmap.read_model(tmp_path))


def test_keypoints_are_projections(model):
    image = model.images[2]
    rows = image.point_ids - 1
    cameras = Cameras(
        extrinsics=torch.from_numpy(image.extrinsics)[None, None],
        intrinsics=torch.tensor([[[[100.0, 0, 40], [0, 110, 31], [0, 0, 1]]]], dtype=torch.float64),
    )
    pixels, _ = pinhole.project(torch.from_numpy(model.points.xyz[rows])[None, None], cameras)
    np.testing.assert_allclose(image.keypoints, pixels[0, 0], atol=1e-9)
    for index, row in enumerate(rows):
        np.testing.assert_array_equal(model.points.tracks[row], [[2, index]])


def test_text_and_binary_of_a_real_model_agree(captures_dir):
    binary = colmap.read_model(captures_dir / "sceaux_castle/sparse/0")
    text = colmap.read_model(captures_dir / "sceaux_castle/sparse_txt/0")
    assert len(binary.images) == 11
    assert_same(binary, text, atol=6e-4)  # the text rounds pixels to 3 decimals


def test_a_real_model_written_again_is_the_same_file(captures_dir, tmp_path):
    source = captures_dir / "sceaux_castle/sparse/0"
    colmap.write_model(tmp_path, colmap.read_model(source))
    for name in ("cameras.bin", "points3D.bin"):
        assert (tmp_path / name).read_bytes() == (source / name).read_bytes()
    assert (tmp_path / "images.bin").stat().st_size == (source / "images.bin").stat().st_size


def test_real_points_reproject_in_the_undistorted_photos(captures_dir):
    """Extrinsics, lens and visibility belong together: stored keypoints are met within a pixel fraction."""
    folder = captures_dir / "sceaux_castle"
    scene = read_colmap(folder / "sparse/0", folder / "images")
    assert [f.name for f in scene.frames] == [f"100_71{i:02d}.JPG" for i in range(11)]
    frame, seen = scene.frames[4], scene.visibility[4]
    assert len(seen) > 1000
    local = scene.points[seen] @ frame.extrinsics[:3, :3].T + frame.extrinsics[:3, 3]
    assert (local[:, 2] > 0).all()
    raw = colmap.read_model(folder / "sparse/0")
    stored = next(image for image in raw.images.values() if image.name == frame.name)
    distorted = frame.lens.distort(local[:, :2] / local[:, 2:]) * frame.lens.focal + frame.lens.principal
    by_point = dict(zip(stored.point_ids.tolist(), stored.keypoints))
    keypoints = np.array([by_point[int(i)] for i in raw.points.ids[seen]])
    assert np.median(np.linalg.norm(distorted - keypoints, axis=1)) < 0.3


@pytest.mark.parametrize("binary", [True, False])
def test_rigs_and_frames_that_colmap_itself_writes(tmp_path, binary):
    """Two cameras of a rig, five frames: each image's pose is the frame's and then the sensor's."""
    pycolmap = pytest.importorskip("pycolmap")
    written, rng = pycolmap.Reconstruction(), np.random.default_rng(0)
    sensor_from_rig = pycolmap.Rigid3d(
        pycolmap.Rotation3d(axis_angle=np.array([0.1, 0.2, 0.3])), np.array([0.5, 0, 0.1])
    )
    rig = pycolmap.Rig(rig_id=7)
    for camera_id, name in ((1, "PINHOLE"), (2, "OPENCV_FISHEYE")):
        camera = pycolmap.Camera.create_from_model_name(camera_id, name, 90.0, 80, 60)
        written.add_camera(camera)
        if camera_id == 1:
            rig.add_ref_sensor(camera.sensor_id)
        else:
            rig.add_sensor(camera.sensor_id, sensor_from_rig)
    written.add_rig(rig)
    expected = {}
    for number in range(1, 6):
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(axis_angle=rng.normal(0, 0.2, 3)), rng.normal(size=3))
        frame = pycolmap.Frame(frame_id=number, rig_id=7, rig_from_world=pose)
        images = [
            pycolmap.Image(name=f"cam{c}/{number}.png", camera_id=c, image_id=2 * number + c, frame_id=number)
            for c in (1, 2)
        ]
        for image in images:
            frame.add_data_id(image.data_id)
        written.add_frame(frame)
        for image, sensor in zip(images, (pycolmap.Rigid3d(), sensor_from_rig)):
            written.add_image(image)
            expected[image.name] = (sensor * pose).matrix()
            save_grey(tmp_path / "images" / image.name)
        written.register_frame(number)
    (tmp_path / "sparse").mkdir()
    (written.write_binary if binary else written.write_text)(tmp_path / "sparse")
    suffix = "bin" if binary else "txt"
    assert {f"rigs.{suffix}", f"frames.{suffix}"} <= {path.name for path in (tmp_path / "sparse").iterdir()}
    scene = read_colmap(tmp_path / "sparse", tmp_path / "images")
    assert len(scene) == 10
    for frame in scene.frames:
        np.testing.assert_allclose(frame.extrinsics[:3], expected[frame.name], atol=1e-9)
        assert (frame.lens is not None) == frame.name.startswith("cam2")


@pytest.mark.parametrize("model_row", MODELS, ids=lambda row: row[1])
def test_every_camera_model_round_trips_and_has_a_lens(tmp_path, model, model_row):
    _, name, focals, _, places = model_row
    params = (*(50.0, 60.0)[:focals], 20.0, 30.0, *(0.01 * (i + 1) for i in range(len(places))))
    camera = colmap.ColmapCamera(model=name, image_size=(60, 40), params=params)
    changed = colmap.ColmapModel(
        cameras={1: camera, 2: camera, 3: camera}, images=model.images, points=model.points
    )
    for binary in (True, False):
        folder = tmp_path / str(binary)
        (colmap.write_model if binary else write_colmap_text)(folder, changed)
        assert colmap.read_model(folder).cameras[2] == camera
    lens = camera.lens()
    if name == "EQUIRECTANGULAR":
        assert lens.family == "panorama"
        return
    assert lens.focal == (50.0, 60.0 if focals == 2 else 50.0)
    assert lens.principal == (20.0, 30.0)
    assert sum(c != 0 for c in lens.coefficients) == len(places)


def test_thin_prism_parameters_go_to_their_places():
    params = (50.0, 60.0, 20.0, 30.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)  # k1 k2 p1 p2 k3 k4 sx1 sy1
    camera = colmap.ColmapCamera(model="THIN_PRISM_FISHEYE", image_size=(60, 40), params=params)
    assert camera.lens().coefficients == (1, 2, 5, 6, 3, 4, 7, 8)  # k1 k2 k3 k4 p1 p2 sx sy


def test_whole_numbers_may_be_written_with_a_point(tmp_path, model):
    write_colmap_text(tmp_path, model)
    for name in ("cameras", "images"):
        path = tmp_path / f"{name}.txt"
        path.write_bytes(re.sub(r"\b(80|60|1|2|3)(?= )", r"\1.0", path.read_text()).encode("utf-8-sig"))
    assert_same(model, colmap.read_model(tmp_path))


@pytest.mark.parametrize("line", ["9 LYTRO 80 60 1 1", "9 PINHOLE 80 60 1", "9 EQUIRECTANGULAR 80 40 80 40"])
def test_a_camera_without_photos_is_nobodys_trouble(tmp_path, model, line):
    write_colmap_text(tmp_path, model)
    with (tmp_path / "cameras.txt").open("a") as file:
        file.write(f"{line}\n")
    assert colmap.read_model(tmp_path).images.keys() == model.images.keys()


def test_focal_lengths_that_are_no_pixels_name_the_photo(tmp_path):
    save_grey(tmp_path / "images/1.png")
    one = (["1.png"], np.eye(4)[None], np.diag([1.1, 1.1, 1])[None], [(60, 80)])
    nothing = {"points": np.zeros((0, 3)), "colours": np.zeros((0, 3), np.uint8), "seen_by": np.zeros(0, int)}
    colmap.write_model(tmp_path / "sparse", colmap.model_from_cameras(*one, **nothing))
    with pytest.raises(InputError, match=r"sparse, image 1\.png: expected focal lengths in pixels, got 1\.1"):
        read_colmap(tmp_path / "sparse", tmp_path / "images")


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
@pytest.mark.parametrize("keep", [3, 40, -1])
def test_truncated_binary_names_file_and_byte(tmp_path, model, name, keep):
    colmap.write_model(tmp_path, model)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:keep])
    with pytest.raises(InputError, match=rf"{name}.* byte \d+"):
        colmap.read_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "line", "text", "message"),
    [
        ("cameras.txt", 1, "1 PINHOLE 80 sixty 1 1 1 1", "cameras.txt, line 2: expected CAMERA_ID"),
        ("cameras.txt", 1, "1 PINHOLE 80 60 1 1 1", "line 2: expected 4 parameters of PINHOLE, got 3"),
        ("cameras.txt", 1, "1 LYTRO 80 60 1 1 1 1", "line 2: expected a camera model among"),
        ("images.txt", 1, "1 0 0 0 0 0 0 0 1 a.jpg", "line 2, image a.jpg: expected a finite pose"),
        ("images.txt", 2, "1 2", "line 3: expected triples"),
        ("points3D.txt", 1, "1 2 3", "line 2: expected POINT3D_ID"),
        ("images.txt", 1, "1 1 0 0 0 0 0 0 77 a.jpg", "camera 77"),
    ],
)
def test_malformed_text_names_file_and_line(tmp_path, model, name, line, text, message):
    write_colmap_text(tmp_path, model)
    lines = (tmp_path / name).read_text().splitlines()
    lines[line] = text
    (tmp_path / name).write_text("\n".join(lines))
    with pytest.raises(InputError, match=re.escape(message)):
        colmap.read_model(tmp_path)


def test_scene_finds_photos_skips_missing_and_sorts(tmp_path, model):
    colmap.write_model(tmp_path / "sparse", model)
    save_grey(tmp_path / "images/10.JPG")
    save_grey(tmp_path / "images/9.JPG")
    with pytest.warns(UserWarning, match=r"1 of 3 listed photos are missing .*c\.png"):
        scene = read_colmap(tmp_path / "sparse", tmp_path / "images")
    assert [f.name for f in scene.frames] == ["a b/9.JPG", "a b/10.JPG"]
    np.testing.assert_allclose(scene.extrinsics[1], model.images[1].extrinsics, atol=1e-12)
    np.testing.assert_array_equal(scene.visibility[1] + 1, np.sort(model.images[1].point_ids))


def test_model_of_other_photos_is_refused(tmp_path, model):
    colmap.write_model(tmp_path / "sparse", model)
    save_grey(tmp_path / "images/holiday.jpg")
    with pytest.raises(InputError, match="other photos"):
        read_colmap(tmp_path / "sparse", tmp_path / "images")
    shutil.copy(tmp_path / "images/holiday.jpg", tmp_path / "images/c.png")
    save_grey(tmp_path / "images/c.png", size=(50, 90))
    with pytest.raises(InputError, match="shaped like its camera"), pytest.warns(UserWarning, match="2 of 3"):
        read_colmap(tmp_path / "sparse", tmp_path / "images")


def test_no_model(tmp_path):
    assert colmap.find_model(tmp_path) is None
    with pytest.raises(InputError, match="found none"):
        colmap.read_model(tmp_path)

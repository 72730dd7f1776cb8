"""Panoramas become views of one rig, whose pictures are what pinhole cameras see there."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scenes import along_rays, make_arc, panorama, render, save

from geometry.formats.distortion import Lens, sphere
from geometry.scenes import structure_from_motion as sfm
from geometry.scenes.panorama import snapped
from geometry.scenes.photos import open_photos
from geometry.views import Cameras
from geometry.worlds import procedural_world, sample_cameras
from geometry.worlds import render as render_world

GPANO = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"
GPano:ProjectionType="equirectangular"/></rdf:RDF></x:xmpmeta>"""


def write(path, E, height=256, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(panorama(E, height)).save(path, quality=98, **options)


def assert_views(frames, E=None):
    """Each view shows what a pinhole camera with its pose sees; together they see everything."""
    assert len(frames) % 8 == 0
    for frame in frames:
        view = render(
            frame.extrinsics if E is None else frame.extrinsics @ E, frame.intrinsics, frame.image_size
        )
        assert np.abs(frame.load().astype(int) - view.image).mean() < 2
    directions = np.random.default_rng(0).normal(size=(5000, 3))
    covered = np.zeros(5000, bool)
    for frame in frames[:8]:
        pixels = directions @ (frame.intrinsics @ frame.extrinsics[:3, :3]).T
        H, W = frame.image_size
        inside = (pixels[:, :2] >= 0).all(1) & (pixels[:, :2] <= pixels[:, 2:] * (W, H)).all(1)
        covered |= inside & (pixels[:, 2] > 0)
    assert covered.all()


@pytest.mark.extended
@pytest.mark.parametrize("said", [True, False])
def test_one_panorama_is_a_rig_of_known_turns(tmp_path, said):
    E = make_arc(3)[1].extrinsics
    write(tmp_path / "a.jpg", E, **({"xmp": GPANO} if said else {}))
    scene = open_photos(tmp_path, panorama=not said)
    assert len(scene) == 8
    assert scene.posed
    assert scene.source == "the panorama's own views"
    assert_views(scene.frames, E)
    assert not open_photos(tmp_path, unposed=True).posed
    if not said:
        assert len(open_photos(tmp_path)) == 1


def test_a_view_is_sharp_as_its_panorama():
    """A pixel ahead covers the same angle in both."""
    lens = sphere((2048, 4096))
    assert lens.pinhole_size == (1554, 1554)
    frame_focal = lens.pinhole_size[0] / 2 / np.tan(np.deg2rad(50))
    assert frame_focal == pytest.approx(4096 / (2 * np.pi), rel=1e-3)


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["transforms", "colmap", "Metashape"])
def test_panoramas_with_poses(tmp_path, kind):
    arc = make_arc(2)
    names = [f"pano{i}.jpg" for i in range(2)]
    for name, view in zip(names, arc):
        write(tmp_path / "images" / name, view.extrinsics)
    if kind == "transforms":
        frames = [
            {"file_path": f"images/{n}", "transform_matrix": v.opengl.tolist()} for n, v in zip(names, arc)
        ]
        content = {
            "camera_model": "EQUIRECTANGULAR",
            "w": 512,
            "h": 256,
            "fl_x": 256,
            "fl_y": 256,
            "frames": frames,
        }
        (tmp_path / "transforms.json").write_text(json.dumps(content))
    elif kind == "colmap":
        pycolmap = pytest.importorskip("pycolmap")
        model = pycolmap.Reconstruction()
        camera = pycolmap.Camera.create_from_model_name(1, "EQUIRECTANGULAR", 1.0, 512, 256)
        model.add_camera_with_trivial_rig(camera)
        for i, (name, view) in enumerate(zip(names, arc), start=1):
            image = pycolmap.Image(name=name, camera_id=1, image_id=i)
            model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(view.extrinsics[:3]))
        (tmp_path / "sparse").mkdir()
        model.write(tmp_path / "sparse")
    else:
        cameras = "".join(
            f'<camera sensor_id="0" label="{n[:-4]}"><transform>{" ".join(map(str, v.cam_to_world.ravel()))}'
            "</transform></camera>"
            for n, v in zip(names, arc)
        )
        sensor = '<sensor id="0" type="spherical"><resolution width="512" height="256"/></sensor>'
        text = f"<document><chunk><sensors>{sensor}</sensors><cameras>{cameras}</cameras></chunk></document>"
        (tmp_path / "cameras.xml").write_text(text)
    scene = open_photos(tmp_path)
    assert len(scene) == 16
    assert_views(scene.frames)
    np.testing.assert_allclose(scene.frames[0].extrinsics, arc[0].extrinsics, atol=1e-9)


def fisheye(E, size, degrees):
    """A photo of an equidistant lens, and its focal length; so many degrees at its left and right edge."""
    H, W = size
    focal = W / 2 / np.deg2rad(degrees)
    x, y = np.meshgrid(np.arange(W) + 0.5 - W / 2, np.arange(H) + 0.5 - H / 2)
    r = np.maximum(np.hypot(x, y), 1e-9)
    theta = np.minimum(r / focal, np.pi)
    rays = np.stack((x / r * np.sin(theta), y / r * np.sin(theta), np.cos(theta)), axis=-1)
    return along_rays(E, rays)[0], focal


@pytest.mark.extended
@pytest.mark.parametrize(
    ("size", "degrees", "views", "seen"),
    [((400, 400), 95, 5, 93), ((240, 400), 80, 3, 78), ((240, 400), 68, 1, 0)],
)
def test_a_very_wide_lens_becomes_several_views(tmp_path, size, degrees, views, seen):
    arc, frames = make_arc(2), []
    for name, view in zip(("a.png", "b.png"), arc):
        pixels, focal = fisheye(view.extrinsics, size, degrees)
        save(tmp_path / name, pixels)
        frames.append({"file_path": name, "transform_matrix": view.opengl.tolist()})
    (H, W), keys = size, {"fl_x": focal, "fl_y": focal, "camera_model": "OPENCV_FISHEYE"}
    content = {**keys, "k1": 0, "cx": W / 2, "cy": H / 2, "w": W, "h": H, "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    frames = open_photos(tmp_path).frames
    assert len(frames) == 2 * views
    if views == 1:
        return
    angles = np.deg2rad(np.linspace(0, seen, 40))
    ahead = np.stack((np.sin(angles), 0 * angles, np.cos(angles)), axis=-1)
    rays = np.concatenate((ahead, ahead * (-1, 1, 1), *[ahead[:, [1, 0, 2]]] * (views == 5)))
    covered = np.zeros(len(rays), bool)
    for frame in frames[:views]:
        assert frame.image_size[0] == frame.image_size[1] == round(2 * frame.intrinsics[0, 2])
        truth = render(frame.extrinsics, frame.intrinsics, frame.image_size)
        assert np.abs(frame.load().astype(int) - truth.image).mean() < 2.5
        local = rays @ (frame.intrinsics @ (frame.extrinsics @ np.linalg.inv(arc[0].extrinsics))[:3, :3]).T
        inside = (local[:, :2] >= 0).all(1) & (local[:, :2] <= local[:, 2:] * frame.image_size[0]).all(1)
        covered |= inside & (local[:, 2] > 0)
    assert covered.all()


def test_agrees_with_colmap_on_every_pixel():
    pycolmap = pytest.importorskip("pycolmap")
    camera = pycolmap.Camera.create_from_model_name(1, "EQUIRECTANGULAR", 1.0, 200, 100)
    turned = Lens(**{**vars(sphere((100, 200))), "turn": (0.2, -0.7, 0.1)})
    ideal = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    pixels = sphere((100, 200)).distort(ideal) * turned.focal + turned.principal
    for point, pixel in zip(ideal, pixels):
        np.testing.assert_allclose(pixel, camera.img_from_cam(np.array([*point, 1.0])), atol=1e-9)
    assert np.abs(turned.distort(ideal) - sphere((100, 200)).distort(ideal)).max() > 0.1


def test_estimated_views_become_one_rig_again(tmp_path):
    arc = make_arc(2)
    for i, view in enumerate(arc):
        write(tmp_path / f"{i}.jpg", view.extrinsics, xmp=GPANO)
    scene = open_photos(tmp_path)
    assert not scene.posed
    assert [frame.rig for frame in scene.frames] == ["0.jpg"] * 8 + ["1.jpg"] * 8
    rig = open_photos(tmp_path / "0.jpg").extrinsics
    truth = np.concatenate([rig @ view.extrinsics for view in arc])
    rng = np.random.default_rng(0)
    found = {}
    for i in (0, 1, 3, 5, 8, 9, 12):  # some views each, turned by a degree and shifted
        found[i] = truth[i].copy()
        found[i][:3, :3] = cv2.Rodrigues(rng.normal(0, 0.01, 3))[0] @ truth[i][:3, :3]
        found[i][:3, 3] += rng.normal(0, 0.01, 3)
    placed = snapped(scene, found, range(16))
    assert sorted(placed) == list(range(16))
    for i in range(16):
        np.testing.assert_allclose(placed[i] @ np.linalg.inv(truth[i]), np.eye(4), atol=0.03)
        first = placed[i - i % 8]
        np.testing.assert_allclose(
            placed[i] @ np.linalg.inv(first), rig[i % 8] @ np.linalg.inv(rig[0]), atol=1e-9
        )


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not sfm.available(), reason="pycolmap is not installed (extra 'sfm')")
def test_several_panoramas_are_placed_by_structure_from_motion(tmp_path):
    """Panoramas put together from a procedural room's six cube faces."""
    world = procedural_world(12, "room", texture_size=512)
    start = sample_cameras(world, 1, (64, 64), torch.Generator().manual_seed(3), "orbit", zoom=False)
    poses, side = [], 512
    K = torch.tensor([[side / 2, 0, side / 2], [0, side / 2, side / 2], [0, 0, 1.0]])[None, None]
    quarter = np.pi / 2
    axes = [(0, 0, 0), (0, -quarter, 0), (0, np.pi, 0), (0, quarter, 0), (-quarter, 0, 0), (quarter, 0, 0)]
    turns = [cv2.Rodrigues(np.array(axis, float))[0] for axis in axes]
    lon, lat = (np.mgrid[:512, :1024][::-1] + 0.5) * np.pi / 512
    rays = np.stack(
        (np.sin(lon - np.pi) * np.sin(lat), -np.cos(lat), np.cos(lon - np.pi) * np.sin(lat)), axis=-1
    )
    for i in range(4):
        E = start.extrinsics[0, 0].double().numpy().copy()
        E[:3, 3] += np.array([0.12, 0.0, 0.05]) * i
        poses.append(E)
        image = np.zeros((512, 1024, 3), np.uint8)
        for turn in turns:
            pose = np.eye(4)
            pose[:3, :3] = turn
            face = Cameras(extrinsics=torch.tensor(pose @ E)[None, None].float(), intrinsics=K)
            shown = (
                render_world(world, face, (side, side)).radiance[0, 0].clamp(0, 1).permute(1, 2, 0).numpy()
            )
            local = rays @ turn.T
            mine = (local[..., 2] > 0) & (np.abs(local[..., :2]).max(-1) <= local[..., 2] * 1.01)
            x, y = np.moveaxis((local[..., :2] / local[..., 2:] + 1) * side / 2 - 0.5, -1, 0).astype(
                np.float32
            )
            image[mine] = (cv2.remap(shown, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) * 255)[
                mine
            ]
        Image.fromarray(image).save(tmp_path / f"{i}.jpg", quality=97, xmp=GPANO)
    placed = sfm.place_photos(open_photos(tmp_path))
    assert len(placed.indices) == 32
    centres = np.stack([-f.extrinsics[:3, :3].T @ f.extrinsics[:3, 3] for f in placed.scene.frames]).reshape(
        4, 8, 3
    )
    assert np.ptp(centres, axis=1).max() < 1e-9
    steps = np.diff(centres[:, 0], axis=0)
    np.testing.assert_allclose(
        steps / np.linalg.norm(steps[0]), np.repeat(steps[:1] / np.linalg.norm(steps[0]), 3, 0), atol=0.03
    )

"""Sets with depth: each miniature is written byte by byte in the set's own conventions.

What must come back is the room: cameras and z-depth in ours, images unchanged, views that agree.
"""

import gzip
import json

import cv2
import h5py
import numpy as np
import pytest
from scenes import (
    LOW,
    assert_cameras,
    assert_consistent,
    assert_depth,
    assert_images,
    make_room,
    render,
    save,
)

from geometry.datasets.arkitscenes import ARKitScenes, quarter_turns_upright
from geometry.datasets.blended_mvs import BlendedMVS
from geometry.datasets.co3d import CO3D
from geometry.datasets.hypersim import Hypersim, pinhole_from_uv
from geometry.datasets.scannetpp import ScanNetPP
from geometry.datasets.tartanair import TartanAir
from geometry.datasets.vkitti2 import VirtualKitti2
from geometry.datasets.wildrgbd import WildRGBD
from geometry.errors import InputError

H, W = 48, 64


def hide_files(root):
    """What macOS leaves beside each file on disks of other systems: no photo."""
    for path in [p for p in root.rglob("*") if p.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")


def save_millimetres(path, depth):
    save(path, np.round(depth * 1000).astype(np.uint16))


def quat_xyzw(R):
    axis = cv2.Rodrigues(R)[0][:, 0]
    angle = np.linalg.norm(axis)
    return (*(axis / angle * np.sin(angle / 2)), np.cos(angle / 2))


# --- CO3D ---


def write_co3d(root, room, form):
    """PyTorch3D: X_cam = X R + T, x left, y up; float16 depth as bits; paths relative to the root."""
    units = (min(H, W) / 2,) * 2 if form == "ndc_isotropic" else (W / 2, H / 2)
    frames = []
    for i, view in enumerate(room):
        base = f"cup/12_3_4/%s/frame{i + 1:06d}"
        files = {kind: base % kind for kind in ("images", "depths", "depth_masks", "masks")}
        save(root / f"{files['images']}.jpg", view.image, quality=98)
        bits = (view.depth / 2.5).astype(np.float16).view(np.uint16)
        save(root / f"{files['depths']}.jpg.geometric.png", bits)
        usable = np.full((H, W), 255, np.uint8)
        usable[:5] = 0
        save(root / f"{files['depth_masks']}.png", usable)
        save(root / f"{files['masks']}.png", np.where(view.depth < 4, 250, 3).astype(np.uint8))
        flip = np.diag([-1.0, -1.0, 1.0])
        K = view.intrinsics
        frames.append(
            {
                "sequence_name": "12_3_4",
                "frame_number": 10 + i,
                "frame_timestamp": 0.1 * i,
                "image": {"path": f"{files['images']}.jpg", "size": [H, W]},
                "depth": {
                    "path": f"{files['depths']}.jpg.geometric.png",
                    "scale_adjustment": 2.5,
                    "mask_path": f"{files['depth_masks']}.png",
                },
                "mask": {"path": f"{files['masks']}.png", "mass": 100.0},
                "viewpoint": {
                    "R": (flip @ view.extrinsics[:3, :3]).T.tolist(),
                    "T": (flip @ view.extrinsics[:3, 3]).tolist(),
                    "focal_length": [K[0, 0] / units[0], K[1, 1] / units[1]],
                    "principal_point": [(W / 2 - K[0, 2]) / units[0], (H / 2 - K[1, 2]) / units[1]],
                    "intrinsics_format": form,
                },
            }
        )
    frames.append({**frames[0], "sequence_name": "other", "viewpoint": None})
    scores = [
        {"sequence_name": "12_3_4", "viewpoint_quality_score": 1.5},
        {"sequence_name": "other", "viewpoint_quality_score": -2.0},
    ]
    for name, content in (("frame", frames[::-1]), ("sequence", scores)):
        with gzip.open(root / "cup" / f"{name}_annotations.jgz", "wt") as file:
            json.dump(content, file)


@pytest.mark.parametrize("form", ["ndc_isotropic", "ndc_norm_image_bounds"])
def test_co3d(tmp_path, room, form):
    write_co3d(tmp_path, room, form)
    source = CO3D(tmp_path, least_quality=0.0)
    assert source.names == ("cup/12_3_4",)
    scene = source[0]
    assert_cameras(scene, room)
    known = np.ones((H, W), bool)
    known[:5] = False
    assert_depth(scene, room, rtol=2e-3, known=known)
    assert_images(scene, room, atol=3)
    assert_consistent(scene)
    assert (scene.frames[0].load_objects() == (room[0].depth < 4)).all()
    with pytest.raises(InputError, match="expected posed frames of cup/other"):
        CO3D(tmp_path).read("cup/other")


# --- ScanNet++ ---


def write_scannetpp(root, room):
    folder = root / "data/036bce3393/dslr"
    frames = []
    for i, view in enumerate(room):
        name = f"DSC0{i}.JPG"
        save(folder / "resized_images" / name, view.image, quality=98)
        save_millimetres(folder / "render_depth" / f"DSC0{i}.png", view.depth)
        mask = np.full((H, W), 255, np.uint8)
        mask[:, :8] = 0
        save(folder / "resized_anon_masks" / f"DSC0{i}.png", mask)
        frames.append(
            {
                "file_path": name,
                "mask_path": f"DSC0{i}.png",
                "transform_matrix": view.opengl.tolist(),
                "is_bad": i == 2,
            }
        )
    (fx, _, cx), (_, fy, cy), _ = room[0].intrinsics
    content = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": W, "h": H, "camera_model": "PINHOLE"}
    (folder / "nerfstudio").mkdir()
    path = folder / "nerfstudio/transforms.json"
    path.write_text(json.dumps({**content, "frames": frames, "test_frames": frames[:1]}))
    return path


def test_scannetpp(tmp_path, room):
    write_scannetpp(tmp_path, room)
    scene = ScanNetPP(tmp_path)[0]
    assert scene.metric
    assert_cameras(scene, room[:2])  # the third is marked bad
    assert_depth(scene, room[:2])
    assert_consistent(scene)
    assert not scene.frames[0].load_mask()[:, :8].any()
    assert scene.frames[0].load_mask()[:, 8:].all()
    assert len(ScanNetPP(tmp_path, keep_bad=True)[0]) == 3
    assert len(ScanNetPP(tmp_path, split="test_frames")[0]) == 1


def test_scannetpp_fisheye_photos_and_depth_are_undistorted_together(tmp_path):
    """Equidistant lens: angle from the axis = radius / f. The room is drawn through it by hand."""
    f, (cx, cy) = 40.0, (33.0, 23.0)
    room = make_room()
    path = write_scannetpp(tmp_path, room)
    content = json.loads(path.read_text())
    content |= {"fl_x": f, "fl_y": f, "cx": cx, "cy": cy, "camera_model": "OPENCV_FISHEYE"}
    content |= {f"k{i}": 0.0 for i in range(1, 5)}
    path.write_text(json.dumps(content))
    x, y = np.meshgrid(np.arange(W) + 0.5 - cx, np.arange(H) + 0.5 - cy)
    radius = np.hypot(x, y)
    stretch = np.tan(radius / f) / radius  # ideal image coordinates per pixel
    for i, view in enumerate(room):
        wide = render(view.extrinsics, np.array([[120.0, 0, 480], [0, 120, 360], [0, 0, 1]]), (720, 960))
        maps = [(c * stretch * 120 + middle - 0.5).astype(np.float32) for c, middle in ((x, 480), (y, 360))]
        folder = path.parents[1]
        save(
            folder / f"resized_images/DSC0{i}.JPG", cv2.remap(wide.image, *maps, cv2.INTER_LINEAR), quality=98
        )
        save_millimetres(
            folder / f"render_depth/DSC0{i}.png",
            cv2.remap(wide.depth.astype(np.float32), *maps, cv2.INTER_LINEAR),
        )
    scene = ScanNetPP(tmp_path)[0]
    assert_consistent(scene, depth=0.03, colour=15)
    for frame, view in zip(scene.frames, room):
        expected = render(view.extrinsics, frame.intrinsics, frame.image_size)
        assert np.median(np.abs(frame.load_depth() / expected.depth - 1)) < 0.01


# --- BlendedMVS ---


def test_blended_mvs(tmp_path, room):
    folder = tmp_path / "5a3ca9cb270f0e3f14d0eddb"
    for i, view in enumerate(room):
        save(folder / f"blended_images/{i:08d}.jpg", view.image, quality=98)
        save(folder / f"blended_images/{i:08d}_masked.jpg", view.image // 2)
        depth = view.depth.copy()
        depth[-6:] = 0
        (folder / "rendered_depth_maps").mkdir(exist_ok=True)
        (folder / f"rendered_depth_maps/{i:08d}.pfm").write_bytes(
            f"Pf\n{W} {H}\n-1.000000\n".encode() + depth[::-1].astype("<f4").tobytes()
        )
        (folder / "cams").mkdir(exist_ok=True)
        rows = "\n".join(" ".join(map(repr, map(float, row))) for row in view.extrinsics)
        K = "\n".join(" ".join(map(repr, map(float, row))) for row in view.intrinsics)
        (folder / f"cams/{i:08d}_cam.txt").write_text(
            f"extrinsic\n{rows}\n\nintrinsic\n{K}\n\n1.0 0.1 128 9\n"
        )
    (folder / "cams/pair.txt").write_text("3\n")
    hide_files(tmp_path)
    scene = BlendedMVS(tmp_path)[0]
    assert_cameras(scene, room)
    known = np.ones((H, W), bool)
    known[-6:] = False
    assert_depth(scene, room, known=known)
    assert_images(scene, room, atol=3)
    assert_consistent(scene)
    (folder / "cams/00000001_cam.txt").write_text("extrinsic\n1 0 0\n")
    with pytest.raises(InputError, match=r"00000001_cam\.txt: expected an MVSNet camera file"):
        BlendedMVS(tmp_path)[0]


# --- Hypersim ---


def write_hdf5(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["dataset"] = data


def write_hypersim(root, room, cam_from_uv, unit=0.0254):
    scene = root / "ai_001_001"
    detail = scene / "_detail/cam_00"
    write_hdf5(detail / "camera_keyframe_orientations.hdf5", [v.opengl[:3, :3] for v in room])
    write_hdf5(detail / "camera_keyframe_positions.hdf5", [v.opengl[:3, 3] / unit for v in room])
    write_hdf5(detail / "camera_keyframe_frame_indices.hdf5", np.arange(len(room)) * 2)
    (scene / "_detail/metadata_scene.csv").write_text(
        f"parameter_name,parameter_value\nscene_name,ai_001_001\nmeters_per_asset_unit,{unit}\n"
    )
    columns = ",".join(f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3))
    values = ",".join(map(repr, map(float, np.ravel(cam_from_uv))))
    (root / "metadata_camera_parameters.csv").write_text(f"scene_name,{columns}\nai_001_001,{values}\n")
    for i, view in enumerate(room):
        stem = f"frame.{2 * i:04d}"
        save(scene / f"images/scene_cam_00_final_preview/{stem}.tonemap.jpg", view.image, quality=98)
        x, y = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
        rays = np.stack((x, y, np.ones_like(x)), -1) @ np.linalg.inv(view.intrinsics).T
        distance = (view.depth * np.linalg.norm(rays, axis=-1)).astype(np.float32)
        distance[0, 0] = np.nan
        write_hdf5(scene / f"images/scene_cam_00_geometry_hdf5/{stem}.depth_meters.hdf5", distance)


def uv_lens(K):
    """M_cam_from_uv of pinhole intrinsics: u right and v up in -1..1, rays in OpenGL axes."""
    (fx, _, cx), (_, fy, cy), _ = K
    return np.array([[W / 2 / fx, 0, (W / 2 - cx) / fx], [0, H / 2 / fy, (cy - H / 2) / fy], [0, 0, -1]])


def test_hypersim(tmp_path, room):
    write_hypersim(tmp_path, room, uv_lens(room[0].intrinsics))
    source = Hypersim(tmp_path)
    assert source.names == ("ai_001_001/cam_00",)
    scene = source[0]
    assert scene.metric
    assert_cameras(scene, room)
    known = np.ones((H, W), bool)
    known[0, 0] = False
    assert_depth(scene, room, known=known)
    assert_images(scene, room, atol=3)
    assert_consistent(scene)


def test_hypersim_tilted_lens(tmp_path, room):
    """The lens of a camera turned against its own pose: the pose must come back turned with it."""
    turn = cv2.Rodrigues(np.array([0.08, -0.05, 0.03]))[0]
    flip = np.diag([1.0, -1, -1])
    stated = []
    for view in room:
        E = view.extrinsics.copy()
        E[:3] = turn @ E[:3]  # the pose that the file states, off by the tilt
        stated.append(type(view)(view.image, view.depth, E, view.intrinsics))
    write_hypersim(tmp_path, stated, flip @ turn @ flip @ uv_lens(room[0].intrinsics))
    scene = Hypersim(tmp_path)[0]
    assert_cameras(scene, room)
    assert_consistent(scene)


def test_hypersims_usual_lens_has_sixty_degrees():
    """Numbers of the set's own table for most scenes: tan 30 degrees across, 3 / 4 of it down."""
    K, turn = pinhole_from_uv(np.diag([0.5773502886169104, 0.4330127164626828, -1.0]), (768, 1024))
    np.testing.assert_allclose(K, [[886.81, 0, 512], [0, 886.81, 384], [0, 0, 1]], atol=1e-2)
    np.testing.assert_allclose(turn, np.eye(3), atol=1e-12)


# --- TartanAir ---


@pytest.mark.parametrize("version", [1, 2])
def test_tartanair(tmp_path, version):
    K = np.array([[W / 2, 0, W / 2], [0, W / 2, H / 2], [0, 0, 1]])
    room = make_room(intrinsics=K)
    camera = "left" if version == 1 else "lcam_front"
    folder = tmp_path / ("abandonedfactory/Easy/P000" if version == 1 else "House/Data_easy/P000")
    lines = []
    for i, view in enumerate(room):
        # NED camera: forward, right, down. Columns of the rotation are those axes in the world.
        right, down, forward = view.cam_to_world[:3, :3].T
        R = np.stack((forward, right, down), axis=1)
        lines.append(" ".join(map(repr, map(float, (*view.cam_to_world[:3, 3], *quat_xyzw(R))))))
        save(folder / f"image_{camera}/{i:06d}_{camera}.png", view.image)
        depth = view.depth.astype("<f4")
        depth[:3] = 10_000
        path = folder / f"depth_{camera}/{i:06d}_{camera}_depth"
        path.parent.mkdir(exist_ok=True)
        if version == 1:
            np.save(f"{path}.npy", depth)
        else:  # as OpenCV writes four channels: blue first
            cv2.imwrite(f"{path}.png", depth.view(np.uint8).reshape(H, W, 4))
    (folder / f"pose_{camera}.txt").write_text("\n".join(lines))
    hide_files(tmp_path)
    scene = TartanAir(tmp_path)[0]
    assert scene.metric
    assert_cameras(scene, room, atol=1e-5)
    known = np.ones((H, W), bool)
    known[:3] = False
    assert_depth(scene, room, known=known)
    assert (scene.frames[0].load_sky() == ~known).all()
    assert_images(scene, room)
    assert_consistent(scene)


# --- Virtual KITTI 2 ---


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("classes", [False, True])
def test_vkitti2(tmp_path, room, merged, classes):
    def place(kind, rest):
        return tmp_path / ("" if merged else f"vkitti_2.0.3_{kind}") / "Scene01/clone" / rest

    intrinsics, extrinsics = ["frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]"], ["frame cameraID r1,1 r1,2"]
    for i, view in enumerate(room):
        save(place("rgb", f"frames/rgb/Camera_0/rgb_{i:05d}.jpg"), view.image, quality=98)
        depth = np.round(view.depth * 100).astype(np.uint16)
        depth[:4] = 65535
        save(place("depth", f"frames/depth/Camera_0/depth_{i:05d}.png"), depth)
        if classes:
            colours = np.full((H, W, 3), (140, 140, 140), np.uint8)
            colours[:7] = (90, 200, 255)
            save(
                place("classSegmentation", f"frames/classSegmentation/Camera_0/classgt_{i:05d}.png"), colours
            )
        (fx, _, cx), (_, fy, cy), _ = view.intrinsics
        for camera, shift in ((0, 0.0), (1, 5.0)):
            intrinsics.append(f"{i} {camera} {fx + shift} {fy} {cx - 0.5} {cy - 0.5}")
            extrinsics.append(
                f"{i} {camera} " + " ".join(map(repr, map(float, view.extrinsics.flatten() + 0)))
            )
    for name, lines in (("intrinsic", intrinsics), ("extrinsic", extrinsics)):
        path = place("textgt", f"{name}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))
    source = VirtualKitti2(tmp_path)
    assert source.names == ("Scene01/clone/Camera_0",)
    scene = source[0]
    assert scene.metric
    assert_cameras(scene, room)
    known = np.ones((H, W), bool)
    known[:4] = False
    assert_depth(scene, room, rtol=4e-3, known=known)
    assert scene.frames[1].load_sky()[: 7 if classes else 4].all()
    assert not scene.frames[1].load_sky()[7 if classes else 4 :].any()
    assert_consistent(scene)


# --- ARKitScenes ---


def write_arkit(root, room, turns=0, form="raw"):
    """The room with world z up, filmed by a turned device: stored pixels are the upright ones turned back."""
    name = "47333462"
    folder = root / "Training" / name if form == "raw" else root / "3dod/Training" / name / f"{name}_frames"
    up = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # y down to z up
    traj = []
    for i, view in enumerate(room):
        time = 100.0 + 0.1 * i
        image, depth, K, E = view.image, view.depth, view.intrinsics, view.extrinsics @ np.linalg.inv(up)
        for _ in range(turns):  # anticlockwise: the pixel (x, y) goes to (y, W - x)
            h, w = depth.shape
            image, depth = np.rot90(image), np.rot90(depth)
            K = np.array([[K[1, 1], 0, K[1, 2]], [0, K[0, 0], w - K[0, 2]], [0, 0, 1]])
            E = np.array([[0, 1.0, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ E
        h, w = depth.shape
        save(folder / f"vga_wide/{name}_{time:.3f}.png", np.ascontiguousarray(image))
        save_millimetres(folder / f"lowres_depth/{name}_{time:.3f}.png", depth)
        trust = np.full((h, w), 2, np.uint8)
        trust[:2] = 0
        save(folder / f"confidence/{name}_{time:.3f}.png", trust)
        pincam = folder / f"vga_wide_intrinsics/{name}_{time - 0.001 * (i % 2):.3f}.pincam"
        pincam.parent.mkdir(exist_ok=True)
        pincam.write_text(f"{w} {h} {K[0, 0]} {K[1, 1]} {K[0, 2]} {K[1, 2]}")
        axis = cv2.Rodrigues(E[:3, :3])[0][:, 0]
        traj.append(" ".join(map(repr, map(float, (time + 0.0004, *axis, *E[:3, 3])))))
    save(folder / f"vga_wide/{name}_999.000.png", room[0].image)  # no pose at that time
    (folder / "lowres_wide.traj").write_text("\n".join(traj))
    return up


@pytest.mark.parametrize("form", ["raw", "3dod"])
@pytest.mark.parametrize("turns", range(4))
def test_arkitscenes(tmp_path, room, turns, form):
    up = write_arkit(tmp_path, room, turns, form)
    hide_files(tmp_path)
    source = ARKitScenes(tmp_path)
    assert source.names == ("47333462",)
    scene = source[0]
    assert scene.metric
    expected = [type(v)(v.image, v.depth, v.extrinsics @ np.linalg.inv(up), v.intrinsics) for v in room]
    assert_cameras(scene, expected, atol=1e-5)
    assert_images(scene, room)
    assert_consistent(scene)
    trusted = scene.frames[0].load_depth() > 0
    assert trusted.sum() == H * W - 2 * (W if turns % 2 == 0 else H)


def test_arkit_devices_are_turned_by_the_direction_of_up():
    upright = np.eye(4)[[0, 2, 1, 3]] * np.array([[1], [-1], [1], [1.0]])  # looks along world y, z up
    assert quarter_turns_upright(upright[None]) == 0


# --- WildRGB-D ---


def test_wildrgbd(tmp_path, room):
    folder = tmp_path / "apple/scenes/scenes_000"
    lines = []
    for i, view in enumerate(room):
        save(folder / f"rgb/{i:05d}.png", view.image)
        save_millimetres(folder / f"depth/{i:05d}.png", view.depth)
        save(folder / f"masks/{i:05d}.png", np.where(view.depth < 4, 255, 0).astype(np.uint8))
        lines.append(" ".join(map(repr, map(float, (i, *view.cam_to_world.flatten())))))
    (folder / "cam_poses.txt").write_text("\n".join(lines))
    K = room[0].intrinsics
    (folder / "metadata").write_text(json.dumps({"w": W, "h": H, "K": K.T.flatten().tolist()}))
    (tmp_path / "apple/scenes/scenes_001").mkdir()
    (tmp_path / "apple/scenes/scenes_001/cam_poses.txt").write_text("")
    (tmp_path / "apple/types.json").write_text(json.dumps({"scenes_000": "single", "scenes_001": "hand"}))
    source = WildRGBD(tmp_path)
    assert source.names == ("apple/scenes_000",)
    scene = source[0]
    assert scene.metric
    assert_cameras(scene, room)
    assert_depth(scene, room)
    assert_images(scene, room)
    assert_consistent(scene)
    assert (scene.frames[1].load_objects() == (room[1].depth < 4)).all()


def test_the_room_is_where_its_numbers_say():
    """The miniature itself: a camera at the centre looking along z sees the wall at its distance."""
    view = render(np.eye(4), np.array([[32.0, 0, 32], [0, 32, 24], [0, 0, 1]]), (H, W))
    assert view.depth[24, 32] == 3.5
    assert view.depth[0, 32] == pytest.approx(-LOW[1] / (23.5 / 32))

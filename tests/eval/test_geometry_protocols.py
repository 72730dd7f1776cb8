"""Pose, reconstruction and depth benchmarks end to end, on miniatures in every set's layout."""

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image
from scenes import NO_POINTS, make_arc, render, save, write_capture

from eval.__main__ import main
from eval.benchmarks.dtu import read_camera
from eval.benchmarks.folder import Captures
from eval.benchmarks.procedural import Procedural
from eval.protocols import geometry as geometry_module
from eval.protocols.selection import Sample, Stretch, divide
from eval.run_folder import Store
from geometry.errors import InputError
from geometry.formats.colmap import ColmapCamera, model_from_cameras, write_model
from geometry.formats.ply import write_elements, write_points
from geometry.formats.text import read_object

SIZE = (70, 98)
SMALL = ["device=cpu", "process_res=98", "benchmark.reconstruction.fusion=points"]


@pytest.fixture(scope="module")
def room():
    return make_arc(6, size=SIZE)


def points_of(room):
    """The room's surface as its views see it."""
    clouds = []
    for view in room:
        H, W = view.depth.shape
        y, x = np.mgrid[:H, :W] + 0.5
        rays = np.stack((x, y, np.ones_like(x)), -1) @ np.linalg.inv(view.intrinsics).T
        camera = rays * view.depth[..., None]
        clouds.append((camera.reshape(-1, 3) - view.extrinsics[:3, 3]) @ view.extrinsics[:3, :3])
    return np.concatenate(clouds)


def write_mesh(path, room):
    """Every second pixel's quad as two triangles."""
    H, W = room[0].depth.shape
    points = points_of(room).astype(np.float32)
    corner = (np.arange(H - 1)[:, None] * W + np.arange(W - 1)).ravel()
    faces = np.concatenate(
        [np.stack(t, 1) for t in ((corner, corner + 1, corner + W), (corner + 1, corner + W + 1, corner + W))]
    )
    faces = np.concatenate([faces + v * H * W for v in range(len(room))])
    vertex = np.rec.fromarrays(points.T, dtype=[(n, "<f4") for n in "xyz"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_elements(path, [("vertex", vertex.dtype, len(vertex), [vertex])])
    header, end = path.read_bytes().split(b"end_header\n", 1)
    record = np.zeros(len(faces), [("n", "u1"), ("i", "<i4", 3)])
    record["n"], record["i"] = 3, faces
    lists = f"element face {len(faces)}\nproperty list uchar int vertex_indices\n".encode()
    path.write_bytes(header + lists + b"end_header\n" + end + record.tobytes())


def save16(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values).round().astype(np.uint16)).save(path)


def write_hiroom(root, room):
    folder = root / "data/a/b/c"
    for i, view in enumerate(room):
        save(folder / f"image/{i:03d}.png", view.image)
        save16(folder / f"depth/{i:03d}.png", view.depth / 100 * 65535)
        (folder / "pose").mkdir(exist_ok=True)
        np.save(folder / f"pose/{i:03d}.npy", view.extrinsics)
    np.save(folder / "cam_K.npy", room[0].intrinsics)
    (root / "selected_scene_list_val.txt").write_text("a/b/c\n")
    points = points_of(room)
    (root / "fused_pcd").mkdir()
    write_points(root / "fused_pcd/a-b-c.ply", points, np.zeros((len(points), 3), np.uint8))


def colmap_model(room, names, model="PINHOLE"):
    K = room[0].intrinsics
    params = tuple(K[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()) + (0.0,) * (4 if model == "OPENCV" else 0)
    made = model_from_cameras(
        names,
        np.stack([v.extrinsics for v in room]),
        np.stack([v.intrinsics for v in room]),
        [SIZE] * len(room),
        **NO_POINTS,
    )
    camera = ColmapCamera(model=model, image_size=SIZE, params=params)
    return type(made)(cameras=dict.fromkeys(made.cameras, camera), images=made.images, points=made.points)


def write_eth3d(root, room):
    folder = root / "relief"
    names = [f"dslr_images/DSC_{427 + 11 + i:04d}.JPG" for i in range(len(room))]  # 0438 is left out
    for name, view in zip(names, room):
        save(folder / "images" / name, view.image, quality=95)
        path = folder / "ground_truth_depth" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        depth = view.depth.astype("<f4")
        depth[0] = np.inf
        depth.tofile(path)
        mask = np.zeros(SIZE, np.uint8)
        mask[:, 0] = 1
        save(folder / "masks_for_images" / name.replace(".JPG", ".png"), mask)
    (folder / "dslr_calibration_jpg").mkdir()
    write_model(folder / "dslr_calibration_jpg", colmap_model(room, names))
    write_mesh(folder / "combined_mesh.ply", room)


def write_7scenes(root, room):
    folder = root / "stairs/seq-02"
    for i, view in enumerate(room):
        save(folder / f"frame-{i:06d}.color.png", view.image)
        depth = view.depth * 1000
        depth[0] = 65535
        save16(folder / f"frame-{i:06d}.depth.png", depth)
        np.savetxt(folder / f"frame-{i:06d}.pose.txt", view.cam_to_world)
    write_mesh(root / "meshes/stairs.ply", make_arc(len(room), size=SIZE))


def write_scannetpp(root, room):
    folder = root / "0a7cc12c0e/merge_dslr_iphone"
    names = [f"iphone_frame_{i:06d}.jpg" for i in range(len(room))]
    for name, view in zip([*names, "dslr_0.jpg"], [*room, room[0]]):
        save(folder / "images" / name, view.image, quality=95)
        save16(folder / "render_depth" / name.replace(".jpg", ".png"), view.depth * 1000)
    (folder / "colmap/sparse_render_rgb").mkdir(parents=True)
    model = colmap_model([*room, room[0]], [*names, "dslr_0.jpg"], "OPENCV")
    write_model(folder / "colmap/sparse_render_rgb", model)
    write_mesh(root / "0a7cc12c0e/scans/mesh_aligned_0.05.ply", room)


def write_cam(path, view, quarter=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    K = view.intrinsics.copy()
    K[:2, 2] -= 0.5
    K[:2] /= 4 if quarter else 1
    lines = ["extrinsic", *(" ".join(map(str, row)) for row in view.extrinsics), "", "intrinsic"]
    path.write_text("\n".join([*lines, *(" ".join(map(str, row)) for row in K), "", "425 2.5"]))


def write_dtu(root, room):
    for i, view in enumerate(room):
        save(root / f"Rectified/scan1/rect_{i + 1:03d}_3_r5000.png", view.image)
        write_cam(root / f"Cameras/{i:08d}_cam.txt", view)
        visual = np.full(SIZE, 200, np.uint8)
        visual[:2] = 0
        save(root / f"depth_raw/Depths/scan1/depth_visual_{i:04d}.png", visual)
    points = points_of(room)
    (root / "Points/stl").mkdir(parents=True)
    write_points(root / "Points/stl/stl001_total.ply", points, np.zeros((len(points), 3), np.uint8))
    folder = root / "SampleSet/mvs_data/ObsMask"
    folder.mkdir(parents=True)
    low = np.array([-4.0, -3.0, -4.0])
    mask = {"ObsMask": np.ones((9, 7, 9), np.uint8), "BB": np.stack((low, -low)), "Res": np.array([[1.0]])}
    scipy.io.savemat(folder / "ObsMask1_10.mat", mask)
    scipy.io.savemat(folder / "Plane1.mat", {"P": np.array([[0.0], [0.0], [0.0], [1.0]])})


def write_dtu64(root, room):
    for i, view in enumerate(room):
        save(root / f"scan1/image/{i:08d}.png", view.image)
        write_cam(root / f"Cameras/{i:08d}_cam.txt", view, quarter=True)


WRITERS = {
    "hiroom": write_hiroom,
    "eth3d": write_eth3d,
    "7scenes": write_7scenes,
    "scannetpp": write_scannetpp,
    "dtu": write_dtu,
    "dtu64": write_dtu64,
}


def write_answer(folder, scene, views, scale=0.5):
    """The exact depth and cameras in a world of another origin, direction and scale."""
    turn = np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.array([0.3, -1.0, 0.5]))[0]
    turn[:3, 3] = [1.0, 2.0, 3.0]
    E = np.stack([v.extrinsics for v in views]) @ np.linalg.inv(turn)
    E[:, :3, 3] *= scale
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / f"{scene.replace('/', '_')}.npz",
        depth=np.stack([v.depth for v in views]) * scale,
        extrinsics=E,
        intrinsics=np.stack([v.intrinsics for v in views]),
    )


def nvs_eval(*arguments):
    return main([str(a) for a in arguments])


def run(protocol, out, *more):
    assert nvs_eval("run", f"protocol={protocol}", f"out={out}", *SMALL, *more) == 0
    return read_object(Store(out, protocol).summary, "a run")


@pytest.mark.extended
@pytest.mark.parametrize("benchmark", list(WRITERS))
def test_every_layout_gives_exact_geometry_a_full_score(tmp_path, room, benchmark, capsys, monkeypatch):
    root, answer, views = tmp_path / "data", tmp_path / "made", room
    if benchmark == "7scenes":  # has one camera for every photo of every scene
        K = np.array([[585.0, 0, 320.5], [0, 585, 240.5], [0, 0, 1]])
        views = [render(view.extrinsics, K, (480, 640)) for view in room]
    WRITERS[benchmark](root, views)
    scenes = {"hiroom": "a/b/c", "eth3d": "relief", "7scenes": "stairs", "scannetpp": "0a7cc12c0e"}
    write_answer(answer, scenes.get(benchmark, "scan1"), views[1:] if benchmark == "eth3d" else views)
    data = [f"benchmark={benchmark}", f"benchmark.root={root}", "method=arrays", f"arrays.folder={answer}"]
    if benchmark == "dtu":
        data.append("benchmark.reconstruction.fusion=dtu")
    pose = run("pose", tmp_path / "out", *data)
    assert pose["means"]["auc3"] == pytest.approx(1.0)
    if benchmark != "dtu64":
        monkeypatch.setattr(geometry_module.GeometryProtocol, "predict", None)  # pose's answers are enough
        found = run("reconstruction", tmp_path / "out", *data)["means"]
        assert (
            found["overall"] < 0.15 if benchmark == "dtu" else found["fscore"] > 0.9
        )  # ScanNet++ leaves out depth beyond 5 m
        assert (found["fscore"] is None) == (benchmark == "dtu")
    assert nvs_eval("table", tmp_path / "out") == 0
    table = capsys.readouterr().out
    assert "DA3-Giant†" in table
    assert "| arrays of made |" in table


@pytest.mark.extended
def test_wrong_scale_of_depth_and_a_lost_camera_cost(tmp_path, room):
    root, answer = tmp_path / "data", tmp_path / "made"
    write_hiroom(root, room)
    data = ["benchmark=hiroom", f"benchmark.root={root}", "method=arrays", f"arrays.folder={answer}"]
    write_answer(answer, "a/b/c", room)
    arrays = dict(np.load(answer / "a_b_c.npz"))
    np.savez(answer / "a_b_c.npz", **arrays | {"depth": arrays["depth"] * 1.1})
    unposed = run("reconstruction", tmp_path / "a", *data)["means"]
    posed = run("reconstruction", tmp_path / "b", *data, "context_poses=given")["means"]
    assert unposed["fscore"] < 0.5
    assert posed["fscore"] < 0.5  # depth is taken as it is
    arrays["extrinsics"][2] = np.diag([-1.0, 1, -1, 1]) @ arrays["extrinsics"][2]  # looks back
    np.savez(answer / "a_b_c.npz", **arrays)
    lost = run("pose", tmp_path / "c", *data)["means"]
    assert lost["auc30"] == pytest.approx(1 - 5 / 15)  # all five pairs of one photo of six


def write_kitti(root, room):
    folder = root / "val_selection_cropped"
    for i, view in enumerate(room):
        save(folder / f"image/2011_09_26_drive_0002_sync_image_{i:010d}_image_02.png", view.image)
        name = f"2011_09_26_drive_0002_sync_groundtruth_depth_{i:010d}_image_02.png"
        save16(folder / "groundtruth_depth" / name, view.depth * 256)


def write_nyu(root, room):
    root.mkdir()
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = np.stack([v.image.transpose(2, 1, 0) for v in room])
        file["depths"] = np.stack([v.depth.T for v in room]).astype(np.float32)
    scipy.io.savemat(root / "splits.mat", {"testNdxs": np.arange(1, len(room) + 1)[:, None]})


def write_sintel(root, room):
    tag = np.float32(202021.25).tobytes()
    for i, view in enumerate(room):
        save(root / f"training/final/alley_1/frame_{i + 1:04d}.png", view.image)
        for kind, data in {
            "depth": np.int32(SIZE[::-1]).tobytes() + view.depth.astype("<f4").tobytes(),
            "camdata_left": (view.intrinsics - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]).tobytes()
            + view.extrinsics[:3].tobytes(),
        }.items():
            path = root / f"training/{kind}/alley_1/frame_{i + 1:04d}.{'dpt' if kind == 'depth' else 'cam'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tag + data)


def write_diode(root, room):
    folder = root / "val/indoors/scene_00019/scan_00183"
    for i, view in enumerate(room):
        save(folder / f"00019_00183_indoors_{i:03d}.png", view.image)
        np.save(folder / f"00019_00183_indoors_{i:03d}_depth.npy", view.depth[..., None].astype(np.float32))
        mask = np.ones(SIZE, np.float32)
        mask[:5] = 0
        np.save(folder / f"00019_00183_indoors_{i:03d}_depth_mask.npy", mask)


SINGLE = {
    "kitti": (write_kitti, "2011_09_26_drive_0002_sync"),
    "nyu": (write_nyu, "part_00"),
    "sintel": (write_sintel, "alley_1"),
    "diode": (write_diode, "indoors_scene_00019_scan_00183"),
}


@pytest.mark.parametrize("benchmark", list(SINGLE))
def test_depth_of_single_photos_in_every_layout(tmp_path, room, benchmark, capsys):
    root, answer = tmp_path / "data", tmp_path / "made"
    write, scene = SINGLE[benchmark]
    write(root, room)
    answer.mkdir()
    maps = {f"depth_{i}": 0.3 * view.depth + 0.2 for i, view in enumerate(room)}
    maps["depth_1"] = np.ones_like(maps["depth_1"])  # of one photo it knows nothing
    np.savez(answer / f"{scene}.npz", **maps)
    data = [f"benchmark={benchmark}", f"benchmark.root={root}", "method=arrays", f"arrays.folder={answer}"]
    summary = run("mono", tmp_path / "out", *data)
    images = summary["scenes"][0]["images"]
    assert [image["delta1"] > 0.999 for image in images] == [True, False, True, True, True, True]
    assert images[0]["abs_rel"] < 0.01
    assert summary["means"]["delta1"] == pytest.approx(np.mean([image["delta1"] for image in images]))
    assert nvs_eval("table", tmp_path / "out") == 0
    assert "DA3 teacher†" in capsys.readouterr().out


def test_a_sets_mean_of_depth_is_over_photos(tmp_path, room):
    root, answer = tmp_path / "data", tmp_path / "made"
    write_capture(root / "a", room[:2], depth=True)
    write_capture(root / "b", room[:4], depth=True)
    answer.mkdir()
    for name, count in (("a", 2), ("b", 4)):
        flat = np.ones(SIZE)
        np.savez(
            answer / f"{name}.npz", depth=np.stack([flat if name == "a" else v.depth for v in room[:count]])
        )
    data = [f"benchmark.root={root}", "method=arrays", f"arrays.folder={answer}"]
    summary = run("mono", tmp_path / "out", *data)
    flat, right = (scene["means"]["abs_rel"] for scene in summary["scenes"])
    assert summary["means"]["abs_rel"] == pytest.approx((2 * flat + 4 * right) / 6)


@pytest.mark.extended
def test_depth_of_photos_seen_together_has_one_scale(tmp_path, room):
    root, answer = write_capture(tmp_path / "room", room, depth=True), tmp_path / "made"
    write_answer(answer, "room", room)
    data = [f"benchmark.root={root}", "method=arrays", f"arrays.folder={answer}"]
    assert run("depth", tmp_path / "a", *data)["means"]["abs_rel"] < 0.01
    arrays = dict(np.load(answer / "room.npz"))
    arrays["depth"][2] *= 1.5
    np.savez(answer / "room.npz", **arrays)
    delta = [i["delta1"] for i in run("depth", tmp_path / "b", *data)["scenes"][0]["images"]]
    assert [d > 0.9 for d in delta] == [True, True, False, True, True, True]
    np.savez(answer / "room.npz", **arrays | {"depth": 1.1 * np.stack([v.depth for v in room])})
    given = run("depth", tmp_path / "c", *data, "context_poses=given")["means"]["abs_rel"]
    assert given == pytest.approx(0.1, abs=0.005)  # the given world has a scale


def test_chance_is_one_depth_and_dealt_cameras(tmp_path, room):
    root = write_capture(tmp_path / "room", room, depth=True)
    data = [f"benchmark.root={root}", "method=chance"]
    assert run("pose", tmp_path / "a", *data)["means"]["auc30"] < 0.9
    depth = np.stack([v.depth for v in room])
    flat = np.abs(np.median(depth) / depth - 1).mean()
    assert run("depth", tmp_path / "a", *data)["means"]["abs_rel"] == pytest.approx(flat, rel=0.01)


@pytest.mark.extended
def test_networks_functions_and_references_are_rows_of_one_table(tmp_path, room, capsys, monkeypatch):
    write_hiroom(tmp_path / "data", room)
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom geometry.prediction import Geometry\nfrom geometry.views import Cameras\n"
        "def find(views):\n"
        "    V, (H, W) = views.images.shape[1], views.image_size\n"
        "    E, K = torch.eye(4).repeat(1, V, 1, 1), torch.eye(3).repeat(1, V, 1, 1)\n"
        "    E[:, :, 0, 3] = torch.arange(V)\n"
        "    cameras = None if H == 70 and W == 70 else Cameras(extrinsics=E, intrinsics=K)\n"
        "    return Geometry(depth=torch.ones(1, V, H, W), cameras=cameras)\n"
        "find.weights, find.licence = 'none', 'mine'\n"
    )
    monkeypatch.chdir(tmp_path)
    data = ["benchmark=hiroom", "benchmark.root=data"]
    run("pose", "a", *data, "model=tiny")
    run("pose", "b", *data, "model=tiny", "ray_pose=true")
    run("pose", "c", *data, "method=mine:find")
    run("reconstruction", "a", *data, "model=tiny")
    assert nvs_eval("table", "a", "b", "c") == 0
    table = capsys.readouterr().out
    for row in ("| tiny |", "| tiny, cameras from rays |", "| mine:find |"):
        assert row in table
    assert table.count("###") == 2
    assert nvs_eval("report", "a", "b", "out=both.html") == 0
    page = (tmp_path / "both.html").read_text()
    for part in ("Camera poses", "Reconstruction", "depth, tiny, cameras from rays", "true depth"):
        assert part in page


@pytest.mark.slow
def test_classical_references_find_depth_and_cameras(tmp_path):
    data = [
        "benchmark=procedural",
        "benchmark.source.views=6",
        "benchmark.source.seeds=[2]",
        "process_res=504",
    ]
    for method, least in (("sweep", 0.8), ("stereo", 0.9)):
        posed = run("depth", tmp_path / method, *data, f"method={method}", "context_poses=given")["means"]
        assert posed["delta1"] > least
    assert run("pose", tmp_path / "sfm", *data, "method=sfm")["means"]["auc30"] > 0.8
    assert run("depth", tmp_path / "sfm", *data, "method=sfm")["means"]["delta1"] > 0.8
    world = Procedural(seeds=[0], views=2, image_size=(42, 56))
    scene, surface = world.read("room_0"), world.surface("room_0")
    local = surface @ scene.frames[1].extrinsics[:3, :3].T + scene.frames[1].extrinsics[:3, 3]
    depth = scene.frames[1].load_depth()
    np.testing.assert_allclose(local[-(depth > 0).sum() :, 2], depth[depth > 0], rtol=1e-4)


def test_sparse_points_are_truth_in_the_undistorted_photo(tmp_path, room):
    """What was found in undistorted photos is not undistorted once more."""
    names = [f"{i:03d}.png" for i in range(len(room))]
    for name, view in zip(names, room):
        save(tmp_path / "room/images" / name, view.image)
    points = points_of(room)[:: SIZE[0]]
    seen_by = np.repeat(np.arange(len(room)), len(points) // len(room))
    K = room[0].intrinsics
    made = model_from_cameras(
        names,
        np.stack([v.extrinsics for v in room]),
        np.stack([v.intrinsics for v in room]),
        [SIZE] * len(room),
        points=points,
        colours=np.zeros((len(points), 3), np.uint8),
        seen_by=seen_by,
    )
    lens = ColmapCamera(model="SIMPLE_RADIAL", image_size=SIZE, params=(*K[[0, 0, 1], [0, 2, 2]], 0.2))
    model = type(made)(cameras=dict.fromkeys(made.cameras, lens), images=made.images, points=made.points)
    write_model(tmp_path / "room/sparse/0", model)
    frame = Captures(tmp_path / "room", truth="points").read("room").frames[1]
    depth = frame.load_depth()
    y, x = np.nonzero(depth)
    pixels = np.stack((x + 0.5, y + 0.5), 1) * SIZE[1] / depth.shape[1]
    truth = points[seen_by == 1] @ frame.extrinsics[:3, :3].T + frame.extrinsics[:3, 3]
    expected = truth @ frame.intrinsics.T
    gap = np.linalg.norm((expected[:, :2] / expected[:, 2:])[:, None] - pixels, axis=-1)
    assert len(x) > 50
    assert gap.min(axis=0).max() < SIZE[1] / depth.shape[1]
    np.testing.assert_allclose(depth[y, x], truth[gap.argmin(axis=0), 2], rtol=1e-3)


def test_features_are_truth_where_no_points_are(tmp_path):
    room = make_arc(5, size=(140, 196))
    scene = Captures(write_capture(tmp_path / "room", room), truth="points").read("room")
    errors = []
    for frame, view in zip(scene.frames, room):
        depth = frame.load_depth()
        y, x = np.nonzero(depth)
        inside = (y * 140 // depth.shape[0], x * 196 // depth.shape[1])
        errors.append(np.abs(depth[y, x] / view.depth[inside] - 1))
    assert sum(map(len, errors)) >= 8  # the room has little texture
    assert np.median(np.concatenate(errors)) < 0.03


@pytest.mark.extended
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["protocol=pose", "context_poses=given"], "would tell them"),
        (["protocol=pose", "method=sweep"], "finds no cameras"),
        (["protocol=pose", "method=nearest"], "expected one of model, arrays, sweep, stereo, sfm"),
        (["protocol=pose", "metrics=[psnr]"], "expected some of auc3, auc5, auc15, auc30, got psnr"),
        (["protocol=pose", "sample.limit=0"], "sample: expected limit >= 1"),
        (["protocol=mono", "method=sweep"], "takes no photo alone"),
        (["protocol=pose", "method=arrays"], "arrays.folder=DIR"),
        (["protocol=poses"], "pose"),
        (["protocol=pose", "ray_pose=true", "model=untrained:mono-tiny"], "mono-tiny"),
        (["protocol=reconstruction", "benchmark.reconstruction.fusion=mesh"], "expected one of tsdf"),
    ],
)
def test_mistakes_are_named(tmp_path, capture, capsys, wrong, message):
    assert nvs_eval("run", f"out={tmp_path / 'a'}", f"benchmark.root={capture}", "device=cpu", *wrong) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert message in line


def test_a_hundred_photos_are_drawn_as_released():
    import random

    drawn, targets = divide([None] * 250, Sample())
    random.seed(42)
    indices = list(range(250))
    random.shuffle(indices)
    assert drawn == sorted(indices[:100])
    assert targets == []
    assert divide([None] * 49, Sample(first=33))[0] == [33, *range(33), *range(34, 49)]
    assert divide([None] * 7, Sample())[0] == list(range(7))


def test_a_stretch_of_video_has_its_ends_as_context():
    context, targets = divide([None] * 300, Stretch(context=6))
    assert context == [0, 20, 40, 59, 79, 99]
    assert len(targets) == 8
    assert not {*context} & {*targets}
    assert max(targets) < 100
    with pytest.raises(InputError, match="expected 12 context and 8 target photos"):
        divide([None] * 15, Stretch())


def test_cameras_of_dtu_are_of_the_photos_size(tmp_path, room):
    for quarter in (False, True):
        write_cam(tmp_path / "0_cam.txt", room[0], quarter)
        E, K = read_camera(tmp_path / "0_cam.txt", SIZE)
        np.testing.assert_allclose(E, room[0].extrinsics, atol=1e-6)
        np.testing.assert_allclose(K, room[0].intrinsics, atol=0.51 if quarter else 1e-6)

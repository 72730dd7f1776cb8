"""The scenes of every test: a room with exact cameras and depth, photos on disk, cameras, Gaussians.

The room's cameras turn and shift in all axes and have fx != fy and an off-centre principal point, so that
no flipped axis, transposed rotation or swapped size can go unnoticed. Tests of readers write it in a data
set's own layout and conventions; the reader must give it back in ours.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from geometry.formats import colmap
from geometry.ops import se3
from geometry.ops.pinhole import intrinsics_matrix
from geometry.ops.rotations import matrix_from_quat_xyzw
from geometry.scenes import transforms_json
from geometry.scenes.scene import Frame, Scene
from geometry.views import Cameras, Views
from nvs.cameras.orbit import look_at
from nvs.gaussians import Gaussians, rgb_to_sh
from nvs.rasterizer import rasterize

LOW, HIGH = np.array([-3.0, -2.0, -3.5]), np.array([3.0, 2.0, 3.5])
ARC_SIZE = (36, 64)  # the shape of 270 x 480
WALL = (24, 32)


@dataclass(frozen=True)
class View:
    image: np.ndarray  # uint8 [H, W, 3]
    depth: np.ndarray  # float64 [H, W], z
    extrinsics: np.ndarray  # world-to-camera, OpenCV
    intrinsics: np.ndarray  # first pixel centre at (0.5, 0.5)

    @property
    def cam_to_world(self):
        return np.linalg.inv(self.extrinsics)

    @property
    def opengl(self):
        """Camera-to-world with x right, y up, z back."""
        return self.cam_to_world @ np.diag([1.0, -1, -1, 1])


def make_room(views=3, size=(48, 64), intrinsics=None, seed=0):
    """Views from inside a box of 6 x 4 x 7 units, looking about along +z, overlapping widely."""
    rng = np.random.default_rng(seed)
    H, W = size
    K = np.array([[0.8 * W, 0, 0.53 * W], [0, 0.85 * W, 0.46 * H], [0, 0, 1]])
    K = K if intrinsics is None else np.asarray(intrinsics, float)
    room = []
    for v in range(views):
        angles = rng.uniform(-0.12, 0.12, 3) + np.array([0, 0.05 * v, 0])
        R = cv2.Rodrigues(angles)[0]
        centre = np.array([0.25 * v - 0.3, 0.1 * v, -1.0 + 0.15 * v]) + rng.uniform(-0.05, 0.05, 3)
        E = np.eye(4)
        E[:3, :3], E[:3, 3] = R, -R @ centre
        room.append(render(E, K, size))
    return room


def make_arc(count=10, size=ARC_SIZE, seed=0):
    """Views from inside the room along an arc, looking about along +z."""
    rng = np.random.default_rng(seed)
    H, W = size
    K = np.array([[0.9 * W, 0, 0.51 * W], [0, 0.9 * W, 0.48 * H], [0, 0, 1]])
    views = []
    for at in np.linspace(-1, 1, count):
        angles = np.array([0.05 * at, -0.25 * at, 0.02]) + rng.uniform(-0.03, 0.03, 3)
        centre = np.array([1.2 * at, 0.3 * at**2, -1.5]) + rng.uniform(-0.05, 0.05, 3)
        E = np.eye(4)
        E[:3, :3] = cv2.Rodrigues(angles)[0]
        E[:3, 3] = -E[:3, :3] @ centre
        views.append(render(E, K, size))
    return views


def render(E, K, size):
    H, W = size
    x, y = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
    rays = np.stack((x, y, np.ones_like(x)), -1) @ np.linalg.inv(K).T  # z = 1
    return View(*along_rays(E, rays), E, K)


def along_rays(E, rays):
    """Colour and depth, in lengths of the rays [..., 3] of a camera."""
    centre = -E[:3, :3].T @ E[:3, 3]
    direction = rays @ E[:3, :3]
    with np.errstate(divide="ignore"):
        exits = np.where(direction > 0, (HIGH - centre) / direction, (LOW - centre) / direction)
    depth = exits.min(-1)
    points = centre + depth[..., None] * direction
    waves = np.stack([np.sin(points @ f + p) for f, p in _WAVES], -1)  # [H, W, 6]
    colour = 127.5 + 60 * waves[..., :3] + 50 * waves[..., 3:]
    return colour.clip(0, 255).astype(np.uint8), depth


def panorama(E, height):
    """An equirectangular photo of the room: z ahead in its middle, y down, x to the right."""
    lon, lat = (np.mgrid[:height, : 2 * height][::-1] + 0.5) * np.pi / height
    lon, lat = lon - np.pi, lat - np.pi / 2
    rays = np.stack((np.sin(lon) * np.cos(lat), np.sin(lat), np.cos(lon) * np.cos(lat)), axis=-1)
    return along_rays(E, rays)[0]


_WAVES = [
    (np.array(f), p)
    for f, p in zip(
        [
            (1.1, 2.0, 0.7),
            (-1.6, 0.9, 1.3),
            (0.8, -1.4, 1.9),
            (2.9, 1.1, -2.3),
            (-2.2, 2.6, 1.7),
            (1.9, 2.4, 2.8),
        ],
        [0.1, 1.2, 2.3, 0.4, 1.5, 2.6],
    )
]


def scene_of(room, *, depth=True, name="room", **fields):
    """The room as a scene record, without files."""
    frames = [
        Frame(
            name=f"{i:02d}",
            image=(lambda v=v: v.image),
            image_size=v.image.shape[:2],
            extrinsics=v.extrinsics,
            intrinsics=v.intrinsics,
            depth=(lambda v=v: v.depth.astype(np.float32)) if depth else None,
        )
        for i, v in enumerate(room)
    ]
    return Scene(name=name, frames=tuple(frames), source=name, **fields)


def cameras_of(room):
    return Cameras(
        extrinsics=torch.stack([torch.tensor(view.extrinsics) for view in room])[None].float(),
        intrinsics=torch.stack([torch.tensor(view.intrinsics) for view in room])[None].float(),
    )


def views_of(room):
    images = torch.stack([torch.tensor(view.image).permute(2, 0, 1) for view in room])[None].float() / 255
    return Views(images=images, cameras=cameras_of(room))


def task_of(context, targets, *, posed):
    """A benchmark's question about two parts of a room."""
    from eval.methods.base import Task

    views = views_of(context)
    return Task(
        scene="room",
        context=views if posed else replace(views, cameras=None),
        photos=views,
        targets=cameras_of(targets),
        renders=tuple(f"{i}.png" for i in range(len(targets))),
        size=(36, 64),
    )


# --- Photos on disk ---


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def save_grey(path, size=(60, 80), value=0):
    return save(path, np.full((*size, 3), value, np.uint8))


def write_photos(folder, count, size=(60, 90), name="{:02d}.png"):
    """Smooth random photos, without a scene behind them."""
    rng = np.random.default_rng(0)
    names = [name.format(i) for i in range(count)]
    for photo in names:
        small = Image.fromarray(rng.integers(0, 255, (6, 9, 3), dtype=np.uint8))
        save(folder / photo, np.asarray(small.resize(size[::-1], Image.Resampling.BICUBIC)))
    return names


def write_arc_cameras(folder, names, size=(60, 90)):
    """transforms.json with a camera for each name, on an arc that wavers, looking at one point."""
    poses, K = [], np.array([[80.0, 0, size[1] / 2], [0, 80.0, size[0] / 2], [0, 0, 1]])
    for a in np.linspace(-0.3, 0.3, len(names)):
        c, s = np.cos(a), np.sin(a)
        poses.append([[c, 0, s, 0], [0, 1, 0, 0.05 * np.sin(9 * a)], [-s, 0, c, 4], [0, 0, 0, 1]])
    sizes, K = [size] * len(names), np.stack([K] * len(names))
    transforms_json.write_scene(folder / "transforms.json", names, np.array(poses), K, sizes)


def names_of(count):
    """Without leading zeros, so that natural order is not the order of letters."""
    return [f"frame_{i + 1}.png" for i in range(count)]


def write_room(folder, views, names=None):
    for name, view in zip(names or names_of(len(views)), views):
        save(folder / name, view.image)


def write_transforms(path, views, prefix="images/", full=1, names=None):
    """nerfstudio's file: OpenGL, camera-to-world; sizes of a resolution ``full`` times that of the photos."""
    H, W = views[0].image.shape[:2]
    K = views[0].intrinsics * full
    keys = {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "w": W * full, "h": H * full}
    frames = [
        {"file_path": f"{prefix}{name}", "transform_matrix": view.opengl.tolist()}
        for name, view in zip(names or names_of(len(views)), views)
    ]
    path.write_text(json.dumps({**keys, "camera_model": "OPENCV", "frames": frames[::-1]}))


def write_capture(folder, views, *, depth=False):
    """A person's own folder: photos in images/, transforms.json beside it, and depth/ in metres."""
    write_room(folder / "images", views)
    for i, view in enumerate(views if depth else ()):
        (folder / "depth").mkdir(exist_ok=True)
        np.save(folder / "depth" / f"{Path(names_of(len(views))[i]).stem}.npy", view.depth)
    write_transforms(folder / "transforms.json", views)
    return folder


def write_gps(path, latitude, longitude, height):
    """Give a photo a position, in degrees and metres, as cameras write it."""

    def parts(angle):
        minutes = abs(angle) % 1 * 60
        return int(abs(angle)), int(minutes), minutes % 1 * 60

    exif = Image.Exif()
    exif[0x8825] = {
        1: "S" if latitude < 0 else "N",
        2: parts(latitude),
        3: "W" if longitude < 0 else "E",
        4: parts(longitude),
        5: b"\1" if height < 0 else b"\0",
        6: abs(height),
    }
    image = Image.open(path)
    image.load()
    image.save(path, exif=exif)


def write_dl3dv(root, scene, views):
    """A scene of DL3DV-Benchmark: <hash>/nerfstudio/{transforms.json, images_8}; full-size cameras."""
    folder = root / scene / "nerfstudio"
    write_room(folder / "images_8", views)
    write_transforms(folder / "transforms.json", views, full=8)


NO_POINTS = {
    "points": np.zeros((0, 3)),
    "colours": np.zeros((0, 3), np.uint8),
    "seen_by": np.zeros(0, np.int64),
}


def write_colmap(scene_folder, views, model="sparse/0"):
    """images/ and a COLMAP model of PINHOLE cameras: Tanks and Temples, and undistorted MegaDepth."""
    write_room(scene_folder / "images", views)
    built = colmap.model_from_cameras(
        names_of(len(views)),
        np.stack([view.extrinsics for view in views]),
        np.stack([view.intrinsics for view in views]),
        [view.image.shape[:2] for view in views],
        **NO_POINTS,
    )
    colmap.write_model(scene_folder / model, built)


# --- Tensors ---


def smooth_images(views, size, generator):
    """[1, views, 3, H, W]"""
    coarse = torch.rand(views, 3, 5, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)[None]


def cameras_at(centres: Sequence[Sequence[float]], focal: Sequence[float], principal: Sequence[float]):
    """Cameras at these places, all looking along z."""
    extrinsics = torch.eye(4).repeat(1, len(centres), 1, 1)
    extrinsics[0, :, :3, 3] = -torch.tensor(centres)
    K = intrinsics_matrix(torch.tensor(focal), torch.tensor(principal))
    return Cameras(extrinsics=extrinsics, intrinsics=K.repeat(1, len(centres), 1, 1))


def random_cameras(generator, *batch, focal, principal, dtype=torch.float64):
    """Turned and placed at random: [*batch] = [B, V]."""
    focal, principal = (torch.as_tensor(v, dtype=dtype).expand(*batch, 2) for v in (focal, principal))
    quats = torch.randn(*batch, 4, generator=generator, dtype=dtype)
    places = torch.randn(*batch, 3, generator=generator, dtype=dtype)
    return Cameras(
        extrinsics=se3.from_rotation_translation(matrix_from_quat_xyzw(quats), places),
        intrinsics=intrinsics_matrix(focal, principal),
    )


def ring(azimuths_deg, *, radius=3.0, height=1.0, focus=(0.0, 0, 0), up=(0.0, -1, 0)):
    """Cameras (float64) around a point and ``height`` above it, looking at it."""
    focus, up = (torch.tensor(v, dtype=torch.float64) for v in (focus, up))
    angle = torch.tensor(azimuths_deg, dtype=torch.float64).deg2rad()
    offset = torch.stack((radius * angle.sin(), -height * torch.ones_like(angle), -radius * angle.cos()), -1)
    K = torch.tensor([[80.0, 0, 50], [0, 80, 40], [0, 0, 1]], dtype=torch.float64)
    extrinsics = se3.invert(look_at(focus + offset, focus, up))[None]
    return Cameras(extrinsics=extrinsics, intrinsics=K.expand(1, len(angle), 3, 3))


def make_gaussians(
    count: int, generator: torch.Generator, *, batch: int = 1, degree: int = 0, size: float = 0.08
) -> Gaussians:
    """Gaussians in a slab in front of a camera at the origin; quaternions are not unit length."""

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(batch, count, *shape, generator=generator)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(batch, count, *shape, generator=generator)

    spread = torch.tensor([2.0, 1.6, 2.0])
    return Gaussians(
        means=(uniform(3) - 0.5) * spread + torch.tensor([0.0, 0.0, 2.5]),
        quats=normal(4),
        scales=size * torch.exp(0.5 * normal(3)),
        opacities=uniform() * 0.98 + 0.01,
        sh=normal((degree + 1) ** 2, 3) * 0.4,
    )


def make_wall(generator, n=400):
    """A patterned wall, and photos of it from a row of cameras."""
    means = torch.rand(1, n, 3, generator=generator) * torch.tensor([4.0, 3.0, 0.1]) - torch.tensor(
        [2.0, 1.5, -4]
    )
    gaussians = Gaussians(
        means=means,
        quats=torch.tensor([1.0, 0, 0, 0]).expand(1, n, 4).contiguous(),
        scales=torch.full((1, n, 3), 0.12),
        opacities=torch.full((1, n), 0.8),
        sh=rgb_to_sh(0.5 + 0.4 * torch.sin(3 * means))[:, :, None],
    )
    cameras = cameras_at([(x, 0.0, 0.0) for x in (-0.6, -0.3, 0.0, 0.3, 0.6)], (30.0, 30.0), (16.0, 12.0))
    return gaussians, Views(images=rasterize(gaussians, cameras, WALL).rgb, cameras=cameras)


def turned_cameras(views: int, image_size: tuple[int, int], *, batch: int = 1) -> Cameras:
    """Cameras turned about y around the slab's centre; principal points are off centre."""
    H, W = image_size
    extrinsics = torch.eye(4).repeat(batch, views, 1, 1)
    for v in range(views):
        angle = 0.25 * (v - (views - 1) / 2) + 0.05
        c, s = math.cos(angle), math.sin(angle)
        rotation = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
        centre = torch.tensor([0.0, 0.0, 2.5])
        extrinsics[:, v, :3, :3] = rotation
        extrinsics[:, v, :3, 3] = centre - rotation @ centre + torch.tensor([0.05, -0.03, 0.1])
    focal = torch.tensor([1.1 * W, 1.15 * W]).expand(batch, views, 2)
    principal = torch.tensor([0.53 * W, 0.46 * H]).expand(batch, views, 2)
    return Cameras(extrinsics=extrinsics, intrinsics=intrinsics_matrix(focal, principal))


# --- What a reader returns ---


def assert_cameras(scene, room, *, atol=1e-6):
    """The scene's cameras are the room's, exactly."""
    assert len(scene) == len(room)
    for frame, view in zip(scene.frames, room):
        np.testing.assert_allclose(frame.extrinsics, view.extrinsics, atol=atol)
        np.testing.assert_allclose(frame.intrinsics, view.intrinsics, atol=atol * 100)
        assert tuple(frame.image_size) == view.image.shape[:2]


def assert_depth(scene, room, *, rtol=1e-3, known=None):
    """The scene's depth is the room's z-depth, where it is known."""
    for frame, view in zip(scene.frames, room):
        depth = frame.load_depth()
        where = np.ones(depth.shape, bool) if known is None else known
        np.testing.assert_allclose(depth[where], view.depth[where], rtol=rtol)
        assert (depth[~where] == 0).all()


def assert_images(scene, room, *, atol=0):
    for frame, view in zip(scene.frames, room):
        difference = np.abs(frame.load().astype(int) - view.image.astype(int))
        assert difference.mean() <= atol, difference.mean()


def reprojection(first, second):
    """Relative depth difference and colour difference, medians, of first's pixels seen again in second."""
    depth, target = first.load_depth(), second.load_depth()
    H, W = depth.shape
    K = scaled(first.intrinsics, first.image_size, depth.shape)
    x, y = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
    rays = np.stack((x, y, np.ones_like(x)), -1)[depth > 0] @ np.linalg.inv(K).T
    world = (rays * depth[depth > 0][:, None] - first.extrinsics[:3, 3]) @ first.extrinsics[:3, :3]
    local = world @ second.extrinsics[:3, :3].T + second.extrinsics[:3, 3]
    pixels = local @ second.intrinsics.T
    h, w = second.image_size
    pixels = pixels[:, :2] / pixels[:, 2:]
    inside = (local[:, 2] > 0) & (pixels >= 0).all(1) & (pixels < (w, h)).all(1)
    u, v = (pixels[inside] * (target.shape[1] / w, target.shape[0] / h)).astype(int).T
    seen = target[v, u] > 0
    relative = np.abs(local[inside, 2][seen] / target[v, u][seen] - 1)
    a = cv2.resize(first.load(), (W, H), interpolation=cv2.INTER_AREA)[depth > 0][inside][seen].astype(int)
    columns, rows = pixels[inside][seen].astype(int).T
    colour = np.abs(a - second.load()[rows, columns].astype(int)).mean(1)
    return np.median(relative), np.median(colour), len(relative)


def scaled(K, old, new):
    return np.diag([new[1] / old[1], new[0] / old[0], 1.0]) @ K


def assert_consistent(scene, *, depth=0.02, colour=12, least=100):
    """Every pair of frames agrees on depth and colour where they see the same."""
    for first, second in permutations(scene.frames, 2):
        relative, difference, count = reprojection(first, second)
        assert count >= least
        assert relative < depth, relative
        assert difference < colour, difference


def features(frame, longest=640):
    """SIFT places in the frame's pixels, and descriptors, found on a shrunk copy: quicker."""
    H, W = frame.image_size
    scale = min(1.0, longest / max(H, W))
    size = round(W * scale), round(H * scale)
    grey = cv2.resize(cv2.cvtColor(frame.load(), cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    keypoints, descriptors = cv2.SIFT_create(2000).detectAndCompute(grey, None)
    places = np.array([k.pt for k in keypoints]) + 0.5  # OpenCV counts pixel centres from 0
    return places * (W / size[0], H / size[1]), descriptors


def epipolar_error_px(first, second):
    """Median symmetric distance of SIFT matches to the epipolar lines of the given cameras."""
    (ka, da), (kb, db) = features(first), features(second)
    pairs = cv2.BFMatcher().knnMatch(da, db, k=2)
    good = [m for m, n in pairs if m.distance < 0.75 * n.distance]
    a, b = ka[[m.queryIdx for m in good]], kb[[m.trainIdx for m in good]]
    relative = second.extrinsics @ np.linalg.inv(first.extrinsics)
    R, t = relative[:3, :3], relative[:3, 3]
    cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
    F = np.linalg.inv(second.intrinsics).T @ cross @ R @ np.linalg.inv(first.intrinsics)
    a, b = np.c_[a, np.ones(len(a))], np.c_[b, np.ones(len(b))]
    value = np.abs(np.einsum("ni,ij,nj->n", b, F, a))
    da = value / np.linalg.norm((b @ F)[:, :2], axis=1)
    db = value / np.linalg.norm((a @ F.T)[:, :2], axis=1)
    return float(np.median((da + db) / 2)), len(good)


def write_colmap_text(folder: Path, model: colmap.ColmapModel) -> None:
    """A model's text form, by COLMAP's own writer, with one line of comment at the top of each file."""
    pycolmap = pytest.importorskip("pycolmap")
    colmap.write_model(folder, model)
    pycolmap.Reconstruction(folder).write_text(folder)
    for path in folder.glob("*.bin"):
        path.unlink()
        text = path.with_suffix(".txt")
        lines = [line for line in text.read_text().splitlines() if not line.startswith("#")]
        text.write_text("\n".join(["# of COLMAP", *lines]) + "\n")

"""A textured room with exact cameras and depth, and geometric checks of what a reader returns.

Tests write the room in a data set's own layout and conventions; the reader must give it back in ours.
The cameras turn and shift in all axes and have fx != fy and an off-centre principal point, so that no
flipped axis, transposed rotation or swapped size can go unnoticed.
"""

from dataclasses import dataclass
from itertools import permutations

import cv2
import numpy as np

LOW, HIGH = np.array([-3.0, -2.0, -3.5]), np.array([3.0, 2.0, 3.5])


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


def render(E, K, size):
    H, W = size
    x, y = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
    rays = np.stack((x, y, np.ones_like(x)), -1) @ np.linalg.inv(K).T  # z = 1
    centre = -E[:3, :3].T @ E[:3, 3]
    direction = rays @ E[:3, :3]
    with np.errstate(divide="ignore"):
        exits = np.where(direction > 0, (HIGH - centre) / direction, (LOW - centre) / direction)
    depth = exits.min(-1)
    points = centre + depth[..., None] * direction
    waves = np.stack([np.sin(points @ f + p) for f, p in _WAVES], -1)  # [H, W, 6]
    colour = 127.5 + 60 * waves[..., :3] + 50 * waves[..., 3:]
    return View(colour.clip(0, 255).astype(np.uint8), depth, E, K)


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


def scene_of(room, *, depth=True, name="room", **fields):
    """The room as a scene record, without files."""
    from geometry.scenes.scene import Frame, Scene

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

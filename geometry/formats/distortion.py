"""Lens distortion: families that cover COLMAP's and nerfstudio's camera models, and undoing it.

Ideal image coordinates (u, v) = (x/z, y/z) are distorted to (u', v'), then pixel = focal * (u', v') +
principal. With r^2 = u^2 + v^2:

- ``opencv`` (k1 k2 p1 p2 k3 k4 k5 k6): the rational radial and tangential model of OpenCV; SIMPLE_RADIAL,
  RADIAL, OPENCV and FULL_OPENCV are special cases.
- ``brown`` (k1 k2 k3 k4 p1 p2): radial polynomial in r^2 and tangential terms; Metashape and RealityCapture.
- ``fisheye`` (k1 k2 k3 k4 p1 p2 sx sy): (u, v) are first scaled to length theta = atan(r), then distorted by
  a radial polynomial in theta^2, tangential and thin-prism terms; OPENCV_FISHEYE and THIN_PRISM_FISHEYE.
- ``fisheye624`` (k0 ... k5 p0 p1 s0 s1 s2 s3): the same with six radial and four thin-prism terms, each
  applied to the result of the one before; COLMAP's RAD_TAN_THIN_PRISM_FISHEYE.
- ``fov`` (omega): r' = atan(2 r tan(omega / 2)) / omega; COLMAP's FOV.
- ``division`` (k): r = r' / (1 + k r'^2), the division model of Fitzgibbon 2001.
- ``eucm`` (alpha beta): (u, v) / (alpha sqrt(beta r^2 + 1) + 1 - alpha), the enhanced unified camera model of
  Khomutenko et al. 2016.
- ``panorama``: no lens, but a whole sphere. (u', v') = (longitude, latitude down), 2 pi wide and pi high.

One pinhole image cannot show a sphere, nor well what a lens of more than 140 degrees does: `Lens.turn` and
`Lens.half_view` make one square view of several.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock

import cv2
import numpy as np
from jaxtyping import Bool, Float

from geometry.errors import InputError

_COUNTS = {"opencv": 8, "brown": 6, "fisheye": 8, "fisheye624": 12, "fov": 1, "division": 1, "eucm": 2}
_COUNTS["panorama"] = 0
HALF_VIEW = float(np.deg2rad(50.0))  # of a view of a panorama
# A pinhole image of a very wide lens is all stretched border: beyond this half angle we cut instead.
_WIDEST_HALF_ANGLE_RAD = np.deg2rad(70.0)
_LEAST_HALF_VIEW_RAD = np.deg2rad(25.0)  # of a view of a wide lens
_NEGLIGIBLE_PX = 0.02


@dataclass(frozen=True, kw_only=True)
class Lens:
    """A camera as files store it, distortion included; the first pixel's centre is at (0.5, 0.5)."""

    image_size: tuple[int, int]  # (H, W) to which the pixels below refer
    focal: tuple[float, float]  # fx, fy, pixels
    principal: tuple[float, float]  # cx, cy, pixels
    family: str = "opencv"
    coefficients: tuple[float, ...] = ()  # in the family's order, missing ones are 0
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)  # rotation vector, from the lens's axes to the view's
    half_view: float = 0.0  # radians from a view's middle to its edges; 0: one image of all

    def __post_init__(self) -> None:
        if self.family not in _COUNTS or len(self.coefficients) > _COUNTS[self.family]:
            raise ValueError(f"no distortion {self.family!r} with {len(self.coefficients)} coefficients")
        numbers = (*self.focal, *self.principal, *self.coefficients)
        if not all(np.isfinite(numbers)) or min(self.focal) <= 0 or min(self.image_size) < 1:
            raise InputError(
                f"expected a camera with finite numbers, positive focal length and size, got size (H, W) "
                f"{self.image_size}, focal {self.focal}, principal point {self.principal}, "
                f"distortion {self.coefficients}"
            )

    @property
    def intrinsics(self) -> Float[np.ndarray, "3 3"]:
        (fx, fy), (cx, cy) = self.focal, self.principal
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])

    def resized(self, image_size: tuple[int, int]) -> "Lens":
        """The same lens for the image resized to (H, W)."""
        sy, sx = (new / old for new, old in zip(image_size, self.image_size))
        return replace(
            self,
            image_size=tuple(image_size),  # type: ignore[arg-type]
            focal=(self.focal[0] * sx, self.focal[1] * sy),
            principal=(self.principal[0] * sx, self.principal[1] * sy),
        )

    @property
    def pinhole_size(self) -> tuple[int, int]:
        """(H, W) of the undistorted image: the photo's own, or that of a view, as sharp as it."""
        if not self.half_view:
            return self.image_size
        side = max(2, round(2 * self.focal[0] * np.tan(self.half_view)))
        return side, side

    @property
    def is_pinhole(self) -> bool:
        """Whether distortion moves no pixel of the image by more than a fiftieth of a pixel."""
        if self.half_view or (self.family == "opencv" and not any(self.coefficients)):
            return not self.half_view
        pixels = _border(self.image_size)
        return bool(np.abs(self._distorted_pixels(pixels, self.intrinsics) - pixels).max() < _NEGLIGIBLE_PX)

    def distort(self, ideal: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
        """Distorted image coordinates of ideal ones (of a view: its own), both at focal length 1."""
        if not any(self.turn):
            return self._distort(ideal, np.ones_like(ideal[..., 0]))
        rays = np.concatenate((ideal, np.ones_like(ideal[..., :1])), axis=-1) @ _turned(self.turn)
        return self._distort(rays[..., :2], rays[..., 2])

    def _distort(self, ideal: Float[np.ndarray, "*n 2"], z: Float[np.ndarray, "*n"]) -> np.ndarray:
        """Distorted coordinates of rays (x, y, z) in the lens's axes; NaN where the model knows none."""
        c = (*self.coefficients, *[0.0] * (_COUNTS[self.family] - len(self.coefficients)))
        if self.family == "panorama":
            x, y = ideal[..., 0], ideal[..., 1]
            return np.stack((np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))), axis=-1)
        if self.family in ("fisheye", "fisheye624"):  # by the angle, which may be beyond 90 degrees
            r = np.maximum(np.hypot(ideal[..., 0], ideal[..., 1]), 1e-9)
            theta = np.arctan2(r, z)
            ideal = ideal * (theta / r)[..., None]
        else:
            ideal = ideal / np.where(z > 1e-9, z, np.nan)[..., None]
        u, v = ideal[..., 0], ideal[..., 1]
        if self.family == "fov":
            r = np.maximum(np.hypot(u, v), 1e-9)
            omega = c[0]
            factor = (
                np.ones_like(r) if abs(omega) < 1e-9 else np.arctan(2 * r * np.tan(omega / 2)) / (r * omega)
            )
            return ideal * factor[..., None]
        r2 = u * u + v * v
        if self.family == "division":
            with np.errstate(invalid="ignore"):  # NaN beyond the widest angle that the model has
                return ideal * (2 / (1 + np.sqrt(1 - 4 * c[0] * r2)))[..., None]
        if self.family == "eucm":
            return ideal / (c[0] * np.sqrt(c[1] * r2 + 1) + 1 - c[0])[..., None]
        sx = sy = 0.0
        if self.family == "fisheye624":
            powers = np.stack([theta ** (2 * i) for i in range(7)])
            scaled = ideal * np.tensordot((1.0, *c[:6]), powers, axes=1)[..., None]
            r2 = (scaled**2).sum(-1, keepdims=True)
            tangential = np.array(c[6:8])
            scaled = scaled * (1 + 2 * (scaled @ tangential)[..., None]) + tangential * r2
            return scaled + np.array(c[8::2]) * r2 + np.array(c[9::2]) * r2**2
        if self.family in ("brown", "fisheye"):
            k1, k2, k3, k4, p1, p2, sx, sy = (*c, 0.0, 0.0)[:8]
            r2 = u * u + v * v
            radial = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4)))
        else:
            k1, k2, p1, p2, k3, k4, k5, k6 = c
            r2 = u * u + v * v
            radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        du = u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u * u) + sx * r2
        dv = v * radial + 2 * p2 * u * v + p1 * (r2 + 2 * v * v) + sy * r2
        return np.stack((du, dv), axis=-1)

    def _distorted_pixels(self, pixels: np.ndarray, pinhole: np.ndarray) -> np.ndarray:
        """Where the pixels of a pinhole image lie in the distorted one."""
        ideal = (pixels - pinhole[:2, 2]) / (pinhole[0, 0], pinhole[1, 1])
        return self.distort(ideal) * self.focal + self.principal


def sphere(size: tuple[int, int]) -> Lens:
    """The lens of a whole panorama stored as (H, W); its undistorted image is the view ahead."""
    H, W = size
    focal, principal = (W / (2 * np.pi), H / np.pi), (W / 2, H / 2)
    return Lens(image_size=size, focal=focal, principal=principal, family="panorama", half_view=HALF_VIEW)


@lru_cache(maxsize=1024)
def wide_views(lens: Lens) -> tuple[Lens, ...]:
    """Square views of at most 100 degrees that show together what a lens of more than 140 degrees does.

    One ahead, and one to each side to which the photo reaches farther than one pinhole image would, as far
    out as it can be without a blank pixel. Empty for other lenses.
    """
    sides = np.array([(0, -1, 0), (0, 1, 0), (1, 0, 0), (-1, 0, 0)])  # axes of turns: right, left, up, down
    widest = _WIDEST_HALF_ANGLE_RAD + 0.01
    far = _shown(lens, np.stack([_turned(side * widest)[2] for side in sides]))
    if lens.half_view or not far.any():
        return ()
    views = [(_widest_view(lens, (0.0, 0.0, 0.0)), (0.0, 0.0, 0.0))]
    for side in sides[far]:
        found = []
        for angle in np.deg2rad(range(20, 80, 5)):
            turn = tuple((side * angle).tolist())
            half = _widest_view(lens, turn)
            if half >= _LEAST_HALF_VIEW_RAD and angle + half > widest:
                found.append((round(angle + half, 2), half, turn))
        views += [max(found)[1:]] if found else []
    return tuple(replace(lens, turn=turn, half_view=half) for half, turn in views) if len(views) > 1 else ()


def _widest_view(lens: Lens, turn: tuple[float, ...]) -> float:
    """Half the angle of the widest square view, turned so, of which the photo shows all; 0 for none."""
    edge = 2 * (_border((2, 2), 17) - 1)  # of a square of half width 1

    def fits(half: float) -> bool:
        rays = np.concatenate((edge * np.tan(half), np.ones_like(edge[:, :1])), axis=-1)
        return bool(_shown(lens, rays @ _turned(turn)).all())

    if fits(HALF_VIEW):
        return HALF_VIEW
    low, high = 0.0, HALF_VIEW
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _shown(lens: Lens, rays: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
    """Whether a photo shows what lies along rays of its lens; not where the distortion has folded back."""
    side = np.hypot(rays[:, 0], rays[:, 1])
    out = rays[:, :2] / np.maximum(side, 1e-9)[:, None]
    angle = np.linspace(0.02, 1.0, 50)[:, None] * np.arctan2(side, rays[:, 2])  # from the axis outwards
    with np.errstate(all="ignore"):
        distorted = lens._distort(out * np.sin(angle)[..., None], np.cos(angle)) * lens.focal
        growing = (np.diff(np.linalg.norm(distorted, axis=-1), axis=0) > 0).all(axis=0)
        pixels = distorted[-1] + lens.principal
        return growing & (pixels >= 0).all(axis=-1) & (pixels <= lens.image_size[::-1]).all(axis=-1)


def _turned(turn: tuple[float, ...] | np.ndarray) -> Float[np.ndarray, "3 3"]:
    return cv2.Rodrigues(np.asarray(turn, np.float64))[0]


@lru_cache(maxsize=1024)  # a few numbers per distinct camera
def _pinhole_scale(lens: Lens) -> float:
    """Smallest focal-length factor for which every pinhole pixel lies inside the distorted image."""
    if lens.is_pinhole:
        return 1.0
    H, W = lens.image_size
    border = _border(lens.image_size)
    along = np.linspace(0.02, 1.0, 50)[:, None, None]

    def valid(scale: float) -> bool:
        ideal = (border - lens.principal) / lens.focal / scale
        if np.hypot(*ideal.T).max() > np.tan(_WIDEST_HALF_ANGLE_RAD):
            return False
        distorted = lens.distort(along * ideal) * lens.focal  # [50, n, 2], from the centre outwards
        radius = np.linalg.norm(distorted, axis=-1)
        if not np.isfinite(radius).all() or (np.diff(radius, axis=0) <= 0).any():
            return False  # the polynomial has folded back: those coefficients hold only further in
        pixels = distorted[-1] + lens.principal
        # Half a pixel of tolerance: beyond the outermost centres the edge pixel is repeated.
        return bool((pixels >= 0).all() and (pixels <= (W, H)).all())

    low, high = 0.2, 8.0
    if not valid(high):
        raise InputError(
            f"expected lens distortion that can be undone, got {lens.family} {lens.coefficients} for focal "
            f"{lens.focal} and size (H, W) {lens.image_size}"
        )
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if valid(middle) else (middle, high)
    return high


def pinhole_intrinsics(lens: Lens) -> Float[np.ndarray, "3 3"]:
    """Intrinsics of the undistorted image: same size and principal point, one factor on both focal lengths.

    The factor is the smallest that leaves no blank pixel, so the image shows as much as a full
    rectangle can; very wide lenses are cut at 70 degrees from the axis.

    Raises:
        InputError: the coefficients fold the image over everywhere.
    """
    intrinsics = lens.intrinsics
    if lens.half_view:
        middle = lens.pinhole_size[0] / 2
        focal = middle / np.tan(lens.half_view)
        return np.array([[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]])
    intrinsics[:2, :2] *= _pinhole_scale(lens)
    return intrinsics


def undistort(image: np.ndarray, lens: Lens, *, nearest: bool = False) -> np.ndarray:
    """The pinhole image of `pinhole_intrinsics`, same size and dtype; ``nearest`` is for masks and depth."""
    if lens.is_pinhole:
        return image
    with _REMAP_LOCK:  # threads that load photos of one camera share one table instead of racing for it
        coordinates, weights = _remap_tables(lens, nearest)
    mode = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    # A sphere has no border: its last column lies beside its first.
    border = cv2.BORDER_WRAP if lens.family == "panorama" else cv2.BORDER_REPLICATE
    return cv2.remap(image, coordinates, weights, mode, borderMode=border)


_REMAP_LOCK = Lock()


@lru_cache(maxsize=1)  # photos of one camera come in a row; 6 bytes per pixel
def _remap_tables(lens: Lens, nearest: bool) -> tuple[np.ndarray, np.ndarray | None]:
    H, W = lens.pinhole_size
    pinhole = pinhole_intrinsics(lens)
    coordinates = np.empty((H, W, 2), np.int16)
    weights = None if nearest else np.empty((H, W), np.uint16)
    for top in range(0, H, 128):  # in strips: the temporaries of a 12-megapixel photo would take a gigabyte
        rows = slice(top, min(top + 128, H))
        y, x = np.mgrid[rows, :W].astype(np.float32) + np.float32(0.5)
        source = lens._distorted_pixels(np.stack((x, y), axis=-1), pinhole) - 0.5
        strip = cv2.convertMaps(source.astype(np.float32), None, cv2.CV_16SC2, nninterpolation=nearest)
        coordinates[rows] = strip[0]
        if weights is not None:
            weights[rows] = strip[1]
    return coordinates, weights


def _border(image_size: tuple[int, int], steps: int = 33) -> Float[np.ndarray, "n 2"]:
    """Centres of pixels around the image's border, and its corners."""
    H, W = image_size
    x, y = np.linspace(0.5, W - 0.5, steps), np.linspace(0.5, H - 0.5, steps)
    edges = [(x, np.full(steps, 0.5)), (x, np.full(steps, H - 0.5))]
    edges += [(np.full(steps, 0.5), y), (np.full(steps, W - 0.5), y)]
    return np.concatenate([np.stack(edge, axis=-1) for edge in edges])

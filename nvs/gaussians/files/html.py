"""One HTML file that shows the Gaussians in any browser with WebGL 2, from disk and without network.

The page is PlayCanvas' SuperSplat viewer with its engine (MIT; the text stands in every file), bundled by
``scripts/bundle_viewer.py``. The Gaussians are in it as a SOG, with that format's losses.
"""

import base64
import gzip
import html
import json
import re
from pathlib import Path
from typing import Any, Literal

import torch

from geometry.atomic import atomic_file
from geometry.errors import InputError
from geometry.ops import se3
from geometry.views import Cameras
from nvs.cameras.transform import turn_cameras
from nvs.gaussians.files import sog
from nvs.gaussians.files.common import AXES_FLIP, read_bytes
from nvs.gaussians.record import Gaussians
from nvs.gaussians.transform import turn_gaussians

VIEWER_VERSION = "1.36.2"  # of @playcanvas/supersplat-viewer on npm, which brings engine 2.22.6
PAGE = Path(__file__).parent / "viewer/page.html.gz"
PAGE_SHA256 = "1d67cd72fbec3d7d84150b63c744a6e2e55930dc34b37296ae520f73b438184b"  # unpacked

_PLACE = re.compile(r'(<script type="application/json" id="sse-bootstrap">)(.*?)(</script>)', re.DOTALL)
_DATA = "data:application/octet-stream;base64,"
_TO_VIEWER = torch.tensor([-1.0, -1.0, 1.0])  # the viewer turns what a SOG holds half around z
_LONGEST = 600.0  # seconds of an animation
_KEYS = 60  # between which the viewer's camera moves along a spline


def write(
    path: Path | str,
    gaussians: Gaussians,
    *,
    world: Literal["y_down", "y_up"] = "y_down",
    title: str = "Gaussians",
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    cameras: Cameras | None = None,
    image_size: tuple[int, int] = (1, 1),
    fps: float = 24,
) -> int:
    """Write a page of 2 MB and the Gaussians as a SOG: all SH degrees.

    Args:
        world: axes of the Gaussians' world; the viewer keeps its y level.
        background: sRGB in 0..1.
        cameras: [1, V, ...] in the Gaussians' world, through which the viewer flies back and forth until
            somebody takes over; one is where it starts to circle; None frames all Gaussians.
        image_size: (H, W) to which the intrinsics refer.
        fps: cameras a second.
    """
    if world == "y_up":
        gaussians = turn_gaussians(gaussians, AXES_FLIP.to(gaussians.means)[None])
        cameras = cameras and turn_cameras(cameras, AXES_FLIP.to(cameras.extrinsics)[None])
    packed, count = sog.encode(path, gaussians)
    off = {"enabled": False}
    bootstrap = {
        "settings": {
            "version": 2,
            "tonemapping": "none",
            "highPrecisionRendering": False,
            "background": {"color": list(background)},
            "postEffectSettings": {
                "sharpness": {**off, "amount": 0},
                "bloom": {**off, "intensity": 0.1, "blurLevel": 2},
                "grading": {**off, "brightness": 1, "contrast": 1, "saturation": 1, "tint": [1, 1, 1]},
                "vignette": {**off, "intensity": 0.5, "inner": 0.3, "outer": 0.75, "curvature": 1},
                "fringing": {**off, "intensity": 0.5},
            },
            "annotations": [],
            **_camera_settings(gaussians, cameras, image_size, fps),
        },
        "contentFilename": "scene.sog",
        "contentUrl": _DATA + base64.b64encode(packed).decode(),
    }
    page = gzip.decompress(PAGE.read_bytes()).decode()
    page = page.replace("<title>SuperSplat Viewer</title>", f"<title>{html.escape(title)}</title>")
    text = json.dumps(bootstrap, allow_nan=False).replace("<", "\\u003c")
    page = _PLACE.sub(lambda found: found[1] + text + found[3], page, count=1)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return count


def read(path: Path | str) -> Gaussians:
    """The Gaussians of a page of `write`, with y down.

    Raises:
        InputError: not such a page.
    """
    found = _PLACE.search(read_bytes(path).decode("utf-8", errors="replace"))
    try:
        url = json.loads(found[2])["contentUrl"] if found else ""
        data = base64.b64decode(url.removeprefix(_DATA), validate=True) if url.startswith(_DATA) else b""
    except (KeyError, TypeError, ValueError, AttributeError):
        data = b""
    if not data:
        raise InputError(f"{path}: expected a page that `nvs export --to html` wrote, found no splats in it")
    return sog.decode(path, data)


def _camera_settings(
    gaussians: Gaussians, cameras: Cameras | None, image_size: tuple[int, int], fps: float
) -> dict[str, Any]:
    """Where the viewer starts, and the flight, in its axes: y up."""
    if cameras is None:
        return {"cameras": [], "animTracks": [], "startMode": "default"}
    total = cameras.extrinsics.shape[1]
    some = torch.linspace(0, total - 1, min(total, _KEYS)).round().long()
    E = cameras.extrinsics[0, some].double().cpu()
    centres, ahead = se3.centres(E), E[:, 2, :3]
    distance = _distances(gaussians, cameras[:, some], image_size)
    places, targets = centres * _TO_VIEWER, (centres + distance[:, None] * ahead) * _TO_VIEWER
    side = 1 if image_size[0] > image_size[1] else 0  # the viewer means the longer side of its window
    focal = cameras.intrinsics[0, some].double().cpu()[:, side, side]
    fovs = (2 * torch.atan(max(image_size) / 2 / focal)).rad2deg().tolist()
    first = {"position": places[0].tolist(), "target": targets[0].tolist(), "fov": fovs[0]}
    settings = {"cameras": [{"initial": first}], "animTracks": [], "startMode": "default"}
    if total == 1:
        return settings
    rate = max(fps, total / _LONGEST)
    track = {
        "name": "path",
        "duration": total / rate,
        "frameRate": rate,
        "loopMode": "pingpong",
        "interpolation": "spline",
        "smoothness": 1,
        "keyframes": {
            "times": some.tolist(),
            "values": {
                "position": places.flatten().tolist(),
                "target": targets.flatten().tolist(),
                "fov": fovs,
            },
        },
    }
    return {**settings, "animTracks": [track], "startMode": "animTrack"}


def _distances(gaussians: Gaussians, cameras: Cameras, image_size: tuple[int, int]) -> torch.Tensor:
    """Median z-depth of what is opaque in the middle of each camera's image: what it turns around."""
    means = gaussians.means[0, gaussians.opacities[0] >= 0.5].double().cpu()
    means = means[:: max(1, len(means) // 20_000)]
    distances = []
    for E, K in zip(cameras.extrinsics[0].double().cpu(), cameras.intrinsics[0].double().cpu()):
        x, y, z = (means @ E[:3, :3].T + E[:3, 3]).unbind(-1)
        reach = torch.tensor(image_size[::-1]) / K.diagonal()[:2] / 4  # of the middle half, at z = 1
        inside = (z > 0) & (x.abs() < reach[0] * z) & (y.abs() < reach[1] * z)
        distances.append(
            z[inside].median() if inside.any() else z.abs().median() if len(z) else z.new_ones(())
        )
    return torch.stack(distances)

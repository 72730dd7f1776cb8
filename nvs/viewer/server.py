"""The viewer's server: what is shown, and the panels that change it."""

import math
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry.errors import InputError
from geometry.ops import se3
from geometry.ops.rotations import (
    matrix_from_quat_xyzw,
    quat_xyzw_from_matrix,
    wxyz_from_xyzw,
    xyzw_from_wxyz,
)
from geometry.results import result_folder
from geometry.scenes.scene import Scene
from geometry.scenes.transforms_json import read_scene
from geometry.views import Cameras
from geometry.visualize.image import resized
from nvs.cameras.files import cameras_from_file
from nvs.cameras.up_axis import up_axis
from nvs.captures import nearest_view
from nvs.drawing import around, axes_of, draw, load_splats, scene_background
from nvs.gaussians import Gaussians
from nvs.gaussians.files import Y_UP, ending_of, find
from nvs.gaussians.transform import covariances
from nvs.options import MAX_GAUSSIANS
from nvs.viewer import tools

_THUMBNAIL = 240  # pixels high
_DEPTH_POINTS = 300_000  # of all photos
_SIZE = (540, 960)  # H x W of a film
_FPS = 24
_PHOTO = (47, 111, 223)  # colour of frusta
_KEY = (229, 98, 59)  # colour of the flight


def serve(
    path: Path, *, host: str = "127.0.0.1", port: int = 8080, max_gaussians: int = MAX_GAUSSIANS
) -> Any:  # viser.ViserServer, which need not be installed
    """Start a server that shows a folder or a file; returns it running, to be stopped by the caller.

    The first thing seen are the Gaussians, from the first photo's place. What is saved lies beside the file.

    Args:
        port: to take, or the next free one.
        max_gaussians: show the ones that cover most, so that the browser stays fast.

    Raises:
        InputError: no Gaussians there, or viser is not installed.
    """
    file = find(path)
    gaussians = load_splats(file)
    if gaussians.means.shape[1] == 0:
        raise InputError(f"{file}: expected Gaussians to show, it holds none")
    cameras_file = file.parent / "transforms.json"
    scene = read_scene(cameras_file) if cameras_file.is_file() else None
    server = _viser().ViserServer(host=host, port=port, label=file.parent.name, verbose=False)
    server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="medium")
    server.view = _Viewer(server, file, gaussians, scene, max_gaussians)
    return server


class _Viewer:
    """One scene on a server; every visitor sees and changes the same."""

    def __init__(self, server: Any, file: Path, gaussians: Gaussians, scene: Scene | None, most: int) -> None:
        self.server, self.file, self.scene = server, file, scene
        self.whole = gaussians  # what is saved and filmed
        self.shown = tools.most_visible(gaussians, most)  # what the browser draws
        self.background = scene_background(file.parent) or [0.0, 0.0, 0.0]
        self.lock = threading.RLock()
        self.keys: list[tuple[np.ndarray, float]] = []  # of the flight, as `tools.flight` takes them
        self.eye = self._place()
        self._photo_of = self._nearest_photos(self.shown)
        server.scene.set_background_image(np.full((4, 4, 3), 255 * np.array(self.background), np.uint8))
        tabs = server.gui.add_tab_group()
        for name, fill in (
            ("Look", self._look),
            ("Photos", self._photos),
            ("Crop", self._crop),
            ("Measure", self._measure),
            ("Film", self._film),
        ):
            with tabs.add_tab(name):
                fill()
        self.splats = server.scene.add_gaussian_splats("/gaussians", **self._state())
        server.on_client_connect(lambda client: client.camera.on_update(lambda _: self._moved(client)))
        threading.Thread(target=self._follow, daemon=True).start()

    def _place(self) -> Tensor:
        """Put visitors at the first photo's place, or before the Gaussians; returns where that is."""
        camera = self.server.initial_camera
        if self.scene is None:
            cameras = around(self.shown, _SIZE, 8)[:, :1]
            up = (0.0, 1.0, 0.0) if axes_of(self.file) == "y_up" else (0.0, -1.0, 0.0)
            camera.fov = 2 * math.atan(_SIZE[0] / 2 / float(cameras.intrinsics[0, 0, 1, 1]))
        else:
            frames = self.scene.frames
            poses = torch.from_numpy(np.stack([f.extrinsics for f in frames]))[None]
            K = torch.from_numpy(np.stack([f.intrinsics for f in frames]))[None]
            cameras = Cameras(extrinsics=poses, intrinsics=K)
            up = tuple(up_axis(cameras)[0].tolist())
            camera.fov = _fov(frames[0])
        self.server.scene.set_up_direction(up)
        E = cameras.extrinsics[0, 0].double()
        centre = se3.centres(E)
        ahead = ((self.shown.means[0].double() - centre) @ E[2, :3]).median()
        self.depth = float(ahead.abs().clamp(min=1e-3))
        camera.position, camera.up = tuple(centre.tolist()), up
        camera.look_at = tuple((centre + self.depth * E[2, :3]).tolist())
        return centre

    def _nearest_photos(self, gaussians: Gaussians) -> np.ndarray:
        """For each Gaussian the photo that saw it from nearest, -1 where none did."""
        if self.scene is None:
            return np.full(gaussians.means.shape[1], -1)
        E, K, sizes = zip(*((f.extrinsics, f.intrinsics, f.image_size) for f in self.scene.frames))
        return nearest_view(gaussians.means[0].double().numpy(), np.stack(E), np.stack(K), sizes)

    # What the panels say, and what follows from it.

    def kept(self, gaussians: Gaussians, photo_of: np.ndarray) -> Bool[Tensor, " N"]:
        """Which Gaussians the photos that are on, and the box, leave."""
        off = [v for v, box in enumerate(self.photo_boxes) if not box.value]
        kept = torch.from_numpy(~np.isin(photo_of, off))
        if self.box_on.value:
            size = torch.tensor(self.box_size.value)
            at, turn = (
                torch.from_numpy(np.asarray(v, np.float64)) for v in (self.box.position, self.box.wxyz)
            )
            kept &= tools.inside_box(gaussians.means[0].double(), at, turn, size.double())
        return kept

    def _state(self) -> dict[str, np.ndarray]:
        g = self.shown[:, self.kept(self.shown, self._photo_of)]
        size = self.size.value
        return {
            "centers": g.means[0].numpy(),
            "covariances": (covariances(g) * size * size).numpy(),
            "rgbs": tools.colours_from(g, self.eye, int(self.degree.value)).numpy(),
            "opacities": (g.opacities[0, :, None] * self.opacity.value).clamp(0, 1).numpy(),
        }

    def refresh(self, *_: object) -> None:
        with self.lock:
            self.splats.set_gaussians(**self._state())

    def edited(self) -> Gaussians:
        """All Gaussians, as they are shown: cropped, of the size and opacity that the sliders say."""
        g = self.whole[:, self.kept(self.whole, self._nearest_photos(self.whole))]
        K = (int(self.degree.value) + 1) ** 2
        changed = {
            "scales": g.scales * self.size.value,
            "opacities": (g.opacities * self.opacity.value).clamp(0, 1),
            "sh": g.sh[:, :, :K],
        }
        return Gaussians(**{**vars(g), **changed}).marked(g.antialiased)

    def _moved(self, client: Any) -> None:
        self._at, self._since = torch.from_numpy(client.camera.position.copy()), time.monotonic()

    _at: Tensor | None = None
    _since = 0.0

    def _follow(self) -> None:
        """When a visitor has come to rest elsewhere, colours become those seen from there."""
        while True:
            time.sleep(0.2)
            at = self._at
            if at is None or time.monotonic() - self._since < 0.4 or self.playing:
                continue
            if self.degree.value and float((at - self.eye).norm()) > 0.03 * self.depth:
                self.eye = at
                self.refresh()

    # The panels.

    def _look(self) -> None:
        gui = self.server.gui
        self.playing = False
        visible = gui.add_checkbox("Splats", True)
        self.opacity = gui.add_slider("Opacity", 0.0, 2.0, 0.05, 1.0)
        self.size = gui.add_slider("Size", 0.05, 2.0, 0.05, 1.0)
        most = self.shown.sh_degree
        self.degree = gui.add_slider(
            "SH degree", 0, max(1, most), 1, most, disabled=most == 0,
            hint="how much colours change with the view; they follow when you come to rest",
        )  # fmt: skip
        for slider in (self.opacity, self.size, self.degree):
            slider.on_update(self.refresh)

        @visible.on_update
        def _(_: object) -> None:
            self.splats.visible = visible.value

    def _photos(self) -> None:
        gui, scene = self.server.gui, self.scene
        self.photo_boxes: list[Any] = []
        if scene is None:
            gui.add_markdown("There is no `transforms.json` beside these splats: no photos are known.")
            return
        # Frusta are hidden at first: the visitor stands in the first one and would take its photo for the
        # rendering. So does whoever enters a frustum, which is therefore hidden while others are shown.
        cameras = gui.add_checkbox("Show cameras", False, hint="click one to stand there")
        depth = gui.add_checkbox("Depth as points", False)
        point = gui.add_slider("Point size", 0.2, 4.0, 0.1, 1.0)
        entered: list[int] = []
        frusta: list[Any] = []
        clouds: list[Any] = []

        def show(*_: object) -> None:
            for v, (frustum, box) in enumerate(zip(frusta, self.photo_boxes)):
                frustum.visible = cameras.value and box.value and v not in entered
            for v, cloud in enumerate(clouds):
                cloud.visible = depth.value and self.photo_boxes[v].value

        def need_depth(*_: object) -> None:
            if depth.value and not clouds:
                for frame in scene.frames:
                    points, colours = tools.depth_points(frame, _DEPTH_POINTS // len(scene.frames))
                    name = f"/depth/{frame.name}"
                    size = 0.004 * self.depth * point.value
                    add = self.server.scene.add_point_cloud
                    clouds.append(
                        add(name, points, colours, point_size=size, precision="float32", visible=False)
                    )
            show()

        def resize(*_: object) -> None:
            for cloud in clouds:
                cloud.point_size = 0.004 * self.depth * point.value

        cameras.on_update(show)
        depth.on_update(need_depth)
        point.on_update(resize)
        choice = gui.add_button_group("Each photo", ("all", "none"))
        with gui.add_folder("Photos, with their splats", expand_by_default=len(scene.frames) <= 12):
            for v, frame in enumerate(scene.frames):
                H, W = frame.image_size
                cam_to_world = np.linalg.inv(frame.extrinsics)
                look: dict[str, Any] = {
                    "color": _PHOTO,
                    "image": resized(frame.load(), _THUMBNAIL),
                    "visible": False,
                }
                place = f"/cameras/{frame.name}", cam_to_world, _fov(frame), W / H, 0.04
                frustum = self._add_frustum(*place, **look)

                @frustum.on_click
                def _(event: Any, v: int = v, pose: np.ndarray = cam_to_world) -> None:
                    event.client.camera.wxyz = _wxyz(pose)
                    event.client.camera.position = pose[:3, 3]
                    entered[:] = [v]
                    show()

                frusta.append(frustum)
                box = gui.add_checkbox(Path(frame.name).name, True)
                self.photo_boxes.append(box)

                @box.on_update
                def _(_: object) -> None:
                    show()
                    if not self._many:
                        self.refresh()

        @choice.on_click
        def _(_: object) -> None:
            self._many = True
            for box in self.photo_boxes:
                box.value = choice.value == "all"
            self._many = False
            self.refresh()

    _many = False  # photos are being switched together

    def _crop(self) -> None:
        gui, scene = self.server.gui, self.server.scene
        means = self.shown.means[0, self.shown.opacities[0] >= 0.3].double()
        means = means if len(means) else self.shown.means[0].double()
        means = means[:: max(1, len(means) // 100_000)]
        low, high = (means.quantile(q, dim=0) for q in (0.05, 0.95))
        size = (high - low).clamp(min=1e-3 * self.depth)
        self.box_on = gui.add_checkbox("Crop box", False, hint="drag the arrows and rings in the picture")
        self.box_size = gui.add_vector3(
            "Size", tuple(size.tolist()), min=(0.0,) * 3, step=float(size.max()) / 100
        )
        self.box = scene.add_transform_controls(
            "/box", scale=0.3 * float(size.max()), position=tuple(((low + high) / 2).tolist()), visible=False
        )
        outline = self._add_lines("/box/edges", _edges(size.numpy()), (80, 160, 255), 2.0, visible=False)
        name = gui.add_text("File", f"cropped{ending_of(self.file)}", hint="its ending is the format")
        save = gui.add_button("Save the splats shown")
        said = gui.add_markdown("")

        def changed(*_: object) -> None:
            self.box.visible = outline.visible = self.box_on.value
            outline.points = _edges(np.array(self.box_size.value))
            self.refresh()

        self.box_on.on_update(changed)
        self.box_size.on_update(changed)

        @self.box.on_update
        def _(event: Any) -> None:
            if event.phase == "end":
                changed()

        @save.on_click
        def _(_: object) -> None:
            said.content = self.save(name.value)

    def _add_frustum(
        self, name: str, cam_to_world: np.ndarray, fov: float, aspect: float, size: float, **look: Any
    ) -> Any:
        """A camera's frustum; ``size`` is in depths of the scene."""
        at = {"wxyz": _wxyz(cam_to_world), "position": cam_to_world[:3, 3]}
        thin = {"thickness": 1.5, "thickness_units": "screen"}
        add = self.server.scene.add_camera_frustum
        return add(name, fov=fov, aspect=aspect, scale=size * self.depth, **thin, **at, **look)

    def _add_lines(
        self, name: str, ends: np.ndarray, colour: tuple[int, int, int], width: float, **look: Any
    ) -> Any:
        """Line segments between ``ends`` [n, 2, 3], their width in pixels."""
        lines = self.server.scene.add_line_segments(name, ends, colour, **look)
        lines.thickness_units, lines.thickness = "screen", width
        return lines

    def save(self, name: str) -> str:
        """Write what is shown under a name beside the source; returns what happened, in words."""
        target = self.file.parent / name
        if Path(name).name != name or target.exists():
            return f"`{name}`: expected a new name without folders."
        try:
            world = {"world": axes_of(self.file)} if ending_of(target) in Y_UP else {}
            count = self.edited().save(target, **world)
        except (InputError, OSError) as error:
            return str(error)
        return f"Wrote {count:,} splats to `{target}`."

    def _measure(self) -> None:
        gui, scene = self.server.gui, self.server.scene
        self.measured: float | None = None
        on = self.measuring = gui.add_checkbox("Measure", False, hint="click two points in the picture")
        said = gui.add_markdown("Switch on, then click two points.")
        ends: list[np.ndarray] = []

        @on.on_update
        def _(_: object) -> None:
            ends.clear()
            scene.remove_by_name("/measured")
            said.content = "Click two points." if on.value else "Switch on, then click two points."

        def clicked(origin: tuple[float, ...], direction: tuple[float, ...]) -> None:
            if not on.value:
                return
            shown = self.shown[:, self.kept(self.shown, self._photo_of)]
            ray = [torch.tensor(v, dtype=torch.float32) for v in (origin, direction)]
            point = tools.surface_point(shown, ray[0], ray[1])
            if point is None:
                said.content = "There is nothing solid."
                return
            if len(ends) == 2:
                ends.clear()
                scene.remove_by_name("/measured")
            ends.append(point.double().numpy())
            radius = 0.004 * float(np.linalg.norm(ends[-1] - np.array(origin)))
            scene.add_icosphere(f"/measured/{len(ends)}", radius=radius, color=_KEY, position=ends[-1])
            if len(ends) == 2:
                length = self.measured = float(np.linalg.norm(ends[0] - ends[1]))
                self._add_lines("/measured/line", np.stack(ends)[None], _KEY, 3.0)
                scene.add_label("/measured/label", f"{length:.4g}", position=(ends[0] + ends[1]) / 2)
                said.content = f"**{length:.4g}** units of the scene."
            else:
                said.content = "Click the other end."

        self.clicked = clicked
        scene.on_click()(lambda event: clicked(event.ray_origin, event.ray_direction))

    def _film(self) -> None:
        gui, scene = self.server.gui, self.server.scene
        keys = self.keys
        gui.add_markdown("Stand somewhere, add the view, go on. Two views make a flight.")
        add, back, photos = (
            gui.add_button(label)
            for label in ("Add this view", "Remove the last", "Take the folder's flight")
        )
        photos.visible = (self.file.parent / "frames.json").is_file()
        seconds = gui.add_slider("Seconds", 1.0, 30.0, 0.5, 5.0)
        size = gui.add_vector2(
            "H x W", (float(_SIZE[0]), float(_SIZE[1])), min=(64, 64), max=(2160, 3840), step=2
        )
        play = gui.add_button("Play")
        name = gui.add_text("Folder", "film")
        film = gui.add_button("Render the film")
        said = gui.add_markdown("")

        def shape() -> tuple[int, int]:
            return int(size.value[0]), int(size.value[1])

        def redraw() -> None:
            scene.remove_by_name("/flight")
            for i, (E, fov) in enumerate(keys):
                aspect = size.value[1] / size.value[0]
                self._add_frustum(f"/flight/{i}", np.linalg.inv(E), fov, aspect, 0.03, color=_KEY)
            if len(keys) > 1:
                path = se3.centres(tools.flight(keys, shape(), 20 * len(keys)).extrinsics[0].double()).numpy()
                self._add_lines("/flight/line", np.stack((path[:-1], path[1:]), axis=1), _KEY, 2.5)
            said.content = f"{len(keys)} views."

        @add.on_click
        def _(event: Any) -> None:
            camera = event.client.camera
            keys.append((_extrinsics(camera.wxyz, camera.position), float(camera.fov)))
            redraw()

        @back.on_click
        def _(_: object) -> None:
            del keys[-1:]
            redraw()

        @photos.on_click
        def _(_: object) -> None:
            path = cameras_from_file(self.file.parent / "frames.json")
            total = path.extrinsics.shape[1]
            H = float(path.intrinsics[0, 0, 1, 2]) * 2
            keys[:] = [
                (
                    path.extrinsics[0, i].double().numpy(),
                    2 * math.atan(H / 2 / float(path.intrinsics[0, i, 1, 1])),
                )
                for i in np.linspace(0, total - 1, min(total, 12)).astype(int)
            ]
            redraw()

        @play.on_click
        def _(event: Any) -> None:
            if not keys or self.playing:
                return
            self.playing = True
            try:
                path = tools.flight(keys, shape(), int(seconds.value * _FPS))
                start = time.monotonic()
                for f, (E, K) in enumerate(zip(path.extrinsics[0].double(), path.intrinsics[0])):
                    pose, camera = se3.invert(E).numpy(), event.client.camera
                    with event.client.atomic():
                        camera.position = pose[:3, 3]
                        camera.look_at = pose[:3, 3] + self.depth * pose[:3, 2]
                        camera.fov = 2 * math.atan(shape()[0] / 2 / float(K[1, 1]))
                    time.sleep(max(0.0, start + (f + 1) / _FPS - time.monotonic()))
            finally:
                self.playing = False

        @film.on_click
        def _(event: Any) -> None:
            film.disabled, said.content = True, "Rendering ..."
            try:
                said.content = self.film(name.value, shape(), int(seconds.value * _FPS))
                video = self.file.parent / name.value / "video.mp4"
                if said.content.startswith("Wrote"):
                    event.client.send_file_download("video.mp4", video.read_bytes())
            finally:
                film.disabled = False

    def film(self, name: str, size: tuple[int, int], frames: int) -> str:
        """Render the flight into a folder beside the source; returns what happened, in words."""
        target = self.file.parent / name
        if Path(name).name != name or not self.keys:
            return "Expected one view or more, and a name without folders."
        try:
            with result_folder(target) as folder:
                path = tools.flight(self.keys, size, frames)
                draw(self.edited(), path, size, folder, background=torch.tensor(self.background), fps=_FPS)
        except (InputError, OSError) as error:
            return str(error)
        return f"Wrote `{target / 'video.mp4'}`."


def _fov(frame: Any) -> float:
    """Vertical, in radians."""
    return 2 * math.atan(0.5 * frame.image_size[0] / frame.intrinsics[1, 1])


def _wxyz(cam_to_world: Float[np.ndarray, "4 4"]) -> np.ndarray:
    return wxyz_from_xyzw(quat_xyzw_from_matrix(torch.from_numpy(cam_to_world[:3, :3]))).numpy()


def _extrinsics(wxyz: np.ndarray, position: np.ndarray) -> Float[np.ndarray, "4 4"]:
    """World-to-camera of viser's camera."""
    turn = matrix_from_quat_xyzw(xyzw_from_wxyz(torch.from_numpy(np.asarray(wxyz, np.float64))))
    return se3.invert(
        se3.from_rotation_translation(turn, torch.from_numpy(np.asarray(position, np.float64)))
    ).numpy()


def _edges(size: Float[np.ndarray, "3"]) -> Float[np.ndarray, "12 2 3"]:
    """The edges of a box around the origin."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
    pairs = [(a, b) for a in range(8) for b in range(a) if np.abs(corners[a] - corners[b]).sum() == 1]
    return np.array([[corners[a], corners[b]] for a, b in pairs]) * size


def _viser() -> ModuleType:
    try:
        import viser
    except ImportError:
        raise InputError(
            "nvs view: expected the package viser, not installed; pip install 'feedforward-nvs[view]'"
        ) from None
    return viser

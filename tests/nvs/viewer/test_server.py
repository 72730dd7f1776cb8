"""The viewer with all its panels: what it saves, and what a real browser shows of it."""

import re
import socket

import numpy as np
import pytest
import torch
from browser import browser

from geometry.formats.images import read_image
from geometry.scenes.transforms_json import write_scene
from geometry.visualize import write_image
from nvs.gaussians import Gaussians, rgb_to_sh
from nvs.viewer import serve

pytest.importorskip("viser")
H, W = 480, 720
RED, GREEN = torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.8, 0.2])


@pytest.fixture
def folder(tmp_path):
    """A red wall of splats left and a green one right of the first camera; two photos."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 12), torch.linspace(-2, 2, 24), indexing="ij")
    means = torch.stack((x, y, torch.full_like(x, 3)), dim=-1).reshape(1, -1, 3)
    count = means.shape[1]
    colours = torch.where(means[..., :1] < 0, RED, GREEN)
    rest = torch.zeros(1, count, 3, 3)
    rest[..., 1, 2] = -0.6  # bluer where degree 1 is left out: from ahead it takes 0.29 of blue away
    colours = colours + torch.tensor([0.0, 0.0, 0.29])
    Gaussians(
        means=means,
        quats=torch.tensor([1.0, 0, 0, 0]).expand(1, count, 4),
        scales=torch.full((1, count, 3), 0.15),
        opacities=torch.full((1, count), 0.95),
        sh=torch.cat((rgb_to_sh(colours)[:, :, None], rest), dim=2),
    ).save(tmp_path / "gaussians.ply")
    K = np.array([[500.0, 0, W / 2], [0, 500, H / 2], [0, 0, 1]])
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, 2, 3] = -1  # a camera nearer to the wall
    for name in ("a", "b"):
        (tmp_path / "images").mkdir(exist_ok=True)
        write_image(tmp_path / f"images/{name}.png", np.full((H, W, 3), 99, np.uint8))
    write_scene(
        tmp_path / "transforms.json", ["images/a.png", "images/b.png"], poses, np.stack([K] * 2), [(H, W)] * 2
    )
    return tmp_path


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def server(folder):
    server = serve(folder, port=free_port())
    yield server
    server.stop()


def drawn(server) -> np.ndarray:
    return server.scene.get_handle_by_name("/gaussians").centers


def test_photos_that_are_off_take_their_splats_along(server):
    assert len(drawn(server)) == 288
    server.view.photo_boxes[1].value = False  # the nearer camera: it sees the middle from nearest
    rest = drawn(server)
    assert 0 < len(rest) < 288
    assert np.abs(rest[np.abs(rest[:, 1]) < 0.9, 0]).min() > 1
    server.view.photo_boxes[0].value = False
    assert len(drawn(server)) < len(rest)


def test_what_the_box_leaves_is_saved(server, folder):
    server.view.box_on.value = True
    server.view.box_size.value = (2.0, 9.0, 9.0)
    inside = drawn(server)
    assert 0 < len(inside) < 288
    assert np.abs(inside[:, 0]).max() <= 1
    assert "Wrote" in server.view.save("cropped.spz")
    assert Gaussians.load(folder / "cropped.spz").means.shape[1] == len(inside)
    assert "expected a new name" in server.view.save("cropped.spz")
    assert "expected a new name" in server.view.save("../elsewhere.ply")
    assert "expected a name that ends" in server.view.save("cropped.txt")


def test_a_flight_is_filmed_by_our_renderer(server, folder):
    view = server.view
    assert "Expected one view" in view.film("film", (24, 36), 3)
    pose = np.eye(4)
    pose[0, 3] = 0.5
    view.keys += [(np.eye(4), 0.9), (pose, 0.9)]
    view.box_on.value = True
    view.box_size.value = (2.0, 9.0, 9.0)
    assert "Wrote" in view.film("film", (24, 36), 3)
    assert {p.name for p in (folder / "film").iterdir()} >= {"video.mp4", "frames.json", "frames"}
    picture = read_image(folder / "film/frames/0000.png")
    assert np.abs(picture[12, 14] / 255 - RED.numpy()).max() < 0.15
    assert picture[12, 0].max() < 30  # cropped: black
    assert "without folders" in view.film("../film", (24, 36), 3)


def test_two_clicks_measure(server):
    view = server.view
    view.measuring.value = True
    for x in (-0.6, 0.6):
        view.clicked((0.0, 0.0, 0.0), (x / 3, 0.0, 1.0))
    # Between points on the wall, less what its splats stand out of it.
    assert view.measured == pytest.approx(1.2, rel=0.1)


@pytest.mark.browser
def test_a_browser_shows_splats_and_sliders_change_them(server, tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile"), (H, W)) as page:
        page.open(f"http://127.0.0.1:{server.get_port()}")
        page.wait("document.querySelector('canvas')")
        before = shown(page, lambda p: is_coloured(p, W // 4, RED))
        assert is_coloured(before, W // 4, RED)
        assert is_coloured(before, W // 2 + 40, GREEN)
        page.type_into("SH degree", "0")
        bluer = RED + torch.tensor([0.0, 0.0, 0.29])
        assert is_coloured(shown(page, lambda p: is_coloured(p, W // 4, bluer)), W // 4, bluer)
        page.type_into("SH degree", "1")
        assert is_coloured(shown(page, lambda p: is_coloured(p, W // 4, RED)), W // 4, RED)
        server.view.measuring.value = True
        for x in (W // 2 - 100, W // 2 + 100):
            page.click(x, H // 2)
            page.picture()
        for _ in range(100):
            if server.view.measured is not None:
                break
            page.picture()
        assert server.view.measured == pytest.approx(1.2, rel=0.1)
        server.view.measuring.value = False
        # A flight to the right is played: what was in the middle goes to the left.
        pose = np.eye(4)
        pose[0, 3] = -0.8
        server.view.keys += [(np.eye(4), 0.9), (pose, 0.9)]
        page.press("Film")
        page.type_into("Seconds", "1")
        page.press("Play")
        flown = shown(page, lambda p: is_coloured(p, W // 2 - 40, GREEN))
        assert is_coloured(flown, W // 2 - 40, GREEN)
        page.press("Look")
        page.type_into("Opacity", "0")
        after = shown(page, lambda p: not is_coloured(p, W // 4, RED))
        assert not is_coloured(after, W // 4, RED)
        # viser says this of any splats: their geometry is filled on the GPU.
        assert [e for e in page.errors if "computeBoundingSphere" not in e] == []
        outside = [url for url in page.requests if not re.match(r"(http|ws)://127\.0\.0\.1", url)]
        assert outside == []


def shown(page, enough) -> np.ndarray:
    for _ in range(60):
        picture = page.picture()
        if enough(picture):
            break
    return picture


def is_coloured(picture: np.ndarray, x: int, colour: torch.Tensor) -> bool:
    return bool(np.abs(picture[H // 2, x] / 255 - colour.numpy()).max() < 0.15)

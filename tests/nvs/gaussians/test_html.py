"""The page: what it is made of, and that a browser without network draws what our renderer draws."""

import gzip
import hashlib
import math
import re
import time

import numpy as np
import pytest
import torch
from browser import browser
from scenes import make_gaussians

from geometry.errors import InputError
from geometry.views import Cameras
from nvs.commands.export import main
from nvs.gaussians import Gaussians, rgb_to_sh
from nvs.gaussians.files import html
from nvs.metrics import psnr

COLOURS = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.8, 0.2], [0.15, 0.25, 0.9], [0.9, 0.8, 0.1]])
H, W = 240, 320
DRAWN = "window.firstFrame = () => { window.drawn = true; }"  # the viewer calls it


def blobs() -> Gaussians:
    """A blob of each colour: red left above, green right above, blue left below, yellow right below."""
    means = torch.tensor([[-0.5, -0.35, 2.0], [0.5, -0.35, 2.0], [-0.5, 0.35, 2.0], [0.5, 0.35, 2.0]])
    return Gaussians(
        means=means[None],
        quats=torch.tensor([1.0, 0, 0, 0]).expand(1, 4, 4),
        scales=torch.full((1, 4, 3), 0.12),
        opacities=torch.full((1, 4), 0.95),
        sh=rgb_to_sh(COLOURS)[None, :, None],
    )


def camera(*places: float) -> Cameras:
    """Looking along +z with an upright image, y down, from x = each of these."""
    E = torch.eye(4).repeat(1, len(places), 1, 1)
    E[0, :, 0, 3] = -torch.tensor(places)
    K = torch.tensor([[300.0, 0, W / 2], [0, 300, H / 2], [0, 0, 1]]).expand(1, len(places), 3, 3)
    return Cameras(extrinsics=E, intrinsics=K)


def test_the_page_is_the_bundled_one_with_its_licence():
    page = gzip.decompress(html.PAGE.read_bytes())
    assert hashlib.sha256(page).hexdigest() == html.PAGE_SHA256
    licence = (html.PAGE.parent / "LICENSE").read_text()
    assert "Permission is hereby granted, free of charge" in licence
    assert licence in page.decode()
    assert not re.search(rb"<(script|link|img)[^>]*(src|href)=\"(?!data:)", page)


def test_a_page_without_splats_is_no_splat_file(tmp_path):
    (tmp_path / "a.html").write_text("<html>a letter</html>")
    with pytest.raises(InputError, match="found no splats"):
        Gaussians.load(tmp_path / "a.html")


def test_titles_and_paths_cannot_end_the_script(tmp_path):
    blobs().save(tmp_path / "a.html", title="</title><script>alert(1)</script>")
    text = (tmp_path / "a.html").read_text()
    assert "<script>alert" not in text
    assert "&lt;/title&gt;" in text


@pytest.mark.extended
@pytest.mark.browser
@pytest.mark.parametrize("world", ["y_down", "y_up"])
def test_a_browser_draws_what_we_draw(tmp_path, world):
    splats, view, background = blobs(), camera(0.0), (0.2, 0.2, 0.3)
    expected = splats.render(view, (H, W), background=torch.tensor(background), backend="torch").rgb[0, 0]
    if world == "y_up":
        flip = torch.diag(torch.tensor([1.0, -1, -1]))
        splats = Gaussians(**{**vars(splats), "means": splats.means @ flip})
        E = view.extrinsics.clone()
        E[..., :3, :3] = flip
        view = Cameras(extrinsics=E, intrinsics=view.intrinsics)
    splats.save(tmp_path / "a.html", world=world, cameras=view, image_size=(H, W), background=background)
    with browser(tmp_path / "profile", (H, W)) as page:
        page.first(DRAWN)
        page.open(f"file://{tmp_path}/a.html?noui&noanim")
        page.wait("window.drawn")
        shown = page.still()
    found = torch.from_numpy(shown.copy()).movedim(-1, 0).float() / 255
    assert page.errors == []
    assert page.requests == [f"file://{tmp_path}/a.html?noui&noanim"]
    for (x, y), colour in zip([(-0.5, -0.35), (0.5, -0.35), (-0.5, 0.35), (0.5, 0.35)], COLOURS):
        column, row = round(W / 2 + 150 * x), round(H / 2 + 150 * y)
        assert (found[:, row, column] - colour).abs().max() < 0.1, (world, x, y)
    assert float(psnr(found[None], expected[None])[0]) > 30


@pytest.mark.browser
def test_the_exported_folder_flies_and_is_level(tmp_path, generator, monkeypatch):
    """The page of `nvs export` moves by itself, along frames.json."""
    from geometry.scenes.transforms_json import write_scene

    make_gaussians(200, generator, degree=2).save(tmp_path / "gaussians.ply")
    cameras = camera(*np.linspace(-0.4, 0.4, 24))
    poses, K = (t[0].double().numpy() for t in (cameras.extrinsics, cameras.intrinsics))
    names = [f"frames/{i:04d}.png" for i in range(24)]
    write_scene(tmp_path / "frames.json", names, poses, K, [(H, W)] * 24)
    monkeypatch.setattr("nvs.export._likeness", lambda *_: 0.0)
    assert main([str(tmp_path), "--to", "html"]) == 0
    with browser(tmp_path / "profile", (H, W)) as page:
        page.first(DRAWN)
        page.open(f"file://{tmp_path}/gaussians.html")
        page.wait("window.drawn")
        assert page.run("document.title") == tmp_path.name
        first = page.picture()
        until = time.monotonic() + 20  # a busy machine flies slowly
        while (first != page.picture()).mean() <= 0.02:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert page.errors == []
    assert math.isclose(html._distances(blobs(), camera(0.0), (H, W))[0], 2.0, rel_tol=0.1)

"""`nvs export` as a person runs it on a folder that `nvs render` left, and on single files."""

import json
import re

import numpy as np
import pytest
import torch
from scenes import cameras_of, make_gaussians, make_room, write_capture
from torch.testing import assert_close

from geometry.capture import open_capture
from geometry.formats.images import read_image
from geometry.options import PhotoOptions
from geometry.scenes.transforms_json import read_scene
from nvs.commands.export import main
from nvs.gaussians import Gaussians
from nvs.options import CAPTURES, SPLATS


@pytest.fixture(scope="module")
def room():
    return make_room(3)


@pytest.fixture
def folder(room, tmp_path, generator):
    """What `nvs render` leaves, as far as export looks."""
    write_capture(tmp_path / "scene", room)
    g = make_gaussians(300, generator, degree=2)
    g = Gaussians(means=g.means, quats=g.quats, scales=g.scales, opacities=g.opacities, sh=0.3 * g.sh)
    g.save(tmp_path / "scene/gaussians.ply")
    return tmp_path / "scene"


def run(*arguments) -> int:
    return main([str(a) for a in arguments])


@pytest.mark.parametrize("to", SPLATS)
def test_every_format_says_how_much_of_the_picture_it_keeps(folder, capsys, to):
    out = () if to != "ply" else ("--out", folder / "copy.ply")
    assert run(folder, "--to", to, *out) == 0
    printed = capsys.readouterr()
    path = folder / ("copy.ply" if to == "ply" else f"gaussians{SPLATS[to]}")
    assert printed.out.splitlines()[-1] == str(path)
    assert "wrote 300 Gaussians" in printed.err
    assert Gaussians.load(path).means.shape == (1, 300, 3)
    quality = re.search(r"psnr ([\d.]+) dB", printed.out)
    if quality is None:
        assert "the same picture" in printed.out
        assert to in ("ply", "glb")
    else:
        least = {"ply": 60, "glb": 60, "spz": 30, "compressed-ply": 30, "sog": 28, "html": 28, "splat": 12}
        assert float(quality[1]) > least[to]


def test_the_number_falls_when_the_file_is_worse(folder, capsys):
    """.splat drops the colours that change with the view: of one colour each it keeps more."""
    found = []
    for degree in (2, 0):
        g = Gaussians.load(folder / "gaussians.ply")
        g = Gaussians(
            means=g.means,
            quats=g.quats,
            scales=g.scales,
            opacities=g.opacities,
            sh=g.sh[:, :, : (degree + 1) ** 2].clone(),
        )
        g.save(folder / "gaussians.ply")
        assert run(folder, "--to", "splat", "--overwrite") == 0
        found.append(float(re.search(r"psnr ([\d.]+) dB", capsys.readouterr().out)[1]))
    assert found[1] > found[0] + 5


def test_files_are_not_replaced_unasked(folder, capsys):
    (folder / "gaussians.spz").write_text("mine")
    assert run(folder, "--to", "spz") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (folder / "gaussians.spz").read_text() == "mine"
    assert run(folder, "--to", "spz", "--overwrite", "--spz-version", 3) == 0
    assert run(folder, "--to", "ply", "--overwrite") == 2
    assert "the source itself" in capsys.readouterr().err
    assert run(folder, "--to", "spz", "--out", folder / "a.ply") == 2
    assert run(folder.parent, "--to", "ply") == 2


def test_from_file_to_file_without_cameras(tmp_path, generator, capsys):
    g = make_gaussians(100, generator, degree=1)
    g.save(tmp_path / "a.compressed.ply")
    assert run(tmp_path / "a.compressed.ply", "--to", "glb") == 0
    printed = capsys.readouterr().out
    assert "same picture" in printed or float(re.search(r"psnr ([\d.]+)", printed)[1]) > 60
    assert_close(
        Gaussians.load(tmp_path / "a.glb").means, Gaussians.load(tmp_path / "a.compressed.ply").means
    )


@pytest.mark.parametrize("to", ["spz", "glb"])
def test_a_world_whose_y_is_up_is_not_turned_again(folder, to):
    (folder / "scene.json").write_text(json.dumps({"world": "a; turned so that +y is up and so on"}))
    assert run(folder, "--to", to) == 0
    kept, wanted = (
        Gaussians.load(folder / f"gaussians.{to}", world="y_up"),
        Gaussians.load(folder / "gaussians.ply"),
    )
    assert_close(kept.means, wanted.means, atol=1e-4, rtol=0)
    assert run(folder, "--to", to, "--world", "opencv", "--overwrite") == 0
    turned = Gaussians.load(folder / f"gaussians.{to}", world="y_up")
    assert_close(turned.means[..., 1:], -wanted.means[..., 1:], atol=1e-4, rtol=0)


@pytest.mark.parametrize("to", CAPTURES)
def test_captures_hold_the_photos_and_cameras(folder, room, to, capsys):
    assert run(folder, "--to", to) == 0
    out = folder / to
    opened = open_capture(out, PhotoOptions(), torch.device("cpu"))
    assert opened.scene.posed
    assert len(opened.scene) == 3
    for i, (frame, view) in enumerate(zip(opened.scene.frames, room)):
        np.testing.assert_allclose(frame.extrinsics, view.extrinsics, atol=1e-6)
        np.testing.assert_allclose(frame.intrinsics, view.intrinsics, atol=1e-6)
        np.testing.assert_array_equal(read_image(out / f"images/frame_{i + 1}.png"), view.image)
    assert run(folder, "--to", to) == 0  # again: our own files are replaced
    (out / "images/frame_1.png").write_bytes(b"mine")
    assert run(folder, "--to", to) == 2


def test_pycolmap_reads_the_capture(folder, room):
    pycolmap = pytest.importorskip("pycolmap")
    assert run(folder, "--to", "colmap") == 0
    model = pycolmap.Reconstruction(str(folder / "colmap/sparse/0"))
    images = sorted(model.images.values(), key=lambda image: image.name)
    assert [image.name for image in images] == [f"frame_{i}.png" for i in (1, 2, 3)]
    for image, view in zip(images, room):
        pose = image.cam_from_world() if callable(image.cam_from_world) else image.cam_from_world
        np.testing.assert_allclose(pose.matrix(), view.extrinsics[:3], atol=1e-6)
        np.testing.assert_allclose(
            model.cameras[image.camera_id].calibration_matrix(), view.intrinsics, atol=1e-6
        )
    splats = Gaussians.load(folder / "gaussians.ply")
    opaque = splats.means[0, splats.opacities[0] >= 0.5].numpy()
    for point in model.points3D.values():
        assert np.abs(opaque - point.xyz).max(axis=1).min() < 1e-5
        (element,) = point.track.elements
        image = model.images[element.image_id]
        pose = image.cam_from_world() if callable(image.cam_from_world) else image.cam_from_world
        seen = model.cameras[image.camera_id].img_from_cam(pose * point.xyz)
        np.testing.assert_allclose(seen, image.points2D[element.point2D_idx].xy, atol=1e-3)
    assert len(model.points3D) > 20


def test_nerfstudio_finds_its_points(folder):
    from geometry.formats.ply import read_elements

    assert run(folder, "--to", "nerfstudio") == 0
    content = json.loads((folder / "nerfstudio/transforms.json").read_text())
    points = read_elements(folder / "nerfstudio" / content["ply_file_path"])[0]["vertex"]
    assert {"x", "y", "z", "red", "green", "blue"} == set(points.dtype.names)
    splats = Gaussians.load(folder / "gaussians.ply")
    assert len(points) == int((splats.opacities >= 0.5).sum())
    assert len(read_scene(folder / "nerfstudio/transforms.json")) == 3


def test_a_file_without_photos_makes_no_capture(tmp_path, generator, capsys):
    make_gaussians(5, generator).save(tmp_path / "a.ply")
    assert run(tmp_path / "a.ply", "--to", "colmap") == 2
    assert "transforms.json" in capsys.readouterr().err
    assert not (tmp_path / "colmap").exists()


def test_the_cameras_around_gaussians_see_them(generator):
    from nvs.drawing import around

    g = make_gaussians(300, generator)
    view = g.render(around(g, (54, 96), 4), (54, 96), backend="torch")
    assert (view.alpha[0].mean(dim=(1, 2)) > 0.05).all()
    assert (view.alpha[0, :, :, :4].mean(dim=(1, 2)) < 0.05).all()  # nothing much at the rim
    assert cameras_of(make_room(1)).extrinsics.dtype == around(g, (54, 96), 4).extrinsics.dtype

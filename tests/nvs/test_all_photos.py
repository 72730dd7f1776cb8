"""`nvs render --all` end to end, small: its files opened by other programs, and posed photos."""

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from scenes import make_arc, write_capture, write_room

import nvs
from nvs import pipeline as pipeline_module
from nvs.model.splatter import photo_colours
from nvs.options import GaussianOptions
from nvs.pipeline import Pipeline

pytestmark = pytest.mark.extended  # whole runs, seconds each

SMALL = {"all_photos": True, "max_views": 4, "process_res": 70, "refine": 4, "frames": 3, "size": (36, 64)}


def test_any_number_of_unposed_photos_become_files_that_others_open(tmp_path):
    pycolmap, trimesh = pytest.importorskip("pycolmap"), pytest.importorskip("trimesh")
    write_room(tmp_path / "photos", make_arc(12))
    done = nvs.render(tmp_path / "photos", tmp_path / "out", cameras="network", holdout=6, **SMALL)
    assert len(done.scene.names) == 10
    assert done.metrics["alignment"] == "the network, in chunks over input and hold-out together"
    assert any("too small to know" in problem for problem in done.verdict.problems)
    assert not (tmp_path / ".out.chunks").exists()
    model = pycolmap.Reconstruction(tmp_path / "out/COLMAP/sparse/0")
    assert model.num_reg_images() == 10
    assert model.num_points3D() > 0
    splats = trimesh.load(tmp_path / "out/gaussians.ply")
    assert len(splats.vertices) == done.scene.gaussians.means.shape[1]
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "out/video.mp4"))
    assert next(reader)["size"] == (64, 36)
    assert len(list(reader)) == 3


def test_posed_photos_give_what_they_give_without_it(tmp_path):
    """All are refined on either way; the images only lie on the disk."""
    write_capture(tmp_path / "capture", make_arc(12))
    model = nvs.load("tiny", device="cpu")
    chosen = {k: v for k, v in SMALL.items() if k not in ("frames", "size", "all_photos", "max_views")}
    plain, on_disk = (
        model.predict(tmp_path / "capture", max_views=4, all_photos=every, **chosen)
        for every in (False, True)
    )
    for ours, theirs in zip(vars(on_disk.gaussians).values(), vars(plain.gaussians).values()):
        torch.testing.assert_close(ours, theirs)


def test_depth_is_swept_in_runs_of_neighbours(monkeypatch):
    """Each photo's depth is there once, and about what a sweep over all gives."""
    from scenes import views_of

    monkeypatch.setattr(pipeline_module, "AT_ONCE", 6)
    monkeypatch.setattr(pipeline_module, "SHARED", 2)
    views = views_of(make_arc(12, (70, 98)))
    draft = GaussianOptions(quality="draft", depth="sweep", spacing=2.0, prune=False)
    whole, runs = (
        Pipeline(splatter=photo_colours(), options=draft, in_chunks=each)(views) for each in (False, True)
    )
    assert runs.gaussians.means.shape == whole.gaussians.means.shape
    assert runs.agreed.shape == whole.agreed.shape
    assert runs.trusted == pytest.approx(whole.trusted, abs=0.15)
    ratio = (runs.depth / whole.depth).log().abs()
    assert np.quantile(ratio.numpy(), 0.5) < 0.05

"""Teacher labels: files, alignment end to end, restart, sharing, and their use from some step on."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from geometry import atomic
from geometry.datasets.sources import SceneSource
from geometry.datasets.transforms_folder import TransformsFolders
from geometry.errors import InputError
from geometry.models.da3 import MonocularDepth
from geometry.prediction import Geometry
from geometry.sampling.augment import turned
from geometry.scenes.scene import Frame, Scene
from geometry.training import labelling, pseudo_depth
from geometry.training.labelling import LabelOptions
from geometry.training.labels import (
    FOLDER,
    MixedLabels,
    TeacherLabels,
    label_path,
    read_label,
    with_label,
    write_label,
)
from geometry.worlds.capture import write_world

H, W = 42, 56


def true_depth(index):
    rows, columns = np.mgrid[:H, :W]
    return (2 + index + np.sin(columns / 9) + rows / 20).astype(np.float32)


def measured(index, outliers=0.4, points=300):
    """A few hundred depths of which 40 % are wrong."""
    rng = np.random.default_rng(index)
    depth = np.zeros((H, W), np.float32)
    chosen = rng.choice(H * W, points, replace=False)
    values = true_depth(index).reshape(-1)[chosen]
    wrong = rng.random(points) < outliers
    depth.reshape(-1)[chosen] = np.where(wrong, values * rng.uniform(0.2, 4, points), values)
    return depth


class Rooms(SceneSource):
    """Two scenes of three frames; the last frame of each has nothing measured."""

    def __init__(self, root):
        self.root, self.names = root, ("a", "b/c")

    def read(self, name):
        frames = []
        for i in range(3):
            depth = None if i == 2 else (lambda i=i: measured(i))
            # The photo shows its depth, so that a stand-in for the teacher can read it off.
            code = np.repeat(np.round(true_depth(i) * 25)[..., None], 3, axis=-1).astype(np.uint8)
            frames.append(
                Frame(
                    name=f"cam/{i}.png",
                    image=lambda code=code: code,
                    image_size=(H, W),
                    extrinsics=np.eye(4),
                    intrinsics=np.diag([50.0, 50.0, 1.0]),
                    depth=depth,
                )
            )
        return Scene(name=name, frames=tuple(frames), folder=self.root)


class Teacher(MonocularDepth):
    """Right up to scale and shift; sees sky in the top rows."""

    def __init__(self):
        nn.Module.__init__(self)
        self.calls = 0

    def forward(self, views, *, sky_fill=True):
        self.calls += 1
        true = views.images[:, :, 0] * 255 / 25
        sky = torch.zeros_like(true)
        sky[..., :4, :] = 1
        return Geometry(depth=0.3 * true - 0.2, sky=sky)


def run(root, teacher=None, share=(0, 1), **options):
    options = LabelOptions(process_res=W, workers=0, **options)
    return labelling.label_source(
        Rooms(root), teacher or Teacher(), options, torch.device("cpu"), share=share
    )


def test_labels_have_the_measured_scale_and_a_report(tmp_path):
    counts = run(tmp_path)
    assert counts == {"labelled": 4, "nothing measured": 2}
    for name in ("a", "b/c"):
        scene = Rooms(tmp_path).read(name)
        for i in range(2):
            depth = read_label(label_path(scene, scene.frames[i], FOLDER))
            assert (depth[:4] == 0).all()
            error = np.abs(depth - true_depth(i))[4:] / true_depth(i)[4:]
            assert error.max() < 0.03
        assert not label_path(scene, scene.frames[2], FOLDER).exists()
        entries = {e["frame"]: e for e in labelling.read_reports(tmp_path / FOLDER / name)}
        assert entries["cam/0.png"]["failure"] is None
        assert entries["cam/0.png"]["scale"] == pytest.approx(1 / 0.3, rel=0.02)
        assert "nothing measured" in entries["cam/2.png"]["failure"]


def test_a_limit_on_the_residual_refuses_what_a_looser_one_takes(tmp_path):
    assert run(tmp_path / "strict", max_residual=0.0)["residual too large"] == 4
    assert run(tmp_path / "loose", max_residual=0.5)["labelled"] == 4


def test_a_teacher_that_sees_only_sky_is_told_from_missing_measurements():
    measured_here = torch.zeros(H, W)
    measured_here[:10] = 3.0
    aligned, report = labelling.align(
        torch.ones(H, W),
        torch.zeros(H, W, dtype=torch.bool),
        measured_here.numpy(),
        LabelOptions(),
        torch.Generator(),
    )
    assert aligned is None
    assert report.failure == f"sky at measured points: the teacher sees it at {10 * W} of {10 * W}"


def test_a_second_run_does_nothing_and_a_torn_report_is_done_again(tmp_path):
    run(tmp_path)
    teacher = Teacher()
    assert run(tmp_path, teacher) == {}
    assert teacher.calls == 0
    report = tmp_path / FOLDER / "a" / labelling.REPORT
    report.write_text(report.read_text()[:-20])
    left = report.with_name(f".x-{atomic.HOST}-{2**30}-00000000.part.npz")  # of a process that was killed
    left.touch()
    assert sum(run(tmp_path, teacher).values()) == 1
    assert not left.exists()
    assert run(tmp_path, teacher) == {}


def test_depth_files_of_the_data_set_are_neither_replaced_nor_removed(tmp_path):
    scene = Rooms(tmp_path).read("a")
    own = [label_path(scene, frame, "depth") for frame in scene.frames[1:]]  # the last would be removed
    own[0].parent.mkdir(parents=True)
    for path in own:
        path.write_text("measured")
        with pytest.raises(InputError, match=r"\.npz: expected no file there or a label of ours"):
            run(tmp_path, folder="depth")
        assert path.read_text() == "measured"
        path.unlink()
    assert run(tmp_path, folder="depth") == {"labelled": 4, "nothing measured": 2}


def test_processes_share_the_scenes_and_a_label_is_the_same_from_any(tmp_path):
    reads = []

    class Counted(Rooms):
        def read(self, name):
            reads.append(name)
            return super().read(name)

    options = LabelOptions(process_res=W, workers=0, batch=2)
    for rank in range(2):
        reads.clear()
        source = Counted(tmp_path / "two")
        counts = labelling.label_source(source, Teacher(), options, torch.device("cpu"), share=(rank, 2))
        assert sum(counts.values()) == 3
        assert set(reads) == {("a", "b/c")[rank]}
    teacher = Teacher()
    run(tmp_path / "one", teacher)
    assert teacher.calls == 2  # a scene's three photos at once
    labels = sorted((tmp_path / "one").rglob("*.npz"))
    assert len(labels) == 4
    for path in labels:
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        np.testing.assert_array_equal(read_label(path), read_label(other))


@pytest.mark.slow
def test_loader_workers_give_the_same_labels(tmp_path):
    for place in ("alone", "workers"):
        for name in ("x", "y"):
            write_world(tmp_path / place / name, 1, photos=3, image_size=(42, 56))
    teacher = Teacher()
    for place, workers in (("alone", 0), ("workers", 2)):
        for name in ("x", "y"):
            source = TransformsFolders(tmp_path / place / name)
            options = LabelOptions(process_res=W, workers=workers, batch=2, max_residual=9, max_scale_error=9)
            assert sum(labelling.label_source(source, teacher, options, torch.device("cpu")).values()) == 3
    labels = sorted((tmp_path / "alone").rglob("*/teacher_depth/**/*.npz"))
    reports = sorted((tmp_path / "alone").rglob("report.jsonl"))
    for path in [*labels, *reports]:
        other = tmp_path / "workers" / path.relative_to(tmp_path / "alone")
        assert path.read_bytes() == other.read_bytes()
    assert reports


def test_a_photo_that_cannot_be_read_is_reported_and_the_others_are_labelled(tmp_path):
    source = Rooms(tmp_path)
    scene = source.read("a")

    def cut_short():
        raise InputError("0.png: expected a photo, could not read it")

    broken = replace(scene, frames=(replace(scene.frames[0], image=cut_short), *scene.frames[1:]))
    source.names, source.read = ("a",), lambda name: broken
    counts = labelling.label_source(
        source, Teacher(), LabelOptions(process_res=W, workers=0), torch.device("cpu")
    )
    assert counts == {"unreadable": 1, "labelled": 1, "nothing measured": 1}


def test_the_fit_looks_at_a_bounded_number_of_pixels(monkeypatch):
    seen = []
    fit = pseudo_depth.robust_scale_shift

    def counted(x, y, **options):
        seen.append(len(x))
        return fit(x, y, **options)

    monkeypatch.setattr(pseudo_depth, "robust_scale_shift", counted)
    truth = 2 + torch.rand(400, 500, generator=torch.Generator().manual_seed(0))
    label, report = pseudo_depth.align_teacher_depth(
        (truth - 1) / 3, truth, truth > 0, generator=torch.Generator().manual_seed(0)
    )
    assert seen == [report.points] == [20_000]
    torch.testing.assert_close(label, truth)


def test_raw_labels_are_relative_and_need_no_measurement(tmp_path):
    assert run(tmp_path, raw=True) == {"labelled": 6}


def test_a_label_keeps_three_digits(tmp_path):
    depth = np.geomspace(0.01, 5000, 1000, dtype=np.float32).reshape(10, 100)
    depth[0, 0] = 0
    write_label(tmp_path / "x" / "d.npz", depth)
    came = read_label(tmp_path / "x" / "d.npz")
    assert came[0, 0] == 0
    np.testing.assert_allclose(came, depth, rtol=1e-3)
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"bad\.npz"):
        read_label(tmp_path / "bad.npz")


def test_labels_replace_measured_depth_from_their_step_on(tmp_path):
    run(tmp_path)
    scene = Rooms(tmp_path).read("a")
    switch = TeacherLabels(from_step=100)
    assert switch(scene, 99) is scene
    after = switch(scene, 100)
    known = [(f.load_depth() > 0).mean() for f in after.frames[:2]]
    assert min(known) > 0.85
    assert after.frames[2].load_depth() is None  # measured, of which this frame has none
    skipped = TeacherLabels(from_step=0, missing="skip")(scene, 0)
    assert (skipped.frames[2].load_depth() == 0).all()


def test_a_turned_frame_turns_its_label(tmp_path):
    write_label(tmp_path / "d.npz", true_depth(0))
    frame = with_label(Rooms(tmp_path).read("a").frames[0], tmp_path / "d.npz")
    upright = frame.load_depth()
    np.testing.assert_array_equal(turned(frame, 1).load_depth(), np.rot90(upright, k=-1))


def test_mixed_labels_keep_the_measured_depth_sometimes(tmp_path):
    run(tmp_path)
    scene = Rooms(tmp_path).read("a")
    torch.manual_seed(0)
    kept = sum(MixedLabels(measured=0.2)(scene, 0) is scene for _ in range(200))
    assert math.isclose(kept / 200, 0.2, abs_tol=0.08)


def test_reports_are_plain_json(tmp_path):
    run(tmp_path)
    for line in (tmp_path / FOLDER / "a" / labelling.REPORT).read_text().splitlines():
        assert {"frame", "failure", "points", "inlier_share"} <= set(json.loads(line))

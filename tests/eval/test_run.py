"""Runs end to end: every data set's layout, resuming, the cache, refusals, several processes."""

import json
import shutil
import subprocess
import sys
import types

import pytest
import torch
from programs import run_ranks
from scenes import make_arc, write_capture, write_colmap, write_dl3dv

from eval import predict as predict_module
from eval.__main__ import main
from eval.methods.base import Pictured
from eval.methods.references import NearestView, surface_gaussians
from eval.run_folder import Store
from geometry import atomic
from geometry.formats.text import read_object
from geometry.views import Views

SMALL = ["metrics=[psnr,ssim]", "device=cpu", "benchmark.rule.context=4", "benchmark.long_side=64"]


def nvs_eval(*arguments):
    return main([str(a) for a in arguments])


def run(out, *overrides):
    assert nvs_eval("run", f"out={out}", *SMALL, *overrides) == 0
    return read_object(Store(out).summary, "a run")


@pytest.mark.parametrize("benchmark", ["dl3dv", "tanks", "megadepth", "folder"])
def test_every_layout_from_split_to_table(tmp_path, capsys, views, benchmark):
    root, scene = tmp_path / "data", {"dl3dv": "ab" * 32, "tanks": "Barn"}.get(benchmark, "5000")
    if benchmark == "dl3dv":
        write_dl3dv(root, scene, views)
    elif benchmark == "megadepth":
        write_colmap(root / "Undistorted_SfM" / scene, views, model="sparse")
    elif benchmark == "tanks":
        write_colmap(root / scene, views)
    else:
        write_capture(root / scene, views)
    data = [f"benchmark={benchmark}", f"benchmark.root={root}", f"split={tmp_path / 'split.json'}"]
    if benchmark != "folder":  # the miniature is not 270 x 480
        data.append("benchmark.size=[36,64]")
    if benchmark in ("tanks", "megadepth"):
        data.append(f"benchmark.source.scenes=['{scene}']")
    assert nvs_eval("split", *data, "benchmark.rule.context=4") == 0
    said = capsys.readouterr().err
    assert ("WARNING: the benchmark has" in said) == (benchmark != "folder")
    summary = run(tmp_path / "out", *data, "method=nearest")
    (scored,) = summary["scenes"]
    assert scored["scene"] == scene
    assert [t["render"] for t in scored["targets"]] == ["frame_1.png", "frame_9.png"]
    assert 10 < summary["means"]["psnr"] < 40
    assert nvs_eval("table", tmp_path / "out") == 0
    table = capsys.readouterr().out
    assert "nearest context view" in table
    assert ("of another protocol" in table) == (benchmark != "folder")  # 36 x 64, 4 views


def test_scenes_that_are_not_there_are_named(tmp_path, capsys, views):
    write_colmap(tmp_path / "Barn", views)
    assert nvs_eval("split", "benchmark=tanks", f"benchmark.root={tmp_path}", "split=s.json") == 2
    assert "expected 6 listed scenes, 5 of them are not there (Caterpillar" in capsys.readouterr().err


@pytest.mark.extended
def test_files_that_no_run_wrote_are_not_replaced(tmp_path, captures, capsys):
    data = [f"benchmark.root={captures}", "method=nearest", *SMALL]
    own = tmp_path / "own"
    own.mkdir()
    for name in ("scores.json", "benchmark.json", "split.json"):
        (own / name).write_text("{}")
        assert nvs_eval("run", f"out={own}", *data) == 2
        assert name in capsys.readouterr().err
        assert [p.name for p in own.iterdir()] == [name]
        assert (own / name).read_text() == "{}"
        (own / name).unlink()
    for out in (captures, captures.parent):
        assert nvs_eval("run", f"out={out}", *data) == 2
        assert "expected a folder of its own" in capsys.readouterr().err
    transforms = next(captures.rglob("transforms.json"))
    before = transforms.read_bytes()
    assert nvs_eval("split", f"split={transforms}", *data) == 2
    assert "it is not replaced" in capsys.readouterr().err
    assert transforms.read_bytes() == before
    for _ in range(2):
        assert nvs_eval("split", f"split={tmp_path / 'split.json'}", *data) == 0


@pytest.mark.extended
def test_resume_goes_on_where_it_stopped(tmp_path, captures, monkeypatch):
    whole = run(tmp_path / "a", f"benchmark.root={captures}", "method=nearest")
    asked = []

    class Breaking(NearestView):
        def predict(self, task):
            asked.append(task.scene)
            if task.scene == "hall" and asked.count("hall") == 1:
                raise KeyboardInterrupt
            return super().predict(task)

    monkeypatch.setattr(predict_module, "build_method", lambda options, device: Breaking())
    arguments = ["run", f"out={tmp_path / 'b'}", *SMALL, f"benchmark.root={captures}", "method=nearest"]
    assert nvs_eval(*arguments) == 130
    assert asked == ["attic", "hall"]
    assert not (tmp_path / "b/predictions/hall").exists()
    left = (
        tmp_path / f"b/scores/.hall-{atomic.HOST}-{2**30}-00000000.part.json"
    )  # of a process that was killed
    left.write_text("{")
    assert nvs_eval(*arguments) == 0
    assert not left.exists()
    assert asked == ["attic", "hall", "hall", "kitchen"]
    assert read_object(Store(tmp_path / "b").summary, "a run")["means"] == whole["means"]


@pytest.mark.extended
def test_scoring_again_asks_no_method_and_decodes_no_photo(tmp_path, captures, monkeypatch):
    first = run(tmp_path / "a", f"benchmark.root={captures}", "method=nearest")
    monkeypatch.setattr(predict_module, "predict_scene", None)
    with monkeypatch.context() as patch:
        patch.setattr("eval.score.framed_views", None)
        assert run(tmp_path / "a", f"benchmark.root={captures}", "method=nearest") == first
    fewer = run(tmp_path / "a", f"benchmark.root={captures}", "method=nearest", "metrics=[ssim]")
    assert list(fewer["means"]) == ["ssim"]
    assert fewer["means"]["ssim"] == first["means"]["ssim"]


@pytest.mark.extended
def test_pictures_that_were_made_anew_are_scored_anew(tmp_path, captures):
    run(tmp_path / "a", f"benchmark.root={captures}", "method=nearest")
    store = Store(tmp_path / "a")
    stored = read_object(store.scores("hall"), "a run")
    store.scores("hall").write_text(json.dumps(stored | {"means": {"psnr": 99.0, "ssim": 1.0}}))
    shutil.rmtree(store.predictions("hall"))
    run(tmp_path / "a", f"benchmark.root={captures}", "method=nearest")
    assert read_object(store.scores("hall"), "a run")["means"] == stored["means"]


@pytest.mark.extended
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["method=mean_colour"], "method: 'nearest context view' -> 'mean colour'"),
        (["poses=umeyama"], "protocol.poses: 'gt' -> 'umeyama'"),
        (["benchmark.fit=stretch"], "protocol.framing.fit: 'crop' -> 'stretch'"),
        (["benchmark.rule.offset=1"], "made by another rule"),
    ],
)
def test_a_changed_config_is_refused(tmp_path, captures, capsys, changed, message):
    arguments = [f"benchmark.root={captures / 'hall'}", "method=nearest"]
    run(tmp_path / "a", *arguments)
    assert nvs_eval("run", f"out={tmp_path / 'a'}", *SMALL, *arguments, *changed) == 2
    assert message in capsys.readouterr().err


def test_a_run_that_failed_before_a_prediction_does_not_block_its_folder(tmp_path, captures, capsys):
    (tmp_path / "made/hall").mkdir(parents=True)
    renders = [
        f"benchmark.root={captures / 'hall'}",
        "method=renders",
        f"renders.folder={tmp_path / 'made'}",
    ]
    assert nvs_eval("run", f"out={tmp_path / 'a'}", *SMALL, *renders) == 2
    assert "are missing" in capsys.readouterr().err
    for name in ("frame_1.png", "frame_9.png"):
        shutil.copy(captures / "hall/images" / name, tmp_path / "made/hall" / name)
    run(tmp_path / "a", *renders)  # the pictures are others: so are the settings


@pytest.mark.extended
def test_a_photo_that_cannot_be_decoded_fails_its_scene_alone(tmp_path, captures, capsys):
    whole = run(tmp_path / "whole", f"benchmark.root={captures}", "method=nearest")
    photo = captures / "hall/images/frame_1.png"
    photo.write_bytes(photo.read_bytes()[:400])
    arguments = ["run", f"out={tmp_path / 'a'}", *SMALL, f"benchmark.root={captures}", "method=nearest"]
    for _ in range(2):  # a repeated run says it again
        assert nvs_eval(*arguments) == 3
        said = capsys.readouterr()
        assert f"hall: FAILED: {photo}: expected a whole image, got a damaged or truncated one" in said.err
        assert f"WARNING: hall failed and is in no mean: {photo}" in said.out
    summary = read_object(Store(tmp_path / "a").summary, "a run")
    assert list(summary["failed"]) == ["hall"]
    others = [scene for scene in whole["scenes"] if scene["scene"] != "hall"]
    assert [scene["means"] for scene in summary["scenes"]] == [scene["means"] for scene in others]
    assert nvs_eval("table", tmp_path / "a") == 0
    assert "2 of 3" in capsys.readouterr().out
    assert nvs_eval(*arguments[:-1], f"benchmark.root={captures / 'hall'}", f"out={tmp_path / 'b'}") == 2


def test_a_changed_rendering_size_or_split_is_refused(tmp_path, captures, capsys):
    data = f"benchmark.root={captures / 'hall'}"
    run(tmp_path / "a", data, "method=nearest")
    photo = captures / "hall/images/frame_1.png"
    photo.write_bytes((captures / "hall/images/frame_2.png").read_bytes())
    assert nvs_eval("run", f"out={tmp_path / 'a'}", *SMALL, data, "method=nearest") == 2
    assert "frame_1.png is another file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["method=nearset"], "method: expected one of model, nearest"),
        (["metrics=[pnsr]"], "got pnsr"),
        (["metrics=[]"], "got none"),
        (["poses=sim3"], "poses: expected one of gt"),
        (["optimise.step=3"], "step"),
        (["method=renders"], "renders.folder=DIR"),
        (["method=optimise", "poses=umeyama"], "needs given context poses"),
        (["method=optimise", "optimise.steps=-1"], "refine: expected 0 steps"),
        (["warp.depth=truth", "method=warp"], "expected one of sweep, model"),
        (["benchmark.root=/nowhere"], "/nowhere"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capture, capsys, wrong, message, unchecked):
    arguments = [
        "run",
        f"out={tmp_path / 'a'}",
        *SMALL,
        f"benchmark.root={capture}",
        "method=nearest",
        *wrong,
    ]
    assert nvs_eval(*arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert message in line
    assert not (tmp_path / "a/predictions").exists()


def test_root_must_be_given(capsys):
    assert nvs_eval("run", "benchmark=dl3dv") == 2
    assert "expected a value for benchmark.root" in capsys.readouterr().err


def test_lpips_without_its_trunk_is_missing_and_named(tmp_path, capture, capsys):
    summary = run(tmp_path / "a", f"benchmark.root={capture}", "method=nearest", "metrics=[psnr,lpips_vgg]")
    assert summary["means"]["lpips_vgg"] is None
    assert "vgg16-397923af.pth is missing" in summary["reasons"]["lpips_vgg"]
    assert "lpips_vgg" not in summary["scenes"][0]["targets"][0]
    assert "missing: lpips_vgg: LPIPS (vgg)" in capsys.readouterr().out


@pytest.fixture
def walls(monkeypatch, views, tmp_path):
    """A module whose functions know the true depth of the walls."""

    def depth_of(context):
        return torch.stack([torch.tensor(views[i].depth).float() for i in (1, 3, 5, 7)])[None]

    known = {}

    def splat(context):
        if context.cameras is not None:
            known["cameras"] = context.cameras
        cameras = known["cameras"]
        H, W = context.image_size
        depth = torch.nn.functional.interpolate(depth_of(context), size=(H, W), mode="nearest")
        return surface_gaussians(Views(images=context.images, cameras=cameras), depth), cameras

    made = types.ModuleType("walls")
    made.__file__ = str(tmp_path / "walls.py")
    (tmp_path / "walls.py").write_text("")
    made.splat = splat
    made.pictures = lambda context, targets, size: torch.zeros(1, targets.extrinsics.shape[1], 3, *size)
    monkeypatch.setitem(sys.modules, "walls", made)
    return made


@pytest.mark.extended
def test_pose_modes(tmp_path, capture, walls, capsys):
    """With true cameras given or predicted all modes see the same room; photometric can only gain."""
    data = [f"benchmark.root={capture}", "method=walls:splat", "photometric.steps=4"]
    psnr = {}
    for mode in ("gt", "umeyama", "photometric"):
        summary = run(tmp_path / mode, *data, f"poses={mode}")
        assert summary["context_poses"] == ("given" if mode == "gt" else "none")
        psnr[mode] = summary["means"]["psnr"]
    assert psnr["umeyama"] == pytest.approx(psnr["gt"], abs=0.05)
    assert psnr["photometric"] > psnr["gt"] - 0.05
    about = read_object(tmp_path / "photometric/predictions/room/scene.json", "a run")
    assert {"turned_deg", "moved"} <= set(about["targets"][0])
    assert (tmp_path / "gt/predictions/room/depth/frame_1.png").is_file()

    capsys.readouterr()
    assert nvs_eval("table", *(tmp_path / mode for mode in psnr)) == 0
    text = capsys.readouterr().out
    assert text.count("### folder") == 3  # never in one table
    assert "photometric reads the target photos" in text


def test_images_cannot_be_asked_for_photometric_poses(tmp_path, capture, walls, capsys):
    arguments = [*SMALL, f"benchmark.root={capture}", "poses=photometric", "context_poses=given"]
    assert nvs_eval("run", f"out={tmp_path / 'a'}", *arguments, "method=walls:pictures") == 2
    assert "no camera can be moved" in capsys.readouterr().err


def test_the_context_is_all_a_method_gets(tmp_path, captures, monkeypatch):
    """Target photos are read for scoring only; one at a time."""
    seen = []

    class Watching(NearestView):
        def predict(self, task):
            seen.append((task.context.images.shape[1], task.photos.images.shape[1], task.context.cameras))
            return Pictured(render=lambda target: (torch.zeros(3, *task.size), None))

    monkeypatch.setattr(predict_module, "build_method", lambda options, device: Watching())
    run(tmp_path / "a", f"benchmark.root={captures / 'hall'}", "poses=umeyama", "method=nearest")
    assert seen == [(4, 4, None)]


@pytest.mark.extended
def test_several_processes_give_the_same_table(tmp_path, captures):
    one = run(tmp_path / "one", f"benchmark.root={captures}", "method=nearest")
    words = ["run", f"out={tmp_path / 'two'}", *SMALL, f"benchmark.root={captures}", "method=nearest"]
    run_ranks(2, ["-m", "eval", *words], tmp_path)
    two = read_object(Store(tmp_path / "two").summary, "a run")
    assert [scene["scene"] for scene in two["scenes"]] == ["attic", "hall", "kitchen"]
    assert two["means"] == one["means"]
    assert two["split"] == one["split"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_photos(tmp_path):
    """400 photos take no more memory than 20: only the context and one target are ever decoded."""
    peaks = []
    for count in (20, 400):
        folder = write_capture(tmp_path / f"room{count}", make_arc(count, size=(135, 240)))
        arguments = ["run", f"out={tmp_path / str(count)}", f"benchmark.root={folder}", "method=nearest"]
        code = (
            "import resource; from eval.__main__ import main; "
            f"code = main({[*arguments, 'metrics=[psnr,ssim]', 'device=cpu']}); "
            "print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        code, peak = done.stdout.split()[-2:]
        assert code == "0"
        peaks.append(int(peak))
    assert peaks[1] < peaks[0] * 1.1

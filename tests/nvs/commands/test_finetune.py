"""`nvs finetune` as a person runs it: it starts where `nvs render` is; what it writes renders as measured."""

import json
import re
import shutil

import pytest
import scenes
import torch
from PIL import Image

from geometry.console import listening
from geometry.weights.checkpoint import untrained
from nvs.commands import finetune, render
from nvs.model.parametrisation import GaussianAdapter, ReleasedAdapter
from nvs.model.splatter import (
    Splatter,
    load_splatter,
    new_gaussian_head,
    released_gaussian_head,
    save_splatter,
)
from nvs.training import cases
from nvs.training.finetuning import lpips_weight

pytestmark = pytest.mark.extended  # whole runs, seconds each

H, W, PHOTOS = 60, 90, 9
COMMON = ["--process-res", "56", "--context", "4", "--holdout", "8", "--no-pose-check"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small renderings and sheets, judged and written in a fraction of the time."""
    monkeypatch.setattr("nvs.cameras.fit.LONG_SIDE", 120)
    monkeypatch.setattr(cases, "SHEET_COLUMNS", 2)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of smooth random photos with cameras on an arc."""
    folder = tmp_path_factory.mktemp("photos")
    scenes.write_arc_cameras(folder, scenes.write_photos(folder, PHOTOS, (H, W)), (H, W))
    return folder


def trained_head(path, kind):
    """A file with a head that does something; on an untrained backbone, which suffices here."""
    torch.manual_seed(1)
    adapter = ReleasedAdapter(lift_with_given=True) if kind == "released" else GaussianAdapter("sh")
    head = released_gaussian_head("tiny") if kind == "released" else new_gaussian_head("tiny", adapter)
    torch.nn.init.normal_(head.out[2].weight, std=0.02)
    splatter = Splatter(load_splatter(untrained("tiny")).network, head, adapter)
    save_splatter(path, splatter, variant="tiny", released=False, licence="Apache-2.0")
    return path


def tune(photos, out, model, *more):
    captures = photos if isinstance(photos, list) else [photos]
    words = [
        *captures,
        "--out",
        out,
        "--model",
        model,
        *COMMON,
        "--targets",
        "1",
        "--context-sets",
        "2",
        *more,
    ]
    return finetune.main([str(w) for w in words])


def rendered_psnr(photos, out, model, *more):
    words = [photos, "--out", out, "--model", model, *COMMON, "--frames", "2", "--quality", "draft", *more]
    assert render.main([str(w) for w in words]) in (0, 3)  # 3: not to be trusted, as random photos should be
    return json.loads((out / "metrics.json").read_text())["psnr"]


def validations(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {e["step"]: e["metrics"]["psnr"] for e in lines if e["kind"] == "validation"}


@pytest.mark.parametrize(("kind", "poses"), [("own", []), ("released", ["--unposed"])])
def test_it_starts_where_nvs_render_is_and_its_best_head_renders_as_measured(
    kind, poses, photos, tmp_path, capsys
):
    warm = trained_head(tmp_path / "warm.safetensors", kind)
    out = tmp_path / "run"
    steps = ["--steps", "2", "--validate-every", "1", "--lpips", "0", "--lr", "1e-3"]
    status = tune(photos, out, warm, *steps, *poses)
    said = capsys.readouterr().out
    # No network this small knows where photos were taken, which the run says as it ends.
    assert status == (3 if poses else 0)
    psnr = validations(out)
    assert list(psnr) == [0, 1, 2]
    assert rendered_psnr(photos, tmp_path / "before", warm, *poses) == pytest.approx(psnr[0], abs=1e-4)

    best = max(psnr, key=psnr.get)
    assert f"held-out psnr={psnr[0]:.2f} at the start, {psnr[best]:.2f} best (step {best})" in said
    assert {f.name for f in out.glob("*.safetensors")} == {"best.safetensors", "last.safetensors"}
    for name, step in (("best", best), ("last", 2)):
        psnr_now = rendered_psnr(photos, tmp_path / name, out / f"{name}.safetensors", *poses)
        assert psnr_now == pytest.approx(psnr[step], abs=1e-4)
    assert list((out / "images").rglob("*.png"))


def test_captures_whose_folders_have_one_name_score_as_under_different_names(photos, tmp_path):
    def tuned(name, *folders):
        words = ["--steps", "1", "--lpips", "0", "--depth", "network"]
        captures = [tmp_path / f for f in folders]
        for i, capture in enumerate(captures):
            shutil.copytree(photos, capture)
            for path in capture.glob("*.png"):  # other photos under the same cameras
                Image.open(path).rotate(180 * i).save(path)
        assert tune(captures, tmp_path / name, "untrained:tiny", *words) == 0
        sheets = (tmp_path / name / "images/step_00000000").iterdir()
        return validations(tmp_path / name), sorted(sheet.stem for sheet in sheets)

    same, sheets = tuned("same", "a/images", "b/images")
    assert sheets == ["images", "images_2"]
    assert same == tuned("different", "c", "d")[0]


def test_an_interrupted_run_goes_on_by_the_same_command(photos, tmp_path, capsys, monkeypatch):
    """The command is killed at a step; the second run ends with the weights of an unbroken one."""
    from nvs.training.step import GaussianHeadStep

    words = ["untrained:tiny", "--steps", "3", "--validate-every", "2", "--lpips", "0", "--depth", "network"]
    assert tune(photos, tmp_path / "whole", *words) == 0
    begin = GaussianHeadStep.begin_step

    def killed(self, index, steps):
        if index == 2:
            raise KeyboardInterrupt
        begin(self, index, steps)

    with monkeypatch.context() as patch:
        patch.setattr(GaussianHeadStep, "begin_step", killed)
        assert tune(photos, tmp_path / "parts", *words) == 130
    assert tune(photos, tmp_path / "parts", *words) == 0
    assert "resuming from" in "".join(capsys.readouterr())
    whole, parts = (validations(tmp_path / name) for name in ("whole", "parts"))
    assert whole == parts  # to the bit


def test_lpips_is_insisted_on_or_said_to_be_missing(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with listening():
        assert lpips_weight(None) == 0
    assert "training without LPIPS" in capsys.readouterr().err
    assert tune(photos, tmp_path / "run", "untrained:tiny", "--steps", "1", "--lpips", "0.05") == 2
    error = capsys.readouterr().err
    assert re.search(r"error: .*vgg16-397923af\.pth is missing", error)
    assert not list(tmp_path.glob("run/checkpoints/*"))


def test_too_few_photos(photos, tmp_path, capsys):
    few = [photos / "00.png", photos / "01.png", photos / "02.png"]
    folder = tmp_path / "few"
    folder.mkdir()
    for path in few:
        (folder / path.name).write_bytes(path.read_bytes())
    assert tune(folder, tmp_path / "run", "untrained:tiny", "--unposed", "--steps", "1", "--lpips", "0") == 2
    assert "expected at least 4 photos (one is held out), got 3" in capsys.readouterr().err


def test_neither_the_capture_nor_weights_of_others_are_replaced(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "nvs.training.finetuning.build_model", lambda *_, **__: pytest.fail("the work had begun")
    )
    before = sorted(photos.iterdir())
    assert tune(photos, photos, "untrained:tiny") == 2
    assert "expected a folder of its own" in capsys.readouterr().err
    assert sorted(photos.iterdir()) == before
    (tmp_path / "best.safetensors").write_text("another's")
    assert tune(photos, tmp_path, "untrained:tiny") == 2
    assert "best.safetensors: expected no such file" in capsys.readouterr().err

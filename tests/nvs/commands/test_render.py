"""`nvs render` from photos to the folder, as a person runs it; and everything it must refuse."""

import json
import re
import shutil

import imageio_ffmpeg
import numpy as np
import pytest
import scenes
import torch
from browser import browser
from PIL import Image
from pretended_cuda import pretended_cuda

from geometry.formats.colmap import read_model
from geometry.results import RENDERED
from geometry.scenes import transforms_json
from geometry.verdict import UNTRUSTED
from nvs.commands.render import main
from nvs.gaussians import Gaussians
from nvs.rasterizer.backends import _warn_once

H, W = 60, 90
DONE = (0, UNTRUSTED)  # photos of noise agree on little depth


def write_photos(folder, count):
    scenes.write_photos(folder, count, (H, W), "photo{:02d}.png")
    return folder


def write_cameras(folder, count):
    scenes.write_arc_cameras(folder, [f"photo{i:02d}.png" for i in range(count)], (H, W))


@pytest.fixture(scope="module")
def posed(tmp_path_factory):
    folder = write_photos(tmp_path_factory.mktemp("posed"), 5)
    write_cameras(folder, 5)
    return folder


def render(*arguments):
    small = ("--process-res", "56", "--frames", "3", "--size", "36", "54")
    draft = () if "--refine" in arguments else ("--quality", "draft")
    return main([str(a) for a in (*arguments, *small, *draft)])


@pytest.fixture(scope="module")
def folder(posed, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "scene"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("hub")))  # LPIPS finds no trunk
        assert render(posed, "--out", out, "--holdout", "4", "--depth", "sweep", "--no-pose-check") in DONE
    return out


def test_every_file_is_there(folder):
    assert {p.name for p in folder.iterdir()} == {
        "gaussians.ply", "video.mp4", "frames", "depth", "images", "transforms.json", "frames.json",
        "contact_sheet.png", "scene.json", "metrics.json", ".written.json", "depth16", "report.html",
        "COLMAP",
    }  # fmt: skip
    assert len(list((folder / "frames").iterdir())) == len(list((folder / "depth").iterdir())) == 3
    assert Image.open(folder / "frames" / "0000.png").size == (54, 36)
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(folder / "video.mp4"))
    assert frames == 3


def test_the_command_lists_what_it_wrote_and_the_list_is_complete(folder, posed, tmp_path, capsys):
    known = {file.relative_to(folder).as_posix() for pattern in RENDERED for file in folder.glob(pattern)}
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == known | {".written.json"}
    assert render(posed, "--out", tmp_path / "out", "--no-pose-check") in DONE
    printed = capsys.readouterr().err
    for pattern, what in RENDERED.items():
        assert (what in printed) == (pattern != "metrics.json")


def test_scene_json_says_how_it_was_made(folder):
    about = json.loads((folder / "scene.json").read_text())
    assert set(about["timing"]["stages"]) >= {"photos", "model", "sweep", "network", "render and write"}
    assert about["timing"]["total"] == pytest.approx(sum(about["timing"]["stages"].values()), abs=0.1)
    made = about["provenance"]
    assert made["command"].startswith("nvs render ")
    assert "--holdout 4" in made["command"]
    assert made["settings"]["gaussians"]["quality"] == "draft"
    assert made["settings"]["photos"]["holdout"] == 4
    assert len(made["weights_sha256"]) == 64
    assert {"processor", "cores", "python", "torch"} <= set(made["machine"])


def test_colmap_reads_the_folder(folder):
    model = read_model(folder / "COLMAP/sparse/0")
    assert sorted(image.name for image in model.images.values()) == [
        "photo01.png",
        "photo02.png",
        "photo03.png",
    ]
    for name in ("photo01.png", "photo02.png", "photo03.png"):
        assert (folder / "COLMAP/images" / name).read_bytes() == (folder / "images" / name).read_bytes()
    assert len(model.points.ids) > 10


def test_the_report_is_one_page_with_everything(folder):
    page = (folder / "report.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert len(page) < 3e6
    metrics = json.loads((folder / "metrics.json").read_text())
    for said in (
        "photo01.png",
        "photo03.png",
        "Apache-2.0",
        "render and write",
        f"{metrics['psnr']:.2f}",
        "--holdout 4",
    ):
        assert said in page
    assert page.count("<figure>") == 3
    assert page.count('class="photo"') == 3
    assert "$" not in re.sub(r"<script>.*?</script>|data:[^\"]*", "", page, flags=re.DOTALL)


@pytest.mark.browser
def test_a_browser_opens_the_report(folder, tmp_path):
    with browser(tmp_path, (600, 800)) as page:
        page.open(f"file://{folder}/report.html")
        page.wait("document.readyState === 'complete' && document.images.length > 5")
        page.wait("[...document.images].every((image) => image.naturalWidth > 0)")
        page.run("document.getElementById('play').click()")
        first = page.run("document.getElementById('view').src")
        page.run("(() => { const t = document.getElementById('time'); t.value = t.max; t.oninput(); })()")
        assert page.run("document.getElementById('view').src") != first
        assert page.errors == []
        assert page.requests == [f"file://{folder}/report.html"]


def test_depth_is_there_as_data(folder):
    about = json.loads((folder / "scene.json").read_text())
    gaussians = Gaussians.load(folder / "gaussians.ply")
    assert (about["gaussians"], about["frames"]) == (gaussians.means.shape[1], 3)
    for name, count in (("frames.json", 3), ("transforms.json", 3)):
        scene = transforms_json.read_scene(folder / name)
        depths = [frame.load_depth() for frame in scene.frames]
        assert len(depths) == count
        for frame, depth in zip(scene.frames, depths):
            assert depth.shape == frame.image_size or name == "transforms.json"  # on the Gaussians' grid
            known = depth[depth > 0]
            assert known.size > 0.2 * depth.size
            assert 0.5 < np.median(known) < 20  # the cameras stand 4 units from the middle


def test_pictures_that_mean_nothing_are_marked(posed, tmp_path, capsys):
    out = tmp_path / "out"
    assert render(posed, "--out", out, "--holdout", "4", "--unposed") == UNTRUSTED
    captured = capsys.readouterr()
    assert "DO NOT TRUST" in captured.err
    assert "--unposed" in captured.err
    for name in ("scene.json", "metrics.json"):
        marked = json.loads((out / name).read_text())
        assert marked["trustworthy"] is False
        assert "--model small" in marked["problems"][0]
    sheet = np.asarray(Image.open(out / "contact_sheet.png").convert("RGB")).astype(int)
    assert ((sheet[:60, :, 0] - sheet[:60, :, 1]) > 100).any()  # red words at the top
    assert json.loads((out / "metrics.json").read_text())["alignment"].startswith("umeyama")
    page = (out / "report.html").read_text()
    assert "Do not trust these pictures" in page
    assert "--model small" in page


def test_a_missing_pycolmap_is_said_before_the_work(posed, tmp_path, capsys, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    for photo in sorted(posed.glob("photo0[012].png")):
        shutil.copy(photo, photos)
    monkeypatch.setattr("geometry.scenes.structure_from_motion.available", lambda: False)
    monkeypatch.setattr("nvs.rendering.load_views", lambda *_: pytest.fail("the work had begun"))
    with pytest.raises(pytest.fail.Exception):
        render(photos, "--out", tmp_path / "out")
    assert "pip install pycolmap" in capsys.readouterr().err


def test_holdout_is_measured_and_says_what_is_missing(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [t["name"] for t in metrics["targets"]] == ["photo00.png", "photo04.png"]
    assert metrics["context"] == ["photo01.png", "photo02.png", "photo03.png"]
    assert metrics["alignment"] == "given poses"
    assert metrics["psnr"] == pytest.approx(np.mean([t["psnr"] for t in metrics["targets"]]))
    for name in ("lpips_vgg", "lpips_alex"):
        assert metrics[name] is None
        assert ".pth" in metrics["reasons"][name]


def test_given_cameras_come_out_as_they_went_in(folder, posed):
    given = transforms_json.read_scene(posed / "transforms.json")
    written = transforms_json.read_scene(folder / "transforms.json")
    np.testing.assert_allclose(written.extrinsics, given.extrinsics[1:4], atol=1e-6)
    # The network's images are 42 x 56 here: intrinsics follow each axis.
    factor = np.array([56 / W, 42 / H, 1])[:, None]
    expected = given.intrinsics[1:4] * factor
    sizes = [f.image_size for f in written.frames]
    np.testing.assert_allclose(written.intrinsics[0][2], [0, 0, 1])
    assert sizes == [Image.open(folder / "images" / "photo01.png").size[::-1]] * 3
    np.testing.assert_allclose(written.intrinsics[:, [0, 1], [0, 1]], expected[:, [0, 1], [0, 1]], rtol=0.03)


def test_ply_holds_finite_gaussians(folder):
    gaussians = Gaussians.load(folder / "gaussians.ply")
    assert gaussians.means.shape[1] > 100
    for tensor in (gaussians.means, gaussians.scales, gaussians.opacities, gaussians.sh):
        assert torch.isfinite(tensor).all()


@pytest.mark.extended
def test_refinement_is_measured_against_what_was_before(posed, tmp_path, capsys):
    out = tmp_path / "out"
    options = ("--depth", "sweep", "--refine", "20", "--refine-cameras", "--background", "black")
    assert render(posed, "--out", out, "--holdout", "5", "--no-pose-check", *options) in DONE
    refinement = json.loads((out / "metrics.json").read_text())["refinement"]
    assert refinement["steps"] > 0
    assert refinement["seconds"] > 0
    assert refinement["gain_db"] == pytest.approx(
        json.loads((out / "metrics.json").read_text())["psnr"] - refinement["before"]["psnr"]
    )
    assert "dB/s" in capsys.readouterr().out
    about = json.loads((out / "scene.json").read_text())
    assert (about["depth"], about["refine_steps"], about["background"]) == ("sweep", 20, [0, 0, 0])


def test_a_sweep_needs_poses(posed, tmp_path, capsys):
    assert render(posed, "--out", tmp_path / "out", "--unposed", "--depth", "sweep") == 2
    assert "--depth sweep" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_y_up_turns_every_file(posed, folder, tmp_path):
    out, words = tmp_path / "turned", ("--holdout", "4", "--depth", "sweep", "--no-pose-check")
    assert render(posed, "--out", out, *words, "--world", "y-up") in DONE
    cameras = transforms_json.read_scene(out / "transforms.json")
    assert (cameras.extrinsics[:, 1, 1] < -0.99).all()  # the images' down axis is the world's -y
    first, second = (np.asarray(Image.open(o / "frames" / "0001.png"), float) for o in (folder, out))
    assert np.abs(first - second).mean() < 2  # the pictures are the same


@pytest.mark.extended
@pytest.mark.parametrize("path", ["orbit", "smooth", "FILE"])
def test_paths(path, posed, folder, tmp_path):
    out = tmp_path / "out"
    chosen = folder / "frames.json" if path == "FILE" else path
    small = write_photos(tmp_path / "two", 2)
    photos = posed if path in ("FILE", "smooth") else small
    assert render(photos, "--out", out, "--path", chosen, "--context", "3", "--no-pose-check") in DONE
    assert (out / "video.mp4").stat().st_size > 0


def test_one_photo(tmp_path):
    photos = write_photos(tmp_path / "one", 1)
    assert render(photos / "photo00.png", "--out", tmp_path / "out", "--path", "orbit") in DONE


def test_mixed_shapes_and_a_stated_limit(tmp_path, capsys):
    photos = write_photos(tmp_path / "mixed", 3)
    Image.open(photos / "photo01.png").rotate(90, expand=True).save(photos / "photo01.png")
    assert render(photos, "--out", tmp_path / "out", "--max-views", "2", "--path", "original") in DONE
    said = capsys.readouterr().err
    assert "takes 2 of 3 photos" in said
    assert "model: tiny" in said


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("empty", "bad"),
        ("truncated", "photo01.jpg"),
        ("text", "photo00.png"),
        ("pixel", "photo01.png"),
        ("missing", "bad"),
        ("other model", "transforms.json"),
        ("checkpoint", "half.safetensors"),
        ("size", "huge"),
        ("path", "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(spoil, said, tmp_path, capsys):
    photos = write_photos(tmp_path / "bad", 2)
    extra = []
    if spoil == "empty":
        for file in photos.iterdir():
            file.unlink()
    elif spoil == "truncated":
        Image.open(photos / "photo01.png").resize((400, 300)).save(photos / "photo01.jpg")
        (photos / "photo01.png").unlink()
        (photos / "photo01.jpg").write_bytes((photos / "photo01.jpg").read_bytes()[:1500])
    elif spoil == "text":
        for file in photos.iterdir():  # one among others is left out and counted
            file.write_text("no picture")
    elif spoil == "pixel":
        Image.new("RGB", (1, 1)).save(photos / "photo01.png")
    elif spoil == "missing":
        shutil.rmtree(photos)
    elif spoil == "other model":
        write_cameras(photos, 2)
        for i in range(2):
            (photos / f"photo{i:02d}.png").rename(photos / f"other{i}.png")
    elif spoil == "checkpoint":
        (tmp_path / "half.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
        extra = ["--model", tmp_path / "half.safetensors"]
    elif spoil == "size":
        extra = ["--model", "huge"]
    elif spoil == "path":
        extra = ["--path", "nowhere"]
    before = sorted(tmp_path.iterdir())
    assert render(photos, "--out", tmp_path / "out", *extra) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert said in lines[0]
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def gpu_without_compiler(monkeypatch):
    monkeypatch.setattr("nvs.rasterizer.cuda._load", lambda: "gsplat found no nvcc")
    _warn_once.cache_clear()
    with pretended_cuda():
        yield


@pytest.mark.extended
@pytest.mark.parametrize("options", [["--holdout", "4", "--path", "orbit"], ["--refine", "3"]])
def test_a_gpu_gives_what_the_cpu_gives(options, posed, tmp_path, gpu_without_compiler):
    options = [posed, *options, "--no-pose-check", "--precision", "float32"]
    assert render(*options, "--out", tmp_path / "cpu", "--device", "cpu") in DONE
    with pytest.warns(UserWarning, match="rendering on the CPU, the rest on the GPU"):
        assert render(*options, "--out", tmp_path / "cuda", "--device", "auto") in DONE
    wanted, actual = (Gaussians.load(tmp_path / device / "gaussians.ply") for device in ("cpu", "cuda"))
    torch.testing.assert_close(actual.means, wanted.means, rtol=1e-5, atol=1e-4)
    wanted, actual = (
        transforms_json.read_scene(tmp_path / device / "frames.json") for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(actual.extrinsics, wanted.extrinsics, atol=1e-5)


def test_kernels_that_are_asked_for_and_missing_are_one_line_before_any_work(
    tmp_path, gpu_without_compiler, capsys
):
    assert render("nowhere", "--out", tmp_path / "out", "--backend", "cuda") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "no nvcc" in lines[0]


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def capture(tmp_path):
    """A capture of the usual layout, whose names are those of the results."""
    write_photos(tmp_path / "work/capture/images", 4)
    write_cameras(tmp_path / "work/capture/images", 4)
    written = json.loads((tmp_path / "work/capture/images/transforms.json").read_text())
    (tmp_path / "work/capture/images/transforms.json").unlink()
    for frame in written["frames"]:
        frame["file_path"] = f"images/{frame['file_path']}"
    (tmp_path / "work/capture/transforms.json").write_text(json.dumps(written))
    return tmp_path / "work/capture"


@pytest.mark.parametrize(
    ("photos", "out"),
    [
        ("capture", "capture"),
        ("capture", "."),
        ("capture", "capture/images"),
        ("capture/transforms.json", "capture"),
        ("capture/transforms.json", "capture/images"),
        ("capture/images", "capture"),
        ("capture/images/photo00.png", "capture/images"),
        ("links", "capture/images"),
    ],
)
def test_an_output_folder_never_replaces_the_input(capture, photos, out, capsys, monkeypatch):
    work = capture.parent
    (work / "links").mkdir()
    for photo in (capture / "images").iterdir():
        (work / "links" / photo.name).symlink_to(photo)
    before = contents(work)
    monkeypatch.setattr("nvs.rendering.find_checkpoint", lambda *_: pytest.fail("the work had begun"))
    assert render(work / photos, "--out", work / out, "--no-pose-check") == 2
    assert "expected a folder of its own" in capsys.readouterr().err
    assert contents(work) == before


def test_poses_and_files_of_others_are_not_replaced_either(capture, tmp_path, capsys, monkeypatch):
    photos = write_photos(tmp_path / "photos", 4)
    before = contents(tmp_path)
    monkeypatch.setattr("nvs.rendering.open_capture", lambda *_: pytest.fail("photos were read"))
    poses = capture / "transforms.json"
    for options, said in ((("--poses", poses), "of its own"), ((), "expected no file")):
        assert render(photos, "--out", capture, *options) == 2
        assert said in capsys.readouterr().err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("listed", [True, False])
def test_a_second_run_into_the_same_folder_replaces_the_first(posed, folder, tmp_path, listed):
    out = shutil.copytree(folder, tmp_path / "scene")
    if not listed:
        (out / ".written.json").unlink()  # as before files were listed
    (out / "notes.txt").write_text("mine")
    assert render(posed, "--out", out, "--no-pose-check", "--context", "2") in DONE
    assert len(json.loads((out / "scene.json").read_text())["context"]) == 2
    assert (out / "notes.txt").read_text() == "mine"
    assert render(posed, "--out", out, "--no-pose-check", "--context", "2") in DONE

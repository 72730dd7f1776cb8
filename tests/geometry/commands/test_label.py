"""`geometry label` by two processes as a scheduler starts them, killed in the middle and started again."""

import signal

import pytest
import torch
from programs import ranks, run_ranks
from scenes import make_room, write_capture

from geometry.datasets.registry import open_source
from geometry.models.zoo import build
from geometry.options import LabelOptions
from geometry.training.labelling import label_source, read_reports
from geometry.training.labels import FOLDER
from geometry.weights.checkpoint import save_checkpoint

pytestmark = pytest.mark.extended  # whole runs, seconds each

SCENES, PHOTOS = 4, 6


def test_two_processes_share_the_scenes_and_resume_after_a_kill(tmp_path):
    torch.manual_seed(0)
    teacher = build("mono-tiny").eval()
    about = {"variant": "mono-tiny", "released": False, "licence": "", "description": ""}
    save_checkpoint(tmp_path / "teacher.safetensors", teacher, **about)
    for place in ("one", "two"):
        for scene in range(SCENES):
            write_capture(tmp_path / place / f"room_{scene}", make_room(PHOTOS, seed=scene))
    options = ["--model", tmp_path / "teacher.safetensors", "--process-res", 42, "--workers", 0]
    options += ["--batch", 1, "--raw", "--device", "cpu"]

    def reports():
        return {home: list(read_reports(home)) for home in sorted((tmp_path / "two").glob(f"*/{FOLDER}/*"))}

    command = ["-m", "geometry", "label", tmp_path / "two", *options]
    first, second = ranks(2, command, tmp_path)
    first.wait_for(lambda: any(reports().values()))
    for program in (first, second):
        program.send_signal(signal.SIGKILL)
        program.wait()
    named = [home / f"{entry['frame']}.npz" for home, entries in reports().items() for entry in entries]
    assert 0 < len(named) < SCENES * PHOTOS
    before = {path: path.stat().st_mtime_ns for path in named}

    run_ranks(2, command, tmp_path)
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    assert [len(entries) for entries in reports().values()] == [PHOTOS] * SCENES
    for home in reports():
        (log,) = home.glob("report*.jsonl")  # of one process: the other had other scenes
        assert log.name == f"report.{int(home.name[-1]) % 2}.jsonl"
    alone = LabelOptions(process_res=42, raw=True, workers=0)
    label_source(open_source(tmp_path / "one"), teacher, alone, torch.device("cpu"))
    made = sorted((tmp_path / "one").rglob(f"{FOLDER}/**/*.npz"))
    assert len(made) == SCENES * PHOTOS
    for path in made:
        assert (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes() == path.read_bytes()

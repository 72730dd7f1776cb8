"""`nvs finetune`, `nvs render --holdout` and `nvs-eval method=model` are one measurement."""

import json

import pytest
from scenes import make_arc, write_capture

from eval.__main__ import main as nvs_eval
from eval.run_folder import Store
from geometry.formats.text import read_object
from nvs.commands import finetune, render
from nvs.training import cases

pytestmark = pytest.mark.extended  # whole runs, seconds each

CONTEXT, HOLDOUT, PROCESS_RES = 4, 8, 84
# The benchmark judges stored pictures. Rounding to 8 bits adds an error of variance (1/255)^2 / 12, 59 dB:
# below 30 dB that is less than 0.006 dB. The rest is the network's images: nvs resizes photos to them in two
# steps, as the released code does, the benchmark in one. Seen here: up to 0.02 dB.
TOLERANCE_DB = 0.05


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr("nvs.cameras.fit.LONG_SIDE", 96)
    monkeypatch.setattr(cases, "SHEET_COLUMNS", 2)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Photos of 9:16, a shape that the network's images do not have."""
    return write_capture(tmp_path_factory.mktemp("data") / "room", make_arc(10, size=(108, 192)))


def benchmark_psnr(room, out, *more):
    words = [f"benchmark.root={room}", f"out={out}", f"benchmark.rule.context={CONTEXT}", "metrics=[psnr]"]
    words += ["benchmark.long_side=96", f"process_res={PROCESS_RES}", "device=cpu", *more]
    assert nvs_eval(["run", *words]) == 0
    (scene,) = read_object(Store(out).summary, "a run")["scenes"]
    return {target["name"]: target["psnr"] for target in scene["targets"]}


def rendered(room, out, *more):
    words = [room, "--out", out, "--context", CONTEXT, "--holdout", HOLDOUT, "--process-res", PROCESS_RES]
    status = render.main([str(w) for w in [*words, "--frames", 2, "--device", "cpu", *more]])
    assert status in (0, 3)  # 3: so few small photos agree on little depth
    return json.loads((out / "metrics.json").read_text())


def per_target(metrics):
    return {target["name"]: target["psnr"] for target in metrics["targets"]}


# Steps add to what differs before them, and one Gaussian more changes which ones a step does without.
@pytest.mark.parametrize(("refine", "tolerance"), [(0, TOLERANCE_DB), (6, 4 * TOLERANCE_DB)])
def test_render_and_benchmark_measure_the_same(room, tmp_path, refine, tolerance):
    words = ["--refine", refine, "--depth", "sweep"]
    metrics = rendered(room, tmp_path / "render", *words)
    assert metrics["size"] == [54, 96]
    psnr = benchmark_psnr(room, tmp_path / "eval", f"refine={refine}", "depth=sweep")
    assert read_object(Store(tmp_path / "eval").summary, "a run")["sizes"] == [[54, 96]]
    assert per_target(metrics) == pytest.approx(psnr, abs=tolerance)


def test_finetuning_and_benchmark_measure_the_same(room, tmp_path):
    words = ["--context", CONTEXT, "--holdout", HOLDOUT, "--process-res", PROCESS_RES, "--device", "cpu"]
    words += ["--steps", 1, "--validate-every", 1, "--lpips", 0, "--targets", 1, "--context-sets", 1]
    out = tmp_path / "tuned"
    assert finetune.main([str(w) for w in [room, "--out", out, *words]]) == 0
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    validated = {e["step"]: e["metrics"]["psnr"] for e in lines if e["kind"] == "validation"}
    for step, model in ((0, "tiny"), (1, out / "last.safetensors")):
        psnr = benchmark_psnr(room, tmp_path / f"eval{step}", f"model={model}", "refine=0")
        assert validated[step] == pytest.approx(sum(psnr.values()) / len(psnr), abs=TOLERANCE_DB)

"""Run folders and checkpoints of an earlier version load: they were stored before modules moved.

`stored_runs.tar.xz` holds what commit 779607f wrote with the commands below on a CPU, after two steps; the
losses expected at step 3 are those that this version reached when it resumed them itself.
"""

import json
import shutil
import tarfile
import warnings
from pathlib import Path

import pytest
import torch
from hydra.utils import get_object

from eval.__main__ import main as nvs_eval
from geometry.commands import train as train_geometry
from geometry.models.zoo import VARIANTS, Variant
from geometry.stored_config import MOVED, present_name
from geometry.weights.checkpoint import find_checkpoint, load_network
from geometry.weights.files import fingerprint
from nvs.commands import train as train_nvs
from nvs.model.splatter import load_splatter

pytestmark = pytest.mark.extended  # whole runs, seconds each

ARCHIVE = Path(__file__).with_name("stored_runs.tar.xz")
MICRO = {
    "width": 4,
    "depth": 4,
    "heads": 1,
    "output_blocks": (0, 1, 2, 3),
    "alternate_from": 1,
    "channels": (4, 4, 4, 4),
    "camera_encoder_depth": 1,
    "camera_encoder_heads": 1,
}
GEOMETRY = [
    "experiment=geometry/smoke",
    "out=geometry",
    "model.variant=micro",
    "threads=1",
    "guess=false",
    "~validation.unseen",
    "data.dataset.weights.many=0",
    "data.dataset.datasets.few.worlds=2",
    "data.dataset.datasets.few.photos=3",
    "data.dataset.datasets.few.image_size=[28,42]",
    "data.sampler.image_size=[28,42]",
    "data.sampler.batch_size=1",
    "+step.learning_rates={backbone.pos_embed:0,backbone.patch_embed:0}",
    "step.matching.blocks=1",
    "step.matching.heads=1",
    "loop.validate_first=false",
    "loop.validate_every=null",
    "loop.schedule.warmup_steps=1",
    "loop.log_every=1",
    "loop.precision.compute=float32",
]
NVS = [
    "experiment=nvs/smoke",
    "out=nvs",
    "model.weights=untrained:micro-head",
    "data.sampler.image_size=[42,56]",
    "data.dataset.dataset.targets=1",
    "data.dataset.dataset.world.texture_size=64",
    "step.validation=null",
    "loop.validate_every=null",
    "loop.log_every=1",
]
EVAL = [
    "benchmark=dl3dv",
    "benchmark.root=dl3dv",
    "benchmark.size=[36,64]",
    "benchmark.rule.context=4",
    "metrics=[psnr,ssim]",
    "device=cpu",
]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def stored(unpacked, tmp_path, monkeypatch):
    """A copy of the stored folders as the working directory, and the two sizes of network they hold."""
    monkeypatch.setitem(VARIANTS, "micro", Variant(features=4, **MICRO))
    monkeypatch.setitem(VARIANTS, "micro-head", Variant(features=8, **MICRO))
    folder = shutil.copytree(unpacked, tmp_path / "stored")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("command", "overrides", "loss"),
    [(train_geometry, GEOMETRY, 5.810008525848389), (train_nvs, NVS, 0.018740952014923096)],
)
def test_a_stored_run_resumes_and_only_the_longer_run_is_a_change(stored, command, overrides, loss):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert command.main([*overrides, "loop.steps=3"]) == 0
    changed = [str(w.message) for w in caught if "resuming" in str(w.message)]
    assert changed == ["resuming with a changed config: loop.steps: 2 -> 3"]
    folder = stored / overrides[1].removeprefix("out=")
    last = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()][-1]
    assert last["step"] == 3
    assert last["loss"] == pytest.approx(loss, rel=1e-4)


def test_stored_safetensors_load_as_networks(stored):
    network = load_network(find_checkpoint("geometry"))  # the folder's model.safetensors
    trained = torch.load("geometry/checkpoints/step_00000002/model.pt", weights_only=True)
    assert all(
        torch.equal(network.state_dict()[name], w) for name, w in trained.items() if "matching" not in name
    )
    checkpoint = find_checkpoint("nvs/last.safetensors")  # a head alone, that names its backbone and its hash
    assert load_splatter(checkpoint).head is not None
    identity = json.loads(Path("eval_model/run.json").read_text())["identity"]
    assert fingerprint(checkpoint.state | checkpoint.gaussian_head) == identity["weights_sha256"]


@pytest.mark.parametrize(
    ("run", "method"),
    [
        ("eval_model", ["model=nvs/last.safetensors", "depth=network", "refine=0"]),  # all that there was
        ("eval_nearest", ["method=nearest"]),
    ],
)
def test_a_stored_benchmark_run_goes_on_and_is_reported(stored, run, method):
    before = json.loads((stored / run / "scores.json").read_text())
    pictures = {p: p.stat().st_mtime_ns for p in (stored / run / "predictions").rglob("*.png")}
    assert nvs_eval(["report", run, "--out", "report.html"]) == 0  # reads photos as benchmark.json says
    assert nvs_eval(["run", f"out={run}", *method, *EVAL]) == 0
    assert {p: p.stat().st_mtime_ns for p in (stored / run / "predictions").rglob("*.png")} == pictures
    shutil.rmtree(stored / run / "scores")
    assert nvs_eval(["run", f"out={run}", *method, *EVAL]) == 0
    after = json.loads((stored / run / "scores.json").read_text())
    assert after["means"] == pytest.approx(before["means"], rel=1e-5)


@pytest.mark.parametrize(
    "target",
    [
        "geometry.data.dl3dv.DL3DV",
        "geometry.data.mixture.Part",
        "geometry.data.augment.PhotometricAugmentation",
        "geometry.data.procedural.ProceduralDataset",
        "geometry.data.procedural_samples.ProceduralSamples",
        "geometry.data.sampling_dataset.SamplingDataset",
        "geometry.data.virtual_cameras.VirtualCameras",
        "geometry.training.prepared.PreparedWorlds",
        "geometry.engine.DataStream",
    ],
)
def test_what_stored_configurations_name_is_found_today(target):
    assert get_object(present_name(target)).__name__ == target.rsplit(".", 1)[1]


def test_every_row_of_the_table_leads_to_a_module():
    for module in MOVED.values():
        get_object(module)

"""The training benchmark: its batch, and one row of its table."""

import importlib.util
from pathlib import Path

import pytest
import torch

from geometry.ops.scale import normalise_truth

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/bench_training.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("bench_training", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_batch_is_one_that_losses_accept(script):
    batch = script.collate([script.noise(3, (28, 42))] * 2)
    assert batch.views.images.shape == (2, 3, 3, 28, 42)
    truth, scale = normalise_truth(batch.truth, torch.zeros(2, dtype=torch.long))
    assert torch.isfinite(scale).all()
    assert torch.isfinite(truth.depth).all()
    assert batch.truth.valid.all()


@pytest.mark.extended
def test_a_row_is_measured_on_a_cpu(script):
    small = ["--models", "tiny", "--views", "2", "--size", "28x42", "--updates", "1", "--device", "cpu"]
    args = script.parse([*small, "--peak", "1", "--override", "loop.precision.compute=float32"])
    cells = script.speed(args, "tiny").split(" | ")
    assert cells[0] == "8 M"
    seconds, tokens, images = (float(x.replace(",", "")) for x in cells[1:4])
    assert images == pytest.approx(2 / seconds, rel=0.01)
    assert tokens == pytest.approx(6 * images, rel=0.01, abs=0.5)  # printed as a whole number
    assert 0 < float(cells[5]) < 1


def test_what_only_cuda_can_tell_is_not_guessed(script):
    with pytest.raises(script.InputError, match="CUDA"):
        script.main(["--most-views", "--device", "cpu"])

"""Training of the stereo network: what is kept of a sweep, what is asked, and that a stopped run resumes."""

from functools import partial

import numpy as np
import pytest
import torch

from geometry.engine import DataStream, FixedBatchSampler, SampleRequest, Schedule, fit, load_weights
from geometry.ops.pinhole import project, unproject
from geometry.worlds import ProceduralDataset
from nvs.stereo.network import Estimate, StereoNetwork
from nvs.training.stereo import SHAKE, StereoStep, SweepCrops, read_sweep, rightness, shaken, write_sweep

SMALL = {"width": (4, 4, 4, 4), "photo": (4, 4, 4, 4, 4)}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Three views of 112 x 112, swept at half the size."""
    path = tmp_path_factory.mktemp("sweeps") / "0.npz"
    worlds = ProceduralDataset(seed=3, kinds=["objects"])
    example = worlds.sample(0, n_views=3, image_size=(112, 112), path="orbit")
    write_sweep(path, example)
    return path, example


def test_kept_planes_are_the_true_depth(sweep):
    path, example = sweep
    kept = read_sweep(path, 1)
    inverse = kept.plane + kept.infinity[:, None, None]  # up to the planes' step
    depth = example.truth.depth[:, 1, 1::2, 1::2]
    seen = ~kept.sky & ~example.truth.sky[:, 1, 1::2, 1::2]
    product = (inverse * depth)[seen]
    assert (product / product.median() - 1).abs().median() < 1e-3
    matching = kept.evidence.matching
    assert matching.shape == (1, 80, 56, 56)
    assert matching.abs().max() <= 1


def test_shaken_cameras_miss_by_a_part_of_a_pixel(sweep):
    views, depth = sweep[1].views, sweep[1].truth.depth
    points = unproject(depth, views.cameras)
    misses = []
    for seed in range(20):
        moved = shaken(views, depth, np.random.default_rng(seed)).cameras
        before, after = (project(points, c)[0] for c in (views.cameras, moved))
        misses.append(float((after - before).norm(dim=-1).median()))
    assert 0.3 * SHAKE < max(misses) < 3 * SHAKE
    assert min(misses) < 0.1 * SHAKE


def test_right_is_within_two_per_cent_or_half_a_plane(sweep):
    truth = read_sweep(sweep[0], 0)
    zeros = torch.zeros_like(truth.plane)
    for shift, right in ((0.0, 1), (0.49, 1), (20.0, 0)):
        said = Estimate(
            scores=truth.evidence.matching, plane=truth.plane + shift, confidence=zeros, sky=zeros
        )
        assert rightness(said, truth).mean() == right


def test_crops_follow_from_the_request_alone(sweep):
    crops = SweepCrops([sweep[0]], size=(32, 48))
    one, again, other = (crops[SampleRequest(index=0, number=0, step=0, seed=seed)] for seed in (1, 1, 2))
    assert torch.equal(one.evidence.smoothed, again.evidence.smoothed)
    assert one.plane.shape == (1, 32, 48)
    assert not torch.equal(one.evidence.smoothed, other.evidence.smoothed)


@pytest.mark.extended
def test_a_stopped_run_resumes_to_the_same_weights(sweep, tmp_path):
    def run(folder, *stops):
        for steps in stops:
            torch.manual_seed(0)
            result = fit(
                StereoStep(StereoNetwork(**SMALL), [sweep[0]]),
                DataStream(SweepCrops([sweep[0]], size=(32, 32)), FixedBatchSampler(batch_size=2)),
                partial(torch.optim.AdamW, lr=1e-3),
                steps=steps,
                out=tmp_path / folder,
                ema_decay=0.9,
                schedule=Schedule(kind="constant"),
                validate_every=4,
                tensorboard=False,
                device="cpu",
            )
        assert set(result.metrics) == {"right", "trusted", "precision", "sky_iou"}
        return load_weights(result.checkpoint)

    whole, parts = run("whole", 4), run("parts", 2, 4)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)

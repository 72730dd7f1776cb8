"""Guesses: what they score by hand, and that they know nothing of the photos."""

from dataclasses import replace

import pytest
import torch

from geometry.tensors import collate
from geometry.training.baselines import chance_scores
from geometry.training.validation import ValidationSet
from geometry.views import Cameras


def with_truth(batch, depth, centres):
    """The sample with a depth per pixel column and cameras that only move."""
    V, H, W = batch.truth.depth.shape[1:]
    E = torch.eye(4).repeat(1, V, 1, 1)
    E[0, :, :3, 3] = -torch.tensor(centres)
    cameras = Cameras(extrinsics=E, intrinsics=batch.truth.cameras.intrinsics[:1])
    depth = torch.as_tensor(depth).expand(1, V, H, W)
    truth = replace(batch.truth, cameras=cameras, depth=depth, valid=depth > 0, sky=None, objects=None)
    return replace(batch, truth=truth)


@pytest.fixture
def first(worlds):
    return collate([worlds[0]])


def test_a_flat_guess_by_hand(first):
    """Half the pixels at 1, half at 3: the best factor is 2, errors 1 and 1/3, delta1 nothing."""
    W = first.truth.depth.shape[-1]
    columns = torch.where(torch.arange(W) % 2 == 0, 1.0, 3.0)
    line = [[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]
    sample = with_truth(first, columns, line)
    scores = chance_scores({"only": ValidationSet(dataset=[sample, sample], samples=2)})
    assert scores["absrel"] == pytest.approx(2 / 3, abs=1e-5)
    assert scores["delta1"] == 0


def test_guessed_cameras_are_those_of_the_others(first):
    across = with_truth(first, 1.0, [[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    along = with_truth(first, 1.0, [[0.0, 0, 0], [0, 0, 1], [0, 0, 2]])

    def auc(*samples):
        return chance_scores({"only": ValidationSet(dataset=list(samples), samples=len(samples))})["auc30"]

    assert auc(across, replace(across)) == pytest.approx(1.0)
    assert auc(across, along) == 0
    # Of six ordered pairs two agree.
    assert auc(across, replace(across), along) == pytest.approx(1 / 3)


def test_names_follow_the_validation(first):
    sets = {"a": ValidationSet(dataset=[first], samples=1), "b": ValidationSet(dataset=[first], samples=1)}
    scores = chance_scores(sets)
    assert set(scores) == {f"{p}{k}" for p in ("", "b_") for k in ("absrel", "delta1", "absrel_unposed")}

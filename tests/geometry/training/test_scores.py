"""Pose scores of a batch against cases solved by hand."""

import math

import pytest
import torch

from geometry.training.scores import pose_scores


def test_a_wrong_rotation_and_a_wrong_translation_are_told_apart():
    truth = torch.eye(4).expand(5, 2, 4, 4).clone()
    truth[:, 1, :3, 3] = torch.tensor([1.0, 0.0, 0.0])
    found = truth.clone()
    found[1, 1, :2, :2] = _turn(40)  # the translation stays
    found[2, 1, :3, 3] = torch.tensor([math.cos(math.radians(50)), math.sin(math.radians(50)), 0.0])
    found[3, 1, :2, :2] = _turn(9.5)  # counts for 21 of the 30 whole degrees
    found[4, 1, :2, :2] = _turn(-60)

    scores = pose_scores(found, truth)

    assert scores["rra30"] == pytest.approx(3 / 5)
    assert scores["rta30"] == pytest.approx(4 / 5)
    assert scores["auc30"] == pytest.approx((1 + 21 / 30) / 5)
    assert scores["auc3"] == pytest.approx(1 / 5)


def _turn(degrees: float) -> torch.Tensor:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, -s], [s, c]])

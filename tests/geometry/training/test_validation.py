"""Validation samples are the same wherever they are made."""

import torch

from geometry.engine import ValidationRun
from geometry.training.validation import ValidationSet, validate


class Products:
    """Entries that are matrix products, as cameras are."""

    def __getitem__(self, request):
        turn = torch.randn(8, 8)
        return turn @ turn.mT


def test_an_autocast_for_the_network_does_not_reach_samples():
    samples = ValidationSet(dataset=Products(), samples=2)
    exact = samples[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = samples[1]
    assert again.dtype == torch.float32
    assert torch.equal(again, exact)


def test_pictures_are_drawn_for_the_samples_that_leave_some_and_scores_are_means():
    """In a run drawing them for every sample cost a sixth of a validation."""
    asked = []

    def score(sample, pictures):
        asked.append(pictures)
        return {"trace": float(len(asked))}, {"depth": sample} if pictures else {}

    sets = {
        "training": ValidationSet(dataset=Products(), samples=3),
        "unseen": ValidationSet(dataset=Products(), samples=4),
    }
    run = ValidationRun(step=0, generator=torch.Generator(), device=torch.device("cpu"))
    result = validate(sets, score, run, previews=2)

    assert asked == [True, True, False, True, True, False, False]
    assert set(result.images) == {"training_0_depth", "training_1_depth", "unseen_0_depth", "unseen_1_depth"}
    assert result.metrics == {"trace": 2.0, "unseen_trace": 5.5}
    assert result.weight == 3

"""Validation samples are the same wherever they are made."""

import pytest
import torch

from geometry.engine import ValidationRun
from geometry.engine.distributed import weighted_means
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
    assert result.weight == {"trace": 3, "unseen_trace": 4}


class Numbers:
    """Samples of batch size one."""

    def __getitem__(self, request):
        return torch.rand(1, 3)


@pytest.mark.parametrize("batch", [2, 3, 5, 8])
def test_samples_scored_together_score_as_one_by_one(batch):
    """Also where the last batch is smaller: a mean of the batches' means would weigh its samples too much."""

    def score(samples, pictures):
        scores = {"mean": samples.double().mean().item()}
        return scores, {"depth": samples[0]} if pictures else {}

    def scored(batch):
        run = ValidationRun(step=0, generator=torch.Generator(), device=torch.device("cpu"))
        sets = {"training": ValidationSet(dataset=Numbers(), samples=7, batch=batch)}
        return validate(sets, score, run, previews=1)

    alone, together = scored(1), scored(batch)
    assert together.metrics["mean"] == pytest.approx(alone.metrics["mean"], abs=1e-12)
    assert together.weight == alone.weight == {"mean": 7}
    assert together.images.keys() == {"training_0_depth"}
    assert torch.equal(together.images["training_0_depth"], alone.images["training_0_depth"])


def test_pictures_of_batches_are_named_by_their_first_samples():
    def score(samples, pictures):
        return {}, {"depth": samples[0]} if pictures else {}

    run = ValidationRun(step=0, generator=torch.Generator(), device=torch.device("cpu"))
    sets = {"training": ValidationSet(dataset=Numbers(), samples=7, batch=3)}
    result = validate(sets, score, run, previews=2)
    assert set(result.images) == {"training_0_depth", "training_3_depth"}


@pytest.mark.parametrize(
    ("few", "many", "batch", "world"), [(1, 4, 1, 2), (7, 5, 2, 3), (16, 2, 4, 32), (8, 6, 3, 2)]
)
def test_any_number_of_processes_calls_the_model_alike_and_scores_each_sample_once(few, many, batch, world):
    """Sharded models wait for each other at each call; a surplus sample must not weigh in the mean."""
    sets = {
        "few": ValidationSet(dataset=Numbers(), samples=few, batch=batch),
        "many": ValidationSet(dataset=Numbers(), samples=many, batch=batch, seed=1),
    }

    def scored(rank, world):
        calls = []

        def score(samples, pictures):
            calls.append((len(samples), pictures))
            return {"mean": samples.double().mean().item()}, {"depth": samples[0]} if pictures else {}

        run = ValidationRun(
            step=0, generator=torch.Generator(), device=torch.device("cpu"), rank=rank, world_size=world
        )
        return calls, validate(sets, score, run)

    calls, shares = zip(*(scored(rank, world) for rank in range(world)))
    assert all(c == calls[0] for c in calls)
    together = weighted_means([(s.metrics, s.weight) for s in shares])
    _, alone = scored(0, 1)
    assert together == pytest.approx(alone.metrics, abs=1e-12)
    assert sum(s.weight.get("mean", 0) for s in shares) == few
    assert sum(s.weight.get("many_mean", 0) for s in shares) == many
    pictures = [name for s in shares for name in s.images]
    assert len(pictures) == len(set(pictures))

"""Teacher, monocular and metric steps: terms, masks, metres; one batch can be learned."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from geometry.engine import ValidationRun
from geometry.losses.objective import MetricObjective, RelativeDepthObjective
from geometry.models.da3 import MonocularDepth
from geometry.prediction import Geometry
from geometry.training.architecture import monocular_network, teacher_network
from geometry.training.monocular import MetricStep, RelativeDepthStep
from geometry.training.validation import ValidationSet

pytestmark = pytest.mark.extended  # whole runs, seconds each


def labelled(batch):
    """The sample with a band of sky above and objects on the left half."""
    sky = torch.zeros_like(batch.truth.valid)
    sky[..., :6, :] = True
    objects = torch.zeros_like(sky)
    objects[..., :30] = True
    metric = torch.ones_like(batch.truth.metric)
    return replace(batch, truth=replace(batch.truth, sky=sky, objects=objects, metric=metric))


def learn(step, batch, steps):
    optimizer = torch.optim.AdamW(step.model.parameters(), lr=3e-4)
    history = []
    for _ in range(steps):
        loss, terms = step.training_loss(batch, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append({k: v.item() for k, v in terms.items()})
    return history


def test_the_teacher_learns_a_batch_and_its_masks(batch):
    torch.manual_seed(0)
    step = RelativeDepthStep(teacher_network("mono-tiny"), RelativeDepthObjective(levels=(4,), spheres=(4,)))
    history = learn(step, labelled(batch), 20)
    assert set(history[0]) == {"global", "local_4", "gradient", "normal", "sky", "objects"}
    for name in ("global", "normal", "sky", "objects"):
        assert history[-1][name] < history[0][name], name


def test_a_monocular_student_has_no_object_mask(batch):
    torch.manual_seed(0)
    step = RelativeDepthStep(
        monocular_network("mono-tiny"), RelativeDepthObjective(levels=(4,), spheres=(4,))
    )
    _, terms = step.training_loss(labelled(batch), torch.Generator().manual_seed(0))
    assert "objects" not in terms
    assert "sky" in terms


def test_the_metric_model_learns_a_batch(batch):
    torch.manual_seed(0)
    history = learn(MetricStep(monocular_network("mono-tiny"), MetricObjective()), labelled(batch), 20)
    assert set(history[0]) == {"depth", "gradient", "sky"}
    for name in ("depth", "sky"):
        assert history[-1][name] < history[0][name], name


def test_the_metric_model_is_scored_in_metres(batch):
    class Canonical(MonocularDepth):
        """Answers as a perfect metric model: depth as a camera of focal length 300 would see it."""

        def __init__(self):
            torch.nn.Module.__init__(self)

        def forward(self, views, *, sky_fill=True):
            K = batch.truth.cameras.intrinsics
            focal = (K[..., 0, 0] + K[..., 1, 1]) / 2
            depth = batch.truth.depth * (300 / focal)[..., None, None]
            return Geometry(depth=depth, sky=torch.zeros_like(depth))

    samples = ValidationSet(dataset=[batch], samples=1)
    run = ValidationRun(step=0, generator=torch.Generator(), device=torch.device("cpu"))
    step = MetricStep(Canonical(), MetricObjective(), validation={"all": samples})
    result = step.validate(run)
    assert_close(result.metrics["absrel"], 0.0, atol=1e-5, rtol=0)
    assert set(result.images) == {"all_0_depth"}

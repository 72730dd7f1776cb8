"""The network that reads depth off a sweep: where it starts, and what the bundled one is worth."""

import pytest
import torch

from geometry.errors import InputError
from geometry.worlds import ProceduralDataset
from nvs.model.pooling import sample
from nvs.stereo import StereoDepth, sweep_depth
from nvs.stereo.network import Evidence, PlaneConv, StereoNetwork, bundled_network, peak

GRID = (84, 112)


def evidence(count=2, size=(33, 50), planes=32):
    g = torch.Generator().manual_seed(0)
    volume = (count, planes, *size)
    return Evidence(
        colours=torch.rand(count, 3, *size, generator=g),
        matching=torch.rand(volume, generator=g),
        smoothed=torch.rand(volume, generator=g),
        others=torch.zeros(volume),
    )


@torch.no_grad()
def test_a_new_network_says_what_smoothing_says_at_any_size():
    torch.manual_seed(0)
    given = evidence()
    said = StereoNetwork()(given)
    _, at, _, _ = peak(said.scores)
    above_least = given.smoothed.gather(1, at) - given.smoothed.amin(1, keepdim=True)
    assert above_least.mean() < 0.02  # of a spread of one
    assert said.plane.shape == said.confidence.shape == said.sky.shape == (2, 33, 50)


@torch.no_grad()
def test_views_are_read_one_by_one():
    given, network = evidence(), bundled_network()
    alone, together = network(given[1:]), network(given)
    assert torch.allclose(alone.scores, together.scores[1:], atol=1e-3)


@pytest.mark.parametrize("stride", [1, 2])
@torch.no_grad()
def test_both_ways_to_convolve_planes_are_one(stride):
    x = torch.randn(2, 5, 8, 9, 11, generator=torch.Generator().manual_seed(0))
    layer = PlaneConv(5, 4, stride=stride)
    assert layer.few
    direct = layer(x)
    layer.few = False
    torch.testing.assert_close(direct, layer(x))


def test_the_peak_lies_between_planes():
    scores = torch.full((1, 16, 1, 1), -20.0)
    scores[0, 6:8] = 0
    plane, at, certain, _ = peak(scores)
    assert (plane.item(), at.item()) == (pytest.approx(6.5, abs=1e-4), 6)
    assert certain.item() == pytest.approx(1)


@pytest.fixture(scope="module")
def outdoors():
    """Photos with sky of a world that the network has not seen; true depth and sky on the sweep's grid."""
    world = ProceduralDataset(seed=4242, kinds=["outdoor"])
    example = world.sample(2, n_views=5, image_size=(168, 224), path="orbit")
    return example.views, sample(example.truth.depth, GRID), sample(example.truth.sky.float(), GRID) > 0.5


@pytest.fixture(scope="module")
def read(outdoors):
    return StereoDepth(learned=True).sweep(outdoors[0])


def test_the_bundled_network_beats_the_classical_sweep(outdoors, read):
    views, depth, sky = outdoors
    swept = sweep_depth(views, GRID)
    error = [((s.depth / depth - 1).abs().clamp(max=1))[~sky] for s in (read, swept)]
    assert error[0].mean() < 0.7 * error[1].mean()
    wrong = [(e[s.trusted[~sky]] > 0.05).float().mean() for e, s in zip(error, (read, swept))]
    assert wrong[0] < 0.5 * wrong[1]


def test_sky_lies_behind_everything(outdoors, read):
    _, _, sky = outdoors
    behind = read.depth > 1.5 * read.limits[..., 1].max()
    assert sky.float().mean() > 0.05
    assert behind[sky].float().mean() > 0.5
    assert behind[~sky].float().mean() < 0.05


def test_planes_come_in_sixteens(outdoors):
    with pytest.raises(InputError, match="multiple of 16"):
        StereoDepth(learned=True, planes=40).sweep(outdoors[0])

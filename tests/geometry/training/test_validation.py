"""Validation samples are the same wherever they are made."""

import torch

from geometry.training.validation import ValidationSet


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

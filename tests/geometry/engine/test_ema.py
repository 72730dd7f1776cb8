"""The average, by hand."""

import pytest
import torch
from torch import nn

from geometry.engine.ema import WeightAverage


def test_update_by_hand():
    p = nn.Parameter(torch.tensor([0.0], dtype=torch.float64))
    average = WeightAverage({"p": p}, decay=0.15)
    for value in (1.0, 2.0):
        with torch.no_grad():
            p.fill_(value)
        average.update()
    # decays: min(.15, 1/10) then min(.15, 2/11)
    first = 0.1 * 0 + 0.9 * 1
    assert average.average["p"].item() == pytest.approx(0.15 * first + 0.85 * 2, rel=1e-6)


def test_applied_gives_the_weights_back_even_after_an_error():
    p = nn.Parameter(torch.tensor([0.1]))
    average = WeightAverage({"p": p}, decay=0.9)
    with torch.no_grad():
        p.fill_(0.3)
    with average.applied():
        assert p.item() == pytest.approx(0.1)
    assert p.item() == torch.tensor(0.3).item()
    with pytest.raises(KeyError), average.applied():
        raise KeyError
    assert p.item() == torch.tensor(0.3).item()

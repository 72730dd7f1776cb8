"""Against torch's own schedulers, and hand-solved points."""

import pytest
import torch

from geometry.engine import Schedule
from geometry.errors import InputError


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def rates(scheduler, optimizer, steps):
    out = []
    for _ in range(steps):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return out


def test_one_cycle_is_torchs():
    opt, steps, warmup = optimizer(), 40, 11
    reference = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=1.0, total_steps=steps, pct_start=12 / 40)
    ours = [Schedule(kind="one_cycle", warmup_steps=warmup).factor(i, steps) for i in range(steps)]
    assert ours == pytest.approx(rates(reference, opt, steps), rel=1e-6)


def test_cosine_after_its_warmup_is_torchs():
    opt, steps, warmup = optimizer(), 30, 6
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=steps - 1 - warmup, eta_min=0.1)
    schedule = Schedule(kind="cosine", warmup_steps=warmup, final_factor=0.1)
    ours = [schedule.factor(i, steps) for i in range(warmup, steps)]
    assert ours == pytest.approx(rates(reference, opt, steps - warmup), rel=1e-6)


def test_warmup_is_a_line_that_wastes_no_step():
    schedule = Schedule(kind="constant", warmup_steps=3)
    assert [schedule.factor(i, 10) for i in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("kind", ["cosine", "constant", "one_cycle"])
@pytest.mark.parametrize("warmup", [0, 1, 50])
@pytest.mark.parametrize("steps", [1, 2, 50])
def test_every_length_gives_factors_in_range(kind, warmup, steps):
    factors = [Schedule(kind=kind, warmup_steps=warmup).factor(i, steps) for i in range(steps)]
    assert all(0 <= f <= 1 for f in factors)


def test_wrong_settings_are_named(unchecked):
    with pytest.raises(InputError, match="cosine, constant or one_cycle, got 'linear'"):
        Schedule(kind="linear")
    with pytest.raises(InputError, match="warmup_steps"):
        Schedule(warmup_steps=-1)


def test_the_rate_goes_with_the_root_of_the_batch():
    schedule = Schedule(kind="constant", parts=128)
    assert [schedule.factor(5, 10, parts) for parts in (128, 32, 8)] == [1.0, 0.5, 0.25]
    assert Schedule(kind="constant", parts=128, power=1.0).factor(5, 10, 32) == 0.25
    assert Schedule(kind="constant").factor(5, 10, 8) == 1.0

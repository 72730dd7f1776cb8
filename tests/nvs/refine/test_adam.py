"""Adam's steps, beside PyTorch's own."""

import subprocess
import sys

import pytest
import torch

from nvs.refine.adam import BETAS, Adam


def test_steps_are_torchs_to_the_bit():
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(7, 3, generator=generator), torch.randn(5, generator=generator)]
    ours, torchs = ([value.clone().requires_grad_(True) for value in start] for _ in range(2))
    adam = Adam({"a": [ours[0]], "b": [ours[1]], "none": []})
    reference = torch.optim.Adam(
        [{"params": [torchs[0]]}, {"params": [torchs[1]]}], betas=BETAS, eps=1e-15, fused=True
    )
    for step in range(6):
        rates = {"a": 0.1 / (1 + step), "b": 0.02, "none": 1.0}
        for group, name in zip(reference.param_groups, "ab"):
            group["lr"] = rates[name]
        reference.zero_grad()
        for values in (ours, torchs):
            # What a step does not use is left alone.
            loss = values[0].cos().sum() * (step + 1) + (values[1].square().sum() if step % 2 else 0)
            loss.backward()
        adam.step(rates)
        reference.step()
        assert all(torch.equal(one, other) for one, other in zip(ours, torchs))
    assert all(value.grad is None for value in ours)


@pytest.mark.extended
def test_the_compiler_is_not_imported():
    code = """
import sys, torch
from nvs.refine.adam import Adam
x = torch.ones(3, requires_grad=True)
adam = Adam({"x": [x]})
x.sum().backward()
adam.step({"x": 0.1})
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

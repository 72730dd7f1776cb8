"""A tiny task for the engine's tests, and a script that trains it in a process of its own.

python toy.py OUT '{"steps": 30, "pause_s": 0.02}'
"""

import json
import math
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from geometry.engine import (
    INTERRUPTED,
    DataStream,
    FitResult,
    FixedBatchSampler,
    Parallel,
    Saving,
    Schedule,
    Validation,
    fit,
    parameter_groups,
)

STEP_OPTIONS = ("dropout", "noise", "pause_s", "branch", "nan_steps")


class Net(nn.Module):
    """A frozen body, two trained blocks with dropout, a head, and a branch used in some steps only."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.body = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Dropout(dropout)) for _ in range(2)
        )
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 1)
        self.extra = nn.Linear(1, 8)

    def encode(self, x: torch.Tensor) -> torch.Tensor:  # not forward: the engine must not mind
        x = self.body(x)
        for block in self.blocks:
            x = x + block(x)
        return x


class ToyStep:
    def __init__(
        self,
        *,
        dropout: float = 0.0,
        noise: float = 0.0,
        pause_s: float = 0.0,
        branch: bool = True,
        nan_steps: Sequence[int] = (),
    ) -> None:
        torch.manual_seed(0)
        self.model = Net(dropout)
        self.noise, self.pause_s, self.branch = noise, pause_s, branch
        self.nan_steps, self.now = nan_steps, 0

    def begin_step(self, index: int, steps: int) -> None:
        self.now = index + 1

    def blocks(self) -> list[nn.Module]:
        return list(self.model.blocks)

    def trainable_parameters(self):
        return parameter_groups(self.model, {"": 1.0, "body": 0.0, "blocks": 0.5})

    def training_loss(self, batch, generator):
        time.sleep(self.pause_s)
        x, y = batch
        features = self.model.encode(x)
        if self.branch and y[0] > 0:  # on two processes, often on one of them only
            features = features + self.model.extra(y)
        if self.noise:
            features = features + self.noise * torch.randn(features.shape, generator=generator)
        error = self.model.head(self.model.norm(features)) - y
        l1, l2 = error.abs().mean(), error.square().mean()
        if self.now in self.nan_steps and os.environ.get("RANK", "1") == "1":  # of two, on one of them only
            l2 = l2 * math.nan
        return l1 + l2, {"l1": l1, "l2": l2}

    def validate(self, run):
        x = torch.randn(8, 6, generator=run.generator)
        error = self.model.head(self.model.norm(self.model.encode(x))) - target(x)
        torch.rand(3)  # must not move the training's random numbers
        return Validation(
            metrics={"l1": error.abs().mean().item()}, weight=8, images={"error": torch.rand(3, 4, 5)}
        )


def target(x: torch.Tensor) -> torch.Tensor:
    return (x[..., :1] + x[..., 1:2]).tanh()


class Points:
    """Endless samples drawn from the global generator, as augmentation code does."""

    def __getitem__(self, request):
        x = torch.randn(6)
        return x, target(x)


def train(
    out: Path,
    *,
    workers: int = 0,
    every: int = 5,
    batch_size: int = 8,
    parallel: dict | None = None,
    **options,
) -> FitResult:
    step_options = {k: options.pop(k) for k in STEP_OPTIONS if k in options}
    settings = {
        "steps": 20,
        "tensorboard": False,
        "log_every": 1,
        "ema_decay": 0.9,
        "schedule": Schedule(warmup_steps=3),
        "saving": Saving(every=every, keep_last=3),
        "validate_every": 10,
        "device": "cpu",
        "parallel": parallel if isinstance(parallel, Parallel) else Parallel(**(parallel or {})),
    }
    return fit(
        options.pop("step", None) or ToyStep(**step_options),
        options.pop("data", None)
        or DataStream(Points(), FixedBatchSampler(batch_size=batch_size), workers=workers),
        options.pop("optimizer", partial(torch.optim.AdamW, lr=1e-2)),
        out=out,
        **{**settings, **options},
    )


def losses(out: Path) -> dict[int, float]:
    """Loss of each logged step."""
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {e["step"]: e["loss"] for e in entries if e["kind"] == "train"}


if __name__ == "__main__":
    torch.set_num_threads(1)
    result = train(Path(sys.argv[1]), **json.loads(sys.argv[2]))
    print("finished" if result.finished else "interrupted", result.step)
    sys.exit(0 if result.finished else INTERRUPTED)

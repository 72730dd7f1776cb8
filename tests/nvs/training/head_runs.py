"""A scene of random texture and a small Gaussian-head run on it; as a script, one such run in a process."""

import json
import sys
import time
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # as a script it finds scenes too

from scenes import cameras_at, smooth_images

from geometry.engine import DataStream, FixedBatchSampler, Parallel, Saving, Schedule, fit
from geometry.tensors import collate
from geometry.views import Cameras, Example, Truth, Views
from nvs.data.example import NovelViewExample
from nvs.losses import GaussianObjective
from nvs.training.cases import example_case
from nvs.training.model import build_model
from nvs.training.step import GaussianHeadStep

SIZE = (42, 56)


def arc_cameras(views: int) -> Cameras:
    """Cameras side by side and a little to and fro: not on one line."""
    places = [(0.3 * v, -0.1 * (v % 2), -0.05 * (v % 3)) for v in range(views)]
    return cameras_at(places, (50.0, 50.0), (SIZE[1] / 2, SIZE[0] / 2))


def example(seed: int, context: int = 3, targets: int = 2, *, valid: bool = True) -> NovelViewExample:
    """A sample of smooth random images; its depth labels lie in 1..3."""
    generator = torch.Generator().manual_seed(seed)
    views = context + targets
    images = smooth_images(views, SIZE, generator)
    cameras = arc_cameras(views)
    depth = 1 + 2 * torch.rand(1, views, *SIZE, generator=generator)

    def part(chosen: slice) -> Example:
        return Example(
            views=Views(images=images[:, chosen], cameras=cameras[:, chosen]),
            truth=Truth(
                cameras=cameras[:, chosen],
                depth=depth[:, chosen],
                valid=torch.full_like(depth[:, chosen], valid, dtype=torch.bool),
                metric=torch.tensor([False]),
            ),
        )

    return NovelViewExample(context=part(slice(0, context)), target=part(slice(context, None)))


class Scenes:
    """Endless samples."""

    collate = staticmethod(collate)

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s

    def __getitem__(self, request):
        time.sleep(self.pause_s)
        return example(request.seed)


def make_step(*, factors=None, flavour="sh", posed=1.0, depth=0.1, cases=1, **options) -> GaussianHeadStep:
    torch.manual_seed(0)
    model = build_model(
        "untrained:tiny", flavour=flavour, lr_factors=factors or {"head": 1.0, "network": 0.0}
    )
    torch.nn.init.normal_(model.head.out[2].weight, std=0.05)  # raw zeros hide mistakes
    return GaussianHeadStep(
        model,
        GaussianObjective(lpips=0.0, depth=depth),
        posed=posed,
        validation=[
            example_case(example(100 + i), f"case {i}", pruned=False, posed=True) for i in range(cases)
        ],
        **options,
    )


def train(out: Path, *, strategy="ddp", pause_s=0.0, batch_size=2, steps=4, step=None, every=2, **options):
    step_options = {k: options.pop(k) for k in ("factors", "flavour", "posed", "cache_gb") if k in options}
    return fit(
        step or make_step(**step_options),
        DataStream(Scenes(pause_s), FixedBatchSampler(batch_size=batch_size)),
        partial(torch.optim.AdamW, lr=1e-3),
        steps=steps,
        out=out,
        schedule=Schedule(kind="constant"),
        parallel=Parallel(strategy=strategy),
        saving=Saving(every=every),
        log_every=1,
        tensorboard=False,
        device="cpu",
        **options,
    )


def losses(out: Path) -> dict[int, float]:
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {e["step"]: e["loss"] for e in entries if e["kind"] == "train"}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, run_options in json.loads(sys.argv[2]).items():
        train(Path(sys.argv[1]) / name, **run_options)

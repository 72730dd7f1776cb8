"""Adapting a Gaussian head to one's own photos: what `nvs finetune` does."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from geometry import engine
from geometry.capture import MAX_VIEWS, check_choice
from geometry.console import say
from geometry.device import pick_device
from geometry.engine import Precision, Saving, Schedule, is_first_process
from geometry.engine.log import validations
from geometry.options import PhotoOptions
from geometry.results import require_run
from geometry.scenes import structure_from_motion
from geometry.verdict import Verdict
from nvs.losses import GaussianObjective
from nvs.metrics import MissingWeights, load_lpips
from nvs.options import LPIPS_WEIGHT, FinetuneOptions
from nvs.pipeline import choose_depth
from nvs.rasterizer.backends import choose_backend
from nvs.training.capture import CaptureSamples, read_capture
from nvs.training.model import EXPORTS, build_model, write_models
from nvs.training.step import GaussianHeadStep
from nvs.verdict import Circumstances, judge_finetuning


def default_options(device: torch.device) -> FinetuneOptions:
    """What fits one GPU, and what a CPU does in minutes."""
    views = MAX_VIEWS.get(device.type, 16)
    if device.type == "cuda":
        return FinetuneOptions(photos=PhotoOptions(context=12, holdout=8, max_views=views))
    photos = PhotoOptions(context=6, holdout=8, process_res=252, max_views=views)
    return FinetuneOptions(photos=photos, steps=400, targets=2)


@dataclass(frozen=True, kw_only=True)
class Finetuned:
    """What came of a run."""

    finished: bool  # and not stopped by a signal
    # Of a finished run, on its first process:
    psnr: dict[int, float] = field(default_factory=dict)  # of the held-out photos, dB, by step
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def status(self) -> int:
        """Exit status of a command."""
        return self.verdict.status if self.finished else engine.INTERRUPTED


def finetune(captures: Sequence[str | Path], out: str | Path, options: FinetuneOptions) -> Finetuned:
    """Train a head on captures, each a folder or a video of one place, and write it into ``out``.

    The same call resumes where it was interrupted.

    Raises:
        InputError: too few photos, weights or options that cannot be used, an output folder of others, or
            swept depth for a capture without cameras.
    """
    device, out = pick_device(options.network.device), Path(out)
    choose_backend("auto", device)  # here for its warning: before any work
    require_run(out, EXPORTS, [*captures, options.photos.poses])
    check_choice(options.photos.camera_source)
    torch.manual_seed(options.seed)
    model = build_model(
        options.model,
        flavour=options.flavour,
        new_head=options.new_head,
        lr_factors={"head": 1.0, "network": options.backbone_factor},
    ).to(device)
    read = [
        read_capture(
            str(path),
            options.photos,
            model.network,  # type: ignore[arg-type]
            options.network,
            device,
            context_sets=options.context_sets,
            targets=options.targets,
            seed=options.seed,
            trust_network=model.knows_depth,
        )
        for path in captures
    ]
    # A capture without cameras has the network's depth, whatever the others have.
    kinds = {choose_depth(options.depth, c.case.context, knows_depth=model.knows_depth) for c in read}
    step = GaussianHeadStep(
        model,
        # Photos bring no depth labels.
        GaussianObjective(
            mse=1.0,
            lpips=lpips_weight(options.lpips),
            depth=0.0,
            opacity=options.opacity,
            size=options.size,
        ),
        reference=options.network.reference,
        chunk=options.network.chunk,
        depth=next(iter(kinds - {"network"}), "network"),  # type: ignore[arg-type]
        cache_gb=options.cache_gb,
        validation=[capture.case for capture in read],
        seed=options.seed,
    )
    precision, steps = options.network.precision, options.steps
    half = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    result = engine.fit(
        step,  # type: ignore[arg-type]
        engine.DataStream(
            CaptureSamples(read, targets=options.targets),
            engine.FixedBatchSampler(batch_size=int(os.environ.get("WORLD_SIZE", "1"))),
        ),
        partial(torch.optim.AdamW, lr=options.lr or (1e-4 if model.warm else 1e-3), weight_decay=0.01),
        steps=steps,
        out=out,
        seed=options.seed,
        schedule=Schedule(kind="cosine", warmup_steps=min(100, steps // 10), final_factor=0.05),
        precision=Precision(compute="bf16" if half else "float32"),
        saving=Saving(every=200, keep_last=1, best_metric="psnr", best_is="max", patience=options.patience),
        validate_every=options.validate_every or max(1, steps // 10),
        validate_first=True,
        device=str(device),
        config=_stored(options, captures, out),
    )
    if not (result.finished and is_first_process()):
        return Finetuned(finished=result.finished)
    write_models(model, result, out)
    psnr = {step: metrics["psnr"] for step, metrics in validations(out).items()}
    facts = Circumstances(
        asked=sum(len(c.photos) for c in read),
        cameras=options.photos.camera_source,
        sfm_installed=structure_from_motion.available(),
        model=options.model,
        knows_depth=model.knows_depth,
    )
    unplaced = [c.case.name for c in read if not c.posed]
    return Finetuned(finished=True, psnr=psnr, verdict=judge_finetuning(unplaced, facts, psnr))


def _stored(options: FinetuneOptions, captures: Sequence[str | Path], out: Path) -> dict[str, str | None]:
    """What a resumed run is compared with, under the names of the command's options."""
    photos, network = options.photos, options.network
    values = vars(options) | vars(photos) | vars(network)
    for name in ("network", "cameras", "pose_check", "reference"):
        del values[name]
    values["photos"] = [str(path) for path in captures]
    values["out"] = out
    values["no_pose_check"] = not photos.pose_check
    values["ref_view"] = network.reference
    values["chunk"] = None if network.chunk == 4 else network.chunk
    return {name: value if value is None else str(value) for name, value in values.items()}


def lpips_weight(wanted: float | None) -> float:
    """The weight of LPIPS; by default it is used where its weights are, and a line says if they are not."""
    if wanted is not None:
        return wanted
    try:
        load_lpips("vgg")
    except MissingWeights as error:
        say(f"training without LPIPS (--lpips {LPIPS_WEIGHT} makes it required): {error}")
        return 0.0
    return LPIPS_WEIGHT

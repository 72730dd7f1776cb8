"""PSNR of held-out photos by number of Gaussians, and by number of context photos.

    python scripts/fusion_curves.py budget CAPTURE... --refine 300
    python scripts/fusion_curves.py context CAPTURE... --refine 0 --numbers 6 12 24 48

``budget`` compares three ways to fewer Gaussians: fusing them (``nvs render --compression``), leaving out
those that are seen least, and a wider ``--spacing``. Every 8th photo is held out.
"""

import argparse
import math
from dataclasses import replace

import torch

from geometry.capture import load_views, open_capture
from geometry.options import NetworkOptions, PhotoOptions
from geometry.weights.checkpoint import find_checkpoint
from nvs.cameras.fit import default_size, window_size
from nvs.fusion import visibility
from nvs.model.splatter import load_splatter
from nvs.options import GaussianOptions
from nvs.pipeline import Pipeline
from nvs.rendering import hold_out, refinement_photos, score


class Capture:
    """One capture's photos, and scores of what a pipeline makes of them."""

    def __init__(self, path: str, context: int | None, pipeline: Pipeline) -> None:
        options, device = PhotoOptions(holdout=8, context=context), torch.device("cpu")
        self.capture = open_capture(path, options, device, every_photo=True)
        self.views, self.maps = load_views(self.capture, self.capture.context, options, device)
        self.options, self.pipeline = options, pipeline

    def score(self, **changes) -> str:
        """Number of Gaussians, PSNR and SSIM by these options."""
        return self.score_of(self.splat(**changes), **changes)

    def splat(self, **changes):
        return self._changed(changes).splat(self.views)

    def score_of(self, scene, **changes) -> str:
        """Of what was made, refined where the options say so."""
        size, pipeline = default_size(window_size(self.maps)), self._changed(changes)
        if pipeline.options.refines:
            photos = refinement_photos(self.capture, self.maps, self.views, scene.cameras, size)
            scene = pipeline.refine(scene, photos)
        holdout = hold_out(self.capture, self.options, self.pipeline, self.views, scene.cameras, size)
        found = score(scene, holdout)
        return f"{scene.gaussians.means.shape[1]:>9,} {found['psnr']:6.2f} dB {found['ssim']:.3f}"

    def _changed(self, changes) -> Pipeline:
        return replace(self.pipeline, options=replace(self.pipeline.options, **changes))


def budget(capture: Capture, factors: list[float]) -> None:
    whole = capture.splat()
    gaussians, size = whole.gaussians, whole.image_size
    seen = visibility(gaussians, whole.cameras, size)
    print(f"  all               {capture.score_of(whole)}", flush=True)
    spacing = math.sqrt(len(whole.seeds) * size[0] * size[1] / max(1, gaussians.means.shape[1]))
    for factor in factors:
        count = round(gaussians.means.shape[1] / factor)
        most = seen.pixels.topk(count).indices.sort().values
        ways = {
            "fused": capture.score(compression=factor),
            "most visible": capture.score_of(replace(whole, gaussians=gaussians[:, most])),
            "wider spacing": capture.score(spacing=spacing * math.sqrt(factor)),
        }
        for name, found in ways.items():
            print(f"  1/{factor:g} {name:<14} {found}", flush=True)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("curve", choices=("budget", "context"))
    parser.add_argument("captures", nargs="+")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--refine", type=int, default=0, metavar="STEPS")
    parser.add_argument(
        "--numbers", type=float, nargs="+", help="of photos (6 12 24 48), or times fewer (2 4)"
    )
    args = parser.parse_args()
    splatter = load_splatter(find_checkpoint(args.model))
    pipeline = Pipeline(
        splatter=splatter, options=GaussianOptions(refine=args.refine), network=NetworkOptions()
    )
    for path in args.captures:
        print(f"{path}: {args.refine} steps", flush=True)
        if args.curve == "budget":
            budget(Capture(path, None, pipeline), args.numbers or [2, 4])
            continue
        for number in args.numbers or [6, 12, 24, 48]:
            capture = Capture(path, int(number), pipeline)
            print(f"  {capture.views.images.shape[1]:>3} photos {capture.score()}", flush=True)
            if capture.views.images.shape[1] < number:
                break  # there are no more


if __name__ == "__main__":
    main()

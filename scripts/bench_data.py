"""Does data arrive in time? CPU-seconds of a sample, and how long GPUs would wait for them.

    python scripts/bench_data.py                        # make sets of a usual size, measure, simulate
    python scripts/bench_data.py --cost 0.05 0.01       # simulate with these seconds of a view and a sample
    python scripts/bench_data.py --sets DIR             # make the sets there, once

The sets are made up: photos as JPEG of quality 92, at the sizes of DL3DV's 480P download (300 photos with a
lens and 80,000 sparse points), of an RGB-D set (200 photos of 480 x 640 with depth), of one of large photos
(60 of 1080 x 1920 with depth) and of 24 photos of a procedural world. Views are 504 x 504, with all
augmentation. The first sample is that of a scene without an index, which makes it; the others are each of a
process that knows nothing of the scene, as for one scene of thousands.

The simulation takes image sizes and views of `geometry train experiment=geometry/da3_<model>` step by step.
Every GPU has its loader workers, each of which makes whole batches of its GPU one after the other and is at
most ``prefetch`` ahead; GPUs wait for each other at every step. A step takes as long as it computes (with
operations counted by ``bench_training.py --recipe``) at a share of the rated speed: 30 %, our guess, or
6.5 %, which follows from the paper's ablation (ViT-L, 128 samples of 6 views on average, 2.88 s, 32 H100).
A sample is of one of the sets above, by the weights of `configs/data/geometry_mixture.yaml` (large photos
stand for CO3D, MegaDepth and BlendedMVS). A view's CPU time grows with its pixels and varies as a log-normal
of 30 %.
"""

import argparse
import json
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from PIL import Image

from geometry.commands.configuration import instantiate
from geometry.commands.experiment import load_config
from geometry.datasets.dl3dv import DL3DV
from geometry.datasets.transforms_folder import TransformsFolders
from geometry.engine.samplers import SampleRequest
from geometry.formats import colmap
from geometry.sampling.augment import GeometricAugmentation, PhotometricAugmentation
from geometry.sampling.dataset import SamplingDataset
from geometry.sampling.mixture import Mixture, Part
from geometry.scenes import transforms_json
from geometry.worlds import ProceduralDataset
from geometry.worlds.samples import ProceduralSamples

TFLOP_OF_IMAGE = {
    "small": 0.854,
    "base": 2.39,
    "large": 7.75,
    "giant": 20.6,
}  # of 504 x 504, with the backward pass
PEAK_TFLOPS = 989.0  # H100 SXM, bfloat16
SHARES = (0.3, 0.065)
GPUS = (8, 128)
HASH = "a" * 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cost", type=float, nargs=2, metavar=("VIEW", "SAMPLE"), help="seconds, not measured"
    )
    parser.add_argument("--workers", type=int, help="of each GPU (default: the experiment's)")
    parser.add_argument("--steps", type=int, default=400, help="to simulate")
    parser.add_argument("--samples", type=int, default=12, help="to measure of each set")
    parser.add_argument("--sets", type=Path, help="folder to make the sets in (default: a temporary one)")
    args = parser.parse_args()
    if args.cost is not None:
        costs = np.array([[1.0, *args.cost]])
    else:
        place = tempfile.TemporaryDirectory() if args.sets is None else nullcontext(str(args.sets))
        with place as folder:
            costs = measure(Path(folder), args.samples)
    for slower in (1, 2, 4):
        simulate(costs * (1, slower, slower), args.workers, args.steps, f"CPU times as above x {slower}")


# --- What a sample costs ---


def measure(folder: Path, samples: int) -> np.ndarray:
    """Print a table; returns of each set its weight, seconds of a view and of the rest of a sample."""
    make_sets(folder)
    sources = {
        "DL3DV, 300 photos, points": (80, DL3DV(folder / "dl3dv", exclude=None)),
        "RGB-D, 200 photos": (278, TransformsFolders(folder / "rgbd")),
        "large photos, 60": (213, TransformsFolders(folder / "large")),
        "procedural world on disk": (63, TransformsFolders(folder / "procedural")),
    }
    print("| set | first sample | 1 view | 2 views | 10 views | a view | the rest |")
    print("|---|---|---|---|---|---|---|")
    costs = []
    for name, (weight, source) in sources.items():
        first = seconds(source, 10, 1)
        one, two, ten = (seconds(source, views, samples) for views in (1, 2, 10))
        view = (ten - two) / 8
        rest = max(two - 2 * view, 0.0)
        costs.append((weight, view, rest))
        print(f"| {name} | {first:.2f} | {one:.3f} | {two:.3f} | {ten:.3f} | {view:.3f} | {rest:.3f} |")
    worlds = ProceduralSamples(ProceduralDataset(0), image_size=(504, 504))
    start = time.process_time()
    worlds[SampleRequest(index=0, number=0, step=0, seed=0, views=2)]
    print(f"| procedural world rendered for the sample | | | {time.process_time() - start:.3f} | | | |")
    return np.array(costs)


def seconds(source: object, views: int, samples: int) -> float:
    """Median CPU time of a sample, by datasets that have read nothing yet, as for one scene of thousands."""
    taken = []
    for i in range(samples):
        dataset = SamplingDataset(
            Mixture({"one": Part(source=source)}),  # type: ignore[arg-type]
            image_size=(504, 504),
            views=views,
            geometric=GeometricAugmentation(zoom=(1.0, 1.3)),
            photometric=PhotometricAugmentation(),
        )
        start = time.process_time()
        dataset[SampleRequest(index=i, number=i, step=0, seed=i)]
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def make_sets(folder: Path) -> None:
    rng = np.random.default_rng(0)
    if not (folder / "dl3dv").is_dir():
        make_dl3dv(folder / "dl3dv" / HASH, rng)
    if not (folder / "rgbd").is_dir():
        make_rgbd(folder / "rgbd/room", rng, 200, (480, 640))
    if not (folder / "large").is_dir():
        make_rgbd(folder / "large/place", rng, 60, (1080, 1920))
    if not (folder / "procedural").is_dir():
        make_rgbd(folder / "procedural/000000", rng, 24, (504, 672))


def poses(count: int) -> np.ndarray:
    """World-to-camera, along an arc that looks at its middle."""
    extrinsics = np.tile(np.eye(4), (count, 1, 1))
    for E, angle in zip(extrinsics, np.linspace(-0.8, 0.8, count)):
        c, s = np.cos(angle), np.sin(angle)
        E[:3, :3] = [[c, 0, -s], [0, 1, 0], [s, 0, c]]
        E[:3, 3] = [0, 0, 4]
    return extrinsics


def photo(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Smooth colours, and noise as cameras have."""
    H, W = size
    coarse = rng.uniform(0, 255, (H // 24 + 1, W // 24 + 1, 3)).astype(np.float32)
    smooth = np.asarray(
        Image.fromarray(coarse.astype(np.uint8)).resize((W, H), Image.Resampling.BICUBIC), np.float32
    )
    return np.clip(smooth + rng.normal(0, 4, (H, W, 3)), 0, 255).astype(np.uint8)


def save_photos(folder: Path, rng: np.random.Generator, names: list[str], size: tuple[int, int]) -> None:
    folder.mkdir(parents=True)
    made = [photo(rng, size) for _ in range(8)]
    for i, name in enumerate(names):
        Image.fromarray(made[i % 8]).save(folder / name, format="JPEG", quality=92)


def make_dl3dv(folder: Path, rng: np.random.Generator, count: int = 300, points: int = 80_000) -> None:
    names = [f"frame_{i + 1:05d}.png" for i in range(count)]
    save_photos(folder / "images_8", rng, names, (270, 480))
    K = np.array([[440.0, 0, 240], [0, 440, 135], [0, 0, 1]])
    E, sizes = poses(count), [(270, 480)] * count
    xyz = rng.uniform((-3, -2, -3), (3, 2, 3), (points, 3))
    model = colmap.model_from_cameras(
        names, E, np.stack([K] * count), sizes, points=xyz, colours=np.zeros((points, 3), np.uint8),
        seen_by=rng.integers(count, size=points),
    )  # fmt: skip
    for image_id, image in model.images.items():  # eight views see a point
        near = np.flatnonzero(np.abs((rng.permutation(points) % count) - image_id) < 4) + 1
        keypoints = rng.uniform(0, 270, (len(near), 2))
        object.__setattr__(image, "point_ids", near)
        object.__setattr__(image, "keypoints", keypoints)
    colmap.write_model(folder / "colmap/sparse/0", model)
    path = folder / "transforms.json"
    transforms_json.write_scene(path, [f"images/{n}" for n in names], E, np.stack([K] * count), sizes)
    content = json.loads(path.read_text())
    content["k1"] = -0.02
    for i, entry in enumerate(content["frames"]):
        entry["colmap_im_id"] = i + 1
    path.write_text(json.dumps(content))


def make_rgbd(folder: Path, rng: np.random.Generator, count: int, size: tuple[int, int]) -> None:
    names = [f"{i:05d}.jpg" for i in range(count)]
    save_photos(folder / "images", rng, names, size)
    (folder / "depth").mkdir()
    H, W = size
    surface = 3000 + 500 * np.sin(np.arange(W) / 40) + 300 * np.cos(np.arange(H) / 30)[:, None]
    for i in range(count):
        depth = (surface + rng.integers(0, 8, size)).astype(np.uint16)
        Image.fromarray(depth).save(folder / "depth" / f"{i:05d}.png")
    K = np.array([[0.9 * W, 0, W / 2], [0, 0.9 * W, H / 2], [0, 0, 1]])
    transforms_json.write_scene(
        folder / "transforms.json", [f"images/{n}" for n in names], poses(count), np.stack([K] * count),
        [size] * count, per_frame=[{"depth_file_path": f"depth/{i:05d}.png"} for i in range(count)],
    )  # fmt: skip


# --- How long GPUs wait ---


def simulate(costs: np.ndarray, workers: int | None, steps: int, title: str) -> None:
    """Print the share of time in which GPUs wait for data."""
    print(f"\n{title}")
    columns = [f"{gpus} GPUs at {share:.1%}" for share in SHARES for gpus in GPUS]
    print(f"| model | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for model, tflop in TFLOP_OF_IMAGE.items():
        data = load_config([f"experiment=geometry/da3_{model}"]).data
        number = data.workers if workers is None else workers
        sampler, loader = instantiate(data.sampler), (number, data.prefetch)
        shown = [
            waiting(sampler, gpus, *loader, tflop / (share * PEAK_TFLOPS), costs, steps)
            for share in SHARES
            for gpus in GPUS
        ]
        print(f"| {model} | {' | '.join(f'{s:.1%}' for s in shown)} |")
    print(f"with {number} workers for each GPU")


def waiting(
    sampler: object, gpus: int, workers: int, prefetch: int, compute: float, costs: np.ndarray, steps: int
) -> float:
    """Share of a run's time that goes by without computing, from the second round of workers on.

    Args:
        compute: seconds of a GPU for an image of 504 x 504.
        costs: of each set its weight, seconds of a view and of the rest of a sample.
    """
    shares, view, rest = costs[:, 0] / costs[:, 0].sum(), costs[:, 1], costs[:, 2]
    rng = np.random.default_rng(0)
    free = np.zeros((gpus, workers))  # when each worker is
    started = np.zeros(steps)  # when each step began
    now = 0.0
    begun = waited = 0.0
    for step in range(steps):
        (H, W), views, batch = sampler.shape(step, seed=0, parts=gpus)  # type: ignore[attr-defined]
        pixels, mine = H * W / 504**2, batch // gpus
        kind = rng.choice(len(costs), (gpus, mine), p=shares)
        spread = rng.lognormal(-0.045, 0.3, (gpus, mine, views)).sum(axis=2)
        cost = (spread * view[kind] * pixels + rest[kind]).sum(axis=1)
        # The worker whose turn it is may be so many batches ahead of the step.
        ahead = step - workers * prefetch
        start = np.maximum(free[:, step % workers], started[ahead] if ahead >= 0 else 0.0)
        free[:, step % workers] = ready = start + cost
        begin = max(now, ready.max())
        if step == 2 * workers:
            begun, waited = now, 0.0
        waited += begin - now
        started[step] = begin
        now = begin + mine * views * pixels * compute
    return waited / (now - begun)


if __name__ == "__main__":
    main()

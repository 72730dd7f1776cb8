"""Scores of stored pictures against the photos: no method is called."""

from collections.abc import Callable
from pathlib import Path

from eval.protocols.base import Scoring
from eval.protocols.framing import Framing, framed_views, stored_image
from eval.protocols.splits import DividedScene
from eval.run_folder import write_json
from geometry.formats.text import read_object
from nvs.holdout import finite
from nvs.metrics import Images, PerImage, Scores, unmasked

# What metrics mean here, stored with every score: a score of another meaning is not taken from the cache.
DEFINITIONS = {
    "pictures": "8-bit PNG",
    "psnr": "dB, data range 1, over all pixels and channels",
    "ssim": "11 x 11 Gaussian window, sigma 1.5, data range 1, valid positions, mean over channels",
    "lpips": "v0.1 with its authors' linear weights on torchvision trunks",
    "mean": "over a scene's images, then over scenes",
}


Extra = Callable[[Images, Images], PerImage]  # a further metric, named as its function


def score_scene(
    scene: DividedScene, predictions: Path, framing: Framing, path: Path, scoring: Scoring
) -> dict:
    """Metrics of a scene's stored pictures, from the file at ``path`` if it has them, else computed.

    Stored scores are computed anew where other metrics are wanted, or one was missing its weights.

    Raises:
        InputError: the predictions are not there, or a picture is damaged.
    """
    metrics, extras, device = scoring.metrics, scoring.extras, scoring.device
    settings = {"metrics": [*metrics, *(e.__name__ for e in extras)], "definitions": DEFINITIONS}
    if any(frame.mask or frame.transparent for frame in scene.targets):
        settings["masks"] = "what they hide does not count; LPIPS sees the photo there"
    if path.is_file():
        stored = read_object(path, "scores")
        if stored.get("settings") == settings and not stored["reasons"]:
            return stored
    about = read_object(predictions / "scene.json", "a prediction")
    size = tuple(about["size"])
    scores = Scores(metrics)
    more: dict[str, list[float]] = {extra.__name__: [] for extra in extras}
    for frame, target in zip(scene.targets, about["targets"]):
        view = framed_views([frame], framing, size)[0].to(device)
        photo = view.images[0]
        picture = stored_image(predictions / target["render"], size)[None].to(device)
        mask = None if view.mask is None else view.mask[0]
        scores.add(picture, photo, mask)
        picture = unmasked(picture, photo, mask)
        for extra in extras:
            more[extra.__name__].append(float(extra(picture, photo)))
    values = {name: list(v) for name, v in scores.per_image.items() if name not in scores.reasons} | more
    targets = [
        {"name": target["name"], "render": target["render"]}
        | {name: finite(per_image[i]) for name, per_image in values.items()}
        for i, target in enumerate(about["targets"])
    ]
    summary = scores.as_json()
    means = {name: summary[name] for name in metrics}
    means |= {name: sum(per_image) / len(per_image) for name, per_image in more.items()}
    result = {
        "scene": scene.split.name,
        "settings": settings,
        "means": means,
        "reasons": summary["reasons"],
        **{name: about[name] for name in ("commit", "gaussians", "predict_s", "size")},
        "targets": targets,
    }
    write_json(path, result)
    return result

"""The page that `nvs render` leaves: one file with pictures and words, to keep or to send."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from geometry.console import counted
from geometry.ops import se3
from geometry.results import written
from geometry.verdict import Verdict
from geometry.views import Cameras
from geometry.visualize import MOST, colour_depth, depth_limits, spread, to_bytes
from nvs.cameras.up_axis import up_axis
from nvs.captures import opaque_points
from nvs.outputs import Samples
from nvs.scene import SplatScene
from nvs.verdict import GOOD, trust_in_words

FRAMES = 24  # of the flight
_SCREEN, _THUMBNAIL = 480, 200  # longest sides, pixels
_PLAN = (360, 560)  # H x W of the view from above
_DOUBTED = (222, 92, 60)  # over what the photos do not agree on


def write(
    file: Path,
    scene: SplatScene,
    path: Cameras,
    size: tuple[int, int],
    samples: Samples,
    about: Mapping[str, Any],
    verdict: Verdict,
    metrics: Mapping[str, Any] | None,
    *,
    title: str,
) -> None:
    """Write the report of a scene in whose folder all else is written.

    Args:
        path: the flight, for images of ``size``.
        samples: some of its pictures.
        about: what scene.json says.
    """
    chosen = [samples[f] for f in spread(path.extrinsics.shape[1], FRAMES) if f in samples]
    limits = depth_limits(np.stack([_reduced(depth, _SCREEN) for _, depth in chosen]))
    flight = [
        [_picture(_reduced(rgb, _SCREEN)), _picture(colour_depth(_reduced(depth, _SCREEN), limits=limits))]
        for rgb, depth in chosen
    ]
    made, timing = about["provenance"], about["timing"]
    template = Template((Path(__file__).parent / "report.html").read_text(encoding="utf-8"))
    page = template.substitute(
        title=html.escape(title),
        summary=f"{counted(len(scene.names), 'photo')} became {about['gaussians']:,} splats and "
        f"{counted(about['frames'], 'view')} from places where no photo was taken.",
        verdict=_verdict(scene, verdict, str(about["licence"])),
        shape="tall" if size[0] > 0.8 * size[1] else "wide",
        flight=json.dumps(flight),
        tiles=_tiles(scene, about, metrics),
        photos=_photos(scene),
        card="17rem" if scene.image_size[1] < scene.image_size[0] else "21rem",
        plan=_plan(scene, path),
        total=f"{timing['total']:.0f} seconds in all, {timing['peak_memory_gb']:.1f} GB of memory.",
        bars=_bars(timing["stages"]),
        holdout=_holdout(metrics),
        made=_rows(
            {
                "Model": f"{about['model']} ({about['weights']})",
                "Its licence": about["licence"],
                "Cameras": about["poses"],
                "Depth": f"of the {about['depth']}",
                "Refined": counted(about["refine_steps"], "step") if about["refine_steps"] else "no",
                "World": about["world"],
                "Made by": f"feedforward-nvs {made['version']}, {made['date'][:10]}",
            }
        ),
        files=_rows({name: what for name, what in written(file.parent) if name != file.name}),
        command=html.escape(made["command"]),
        settings=html.escape(json.dumps(made, indent=2, default=str)),
        footer="To turn it around yourself: <code>nvs view</code> on this folder, or <code>nvs export --to "
        "html</code> for one file that opens in any browser.",
    )
    file.write_text(page, encoding="utf-8")


def _verdict(scene: SplatScene, verdict: Verdict, licence: str) -> str:
    """In plain words: trust or not, why, and what else one should know."""
    notes = list(verdict.notes)
    if "NC" in licence.split("-") + licence.split():
        notes.append(f"The model's licence ({licence}) forbids commercial use.")
    if verdict.problems:
        kind, words = "bad", f"Do not trust {verdict.subject}"
        notes = [*verdict.problems, *notes]
    else:
        good = scene.trusted is None or scene.trusted >= GOOD
        kind, words = ("good", "Nothing speaks against these pictures") if good else ("fair", "A fair result")
        if scene.trusted is not None:
            notes = [f"The depth was found by comparing photos, {trust_in_words(scene.trusted)}.", *notes]
    lines = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return f'<section class="verdict {kind}"><strong>{words}</strong>{lines}</section>'


def _tiles(scene: SplatScene, about: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> str:
    tiles = [(f"{len(scene.names)}", "photos used"), (f"{about['gaussians']:,}", "splats")]
    if scene.trusted is not None:
        tiles.append((f"{int(100 * scene.trusted)} %", "of the depth trusted"))
    if metrics is not None and metrics.get("psnr") is not None:
        tiles.append((f"{metrics['psnr']:.1f} dB", "PSNR to photos kept out"))
    H, W = about["frame_size"]
    tiles.append((f"{about['frames']}", f"views of {W} x {H} pixels"))
    tiles.append((_duration(about["timing"]["total"]), "from photos to this page"))
    return "".join(f"<div><b>{value}</b><span>{what}</span></div>" for value, what in tiles)


def _photos(scene: SplatScene) -> str:
    """Each photo, its depth, and where the photos agree on it."""
    total = len(scene.names)
    some = spread(total, MOST)
    heading = "Photos and depth" if scene.agreed is None else "Photos, depth and trust"
    words = "The depth that the splats were placed at, in colours of each photo's own range."
    if scene.agreed is not None:
        words += " In the third picture, red is where the photos do not agree on it: expect faults there."
    if len(scene.seeds) < total:
        words += " Photos without a third picture made no splats of their own, but refined those of others."
    if len(some) < total:
        words += f" {len(some)} of {total} are shown."
    cards = []
    for v in some:
        photo = _reduced(to_bytes(scene.views.images[0, v]), _THUMBNAIL)
        depth = colour_depth(scene.depth[0, v].float().cpu().numpy())
        pictures, share = [photo, _fitted(depth, photo)], ""
        if scene.agreed is not None and v in scene.seeds:
            agreed = scene.agreed[0, scene.seeds.index(v)].float().cpu().numpy()
            share = f"<span>{int(100 * agreed.mean())} % trusted</span>"
            weight = 0.65 * (1 - _fitted(agreed, photo)[..., None])
            pictures.append((photo * (1 - weight) + np.array(_DOUBTED) * weight).astype(np.uint8))
        images = "".join(f'<img src="{_picture(p)}" alt="">' for p in pictures)
        name = html.escape(scene.names[v])
        caption = f'<figcaption><span title="{name}">{name}</span>{share}</figcaption>'
        cards.append(f"<figure><div>{images}</div>{caption}</figure>")
    return f'<h2>{heading}</h2><p>{words}</p><div class="photos">{"".join(cards)}</div>'


def _plan(scene: SplatScene, path: Cameras) -> str:
    """The splats from above, with the photos' cameras and the flight, as SVG."""
    H, W = _PLAN
    up = up_axis(scene.cameras)[0].double().cpu()
    across = scene.cameras.extrinsics[0, 0, 0, :3].double().cpu()
    across = torch.nn.functional.normalize(across - (across @ up) * up, dim=0)
    axes = torch.stack(
        (across, torch.linalg.cross(up, across))
    )  # right and down the page: the first looks up
    photos, flight = (se3.centres(c.extrinsics[0].double().cpu()) @ axes.T for c in (scene.cameras, path))
    points, colours = opaque_points(scene.gaussians, 200_000)
    height, flat = torch.from_numpy(points) @ up, torch.from_numpy(points) @ axes.T
    shown = torch.cat((photos, flight))
    if len(flat):
        order = height.argsort().numpy()  # the highest is drawn last
        flat, colours = flat[order], colours[order]
        shown = torch.cat((shown, torch.stack([flat.quantile(q, dim=0) for q in (0.04, 0.96)])))
    low, high = shown.min(dim=0).values, shown.max(dim=0).values
    scale = float(0.9 * (torch.tensor([W, H]) / (high - low).clamp(min=1e-9)).min())
    middle, page = (low + high) / 2, torch.tensor([W, H]) / 2

    def placed(where: Float[Tensor, "N 2"]) -> np.ndarray:
        return ((where - middle) * scale + page).numpy()

    picture = np.zeros((2 * H // 3, 2 * W // 3, 4), np.uint8)
    x, y = np.floor(placed(flat) * 2 / 3).astype(int).T
    inside = (x >= 0) & (x < picture.shape[1]) & (y >= 0) & (y < picture.shape[0])
    picture[y[inside], x[inside]] = np.concatenate(
        (colours[inside], np.full((int(inside.sum()), 1), 190, np.uint8)), axis=1
    )
    parts = [f'<image href="{_picture(picture, "png")}" width="{W}" height="{H}"/>']
    line = " ".join(f"{u:.1f},{v:.1f}" for u, v in placed(flight))
    parts.append(f'<polyline class="path" points="{line}"/>')
    for centre, E in zip(placed(photos), scene.cameras.extrinsics[0].double().cpu()):
        look, side = ((axes @ E[row, :3]).numpy() for row in (2, 0))
        corners = (centre + 13 * look + 7 * side, centre + 13 * look - 7 * side)
        outline = " ".join(f"{u:.1f},{v:.1f}" for u, v in (centre, *corners))
        parts.append(f'<polygon class="photo" points="{outline}"/>')
    return f'<svg viewBox="0 0 {W} {H}" role="img" aria-label="cameras from above">{"".join(parts)}</svg>'


def _bars(stages: Mapping[str, float]) -> str:
    longest = max(stages.values(), default=1) or 1
    return "".join(
        f'<span>{html.escape(name)}</span><i style="width:{100 * value / longest:.1f}%"></i>'
        f"<span>{value:.1f} s</span>"
        for name, value in stages.items()
    )


def _holdout(metrics: Mapping[str, Any] | None) -> str:
    if metrics is None:
        return ""
    names = {"psnr": "PSNR, dB", "ssim": "SSIM"}
    head = "".join(f"<th>{label}</th>" for label in ("photo", *names.values()))
    lines = [
        f"<td>{html.escape(str(target['name']))}</td>"
        + "".join(f"<td>{_number(target.get(n))}</td>" for n in names)
        for target in metrics["targets"]
    ]
    mean = "<td><b>mean</b></td>" + "".join(f"<td><b>{_number(metrics.get(n))}</b></td>" for n in names)
    rows = "".join(f"<tr>{line}</tr>" for line in (head, *lines, mean))
    return (
        "<h2>Against photos that were kept out</h2><p>The only honest number: these were not used. 25 dB and "
        "more look like the photo, below 15 dB something is wrong.</p>"
        f'<div class="card"><table>{rows}</table></div>'
    )


def _rows(rows: Mapping[str, object]) -> str:
    return "".join(
        f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items()
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if abs(value) < 2 else f"{value:.2f}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _reduced(image: np.ndarray, side: int) -> np.ndarray:
    """No longer than this, its shape kept."""
    factor = side / max(image.shape[:2])
    if factor >= 1:
        return image
    size = [max(1, round(n * factor)) for n in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if image.ndim == 3 else cv2.INTER_NEAREST)


def _fitted(image: np.ndarray, like: np.ndarray) -> np.ndarray:
    return cv2.resize(image, like.shape[1::-1], interpolation=cv2.INTER_AREA)


def _picture(image: UInt8[np.ndarray, "H W _"], kind: str = "jpeg") -> str:
    """The address of a picture that is in the page itself."""
    swapped = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    options: Sequence[int] = [cv2.IMWRITE_JPEG_QUALITY, 78] if kind == "jpeg" else []
    data = cv2.imencode(f".{kind}", swapped, options)[1].tobytes()
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

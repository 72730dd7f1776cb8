"""Numbers that papers printed, to stand beside a run's own; none was measured here.

Each belongs to one protocol and stands only beside runs of it.
"""

from dataclasses import dataclass
from typing import Any

_DA3 = "DA3 paper"


@dataclass(frozen=True, kw_only=True)
class Published:
    """Rows of one paper's table.

    ``stated`` are fields of a run's summary that must be these for the numbers to be of its protocol.
    """

    citation: str
    note: str
    stated: dict[str, Any]
    rows: dict[str, dict[str, float | None]]  # method -> metric -> value, in the units of our own


def published_for(run: dict) -> list[Published]:
    """What was published of the protocol of a run's summary."""
    return [p for p in _all(run) if all(_of(run, name) == value for name, value in p.stated.items())]


def sets_with_numbers(run: dict) -> set[str]:
    """Benchmarks of which something was published under this kind of protocol."""
    return {p.stated["benchmark"] for p in _all(run) if "benchmark" in p.stated}


def _of(run: dict, name: str) -> Any:
    return run["rule"].get(name) if name in ("context", "length") else run.get(name)


def _all(run: dict) -> list[Published]:
    return _TABLES.get(run.get("protocol", "nvs"), [])


# Source: DA3 (arXiv:2511.10647), Table 5. Benchmark -> method -> PSNR, SSIM, LPIPS.
_TABLE5 = {
    "dl3dv": {
        "pixelSplat": (16.55, 0.456, 0.480),
        "MVSplat": (18.13, 0.559, 0.393),
        "DepthSplat": (19.24, 0.620, 0.322),
        "Fast3R + GS-DPT": (19.30, 0.604, 0.320),
        "MV-DUSt3R + GS-DPT": (20.01, 0.645, 0.294),
        "VGGT + GS-DPT": (20.96, 0.697, 0.253),
        "DA3": (21.33, 0.711, 0.241),
    },
    "tanks": {
        "pixelSplat": (13.81, 0.347, 0.558),
        "MVSplat": (14.81, 0.391, 0.508),
        "DepthSplat": (15.80, 0.474, 0.418),
        "Fast3R + GS-DPT": (16.24, 0.478, 0.409),
        "MV-DUSt3R + GS-DPT": (17.04, 0.529, 0.370),
        "VGGT + GS-DPT": (17.18, 0.550, 0.347),
        "DA3": (18.10, 0.578, 0.311),
    },
    "megadepth": {
        "pixelSplat": (13.87, 0.367, 0.561),
        "MVSplat": (14.67, 0.398, 0.533),
        "DepthSplat": (15.90, 0.471, 0.450),
        "Fast3R + GS-DPT": (16.43, 0.493, 0.421),
        "MV-DUSt3R + GS-DPT": (16.20, 0.484, 0.437),
        "VGGT + GS-DPT": (16.45, 0.500, 0.417),
        "DA3": (17.89, 0.561, 0.351),
    },
}

# The same paper, Table 2: method -> AUC@3 / AUC@30 on each set, per cent. The released evaluation takes DTU's
# poses from the set that is dtu64 here.
_SETS = ("hiroom", "eth3d", "dtu64", "7scenes", "scannetpp")
_POSES = {
    "DUSt3R": "17.6/54.3 4.3/27.3 4.0/74.3 6.9/61.6 8.1/33.9",
    "Fast3R": "25.9/77.0 8.1/44.4 9.5/79.1 19.0/78.6 17.9/72.5",
    "MapAnything": "17.9/82.8 19.2/77.4 6.5/72.7 12.6/79.7 20.2/84.1",
    "Pi3": "67.0/94.8 35.2/87.3 62.5/94.9 25.5/86.3 50.7/92.1",
    "VGGT": "49.1/88.0 26.3/80.8 79.2/99.8 23.9/85.0 62.6/95.1",
    "DA3-Giant": "80.3/95.9 48.4/91.2 94.1/99.4 28.5/86.8 85.0/98.1",
    "DA3-Large": "58.7/94.2 32.2/86.9 70.2/96.7 29.2/86.6 60.2/94.7",
    "DA3-Base": "19.0/83.2 15.1/74.6 60.1/95.9 20.1/82.9 25.1/83.4",
    "DA3-Small": "9.5/75.2 8.6/62.1 30.6/91.2 14.0/78.7 10.9/71.9",
}
# Table 3: F1, per cent, and of DTU the Chamfer distance in mm, without / with given poses.
_SURFACES = {
    "Pi3": "75.8/85.0 72.7/80.6 3.28/1.72 44.2/57.5 63.1/73.3",
    "VGGT": "56.7/70.2 57.2/66.7 2.05/1.44 47.9/51.4 66.4/70.7",
    "DA3-Giant": "85.1/95.6 79.0/87.1 1.85/1.85 53.5/56.5 77.0/79.3",
    "DA3-Large": "69.5/87.1 65.8/75.2 2.08/1.23 56.3/49.2 67.9/75.7",
    "DA3-Base": "25.9/71.4 49.5/66.7 2.87/2.36 49.9/50.6 47.2/67.8",
    "DA3-Small": "18.3/52.2 41.6/63.4 5.83/2.49 41.0/46.8 32.3/53.8",
}
# Table 4: delta1, per cent.
_MONO_SETS = ("kitti", "nyu", "sintel", "eth3d", "diode")
_MONO = {
    "DA2": "94.6 97.9 77.2 86.5 95.2",
    "VGGT": "91.7 97.9 67.9 97.5 95.3",
    "DA3": "95.3 97.4 75.5 98.6 95.4",
    "DA3 teacher": "97.2 97.9 81.4 99.8 96.6",
}
# Table 8: images/s in a scene of 32, and the most images that fit (the lower of the printed range).
_SPEED = {
    "DA3-Giant, A100": (37.6, 900),
    "DA3-Large, A100": (78.4, 1500),
    "DA3-Base, A100": (126.5, 2100),
    "DA3-Small, A100": (160.5, 4000),
    "VGGT, A100": (34.1, 400),
}
# ZipSplat (arXiv:2606.05102): context views -> method -> PSNR, SSIM, LPIPS; None: not printed.
_ZIPSPLAT = {
    6: {
        "DA3-Giant GS": (23.77, 0.795, 0.165),
        "YoNoSplat": (24.10, None, None),
        "ZipSplat": (25.24, 0.804, 0.172),
        "ZipSplat + camera priors": (25.34, None, None),
    },
    12: {
        "DA3-Giant GS": (22.38, 0.736, 0.208),
        "YoNoSplat": (22.73, None, None),
        "ZipSplat": (24.27, 0.767, 0.197),
        "ZipSplat + camera priors": (24.37, None, None),
    },
    24: {
        "DA3-Giant GS": (21.69, 0.711, 0.229),
        "YoNoSplat": (22.01, None, None),
        "ZipSplat": (24.14, None, None),
        "ZipSplat + camera priors": (24.23, None, None),
    },
}


def _pictures(rows: dict[str, tuple]) -> dict[str, dict[str, float | None]]:
    """PSNR, SSIM, LPIPS; papers say only "LPIPS", which stands in our main column, VGG."""
    return {
        method: {m: v for m, v in zip(("psnr", "ssim", "lpips_vgg"), values) if v is not None}
        for method, values in rows.items()
    }


def _column(table: dict[str, str], index: int, part: int, metric: str, factor: float) -> dict[str, dict]:
    cells = {method: line.split()[index].split("/")[part] for method, line in table.items()}
    return {method: {metric: float(cell) * factor} for method, cell in cells.items()}


def _poses(index: int) -> dict[str, dict]:
    three, thirty = (_column(_POSES, index, part, f"auc{3 * 10**part}", 0.01) for part in (0, 1))
    return {method: three[method] | thirty[method] for method in three}


def _surfaces() -> list[Published]:
    found = []
    for index, name in enumerate(("hiroom", "eth3d", "dtu", "7scenes", "scannetpp")):
        metric, factor = ("overall", 1.0) if name == "dtu" else ("fscore", 0.01)
        for part, poses in enumerate(("none", "given")):
            found.append(
                Published(
                    citation=f"{_DA3}, Table 3",
                    note=f"{_DA3}, Table 3: F1, of DTU the Chamfer distance in mm.",
                    stated={"benchmark": name, "context_poses": poses},
                    rows=_column(_SURFACES, index, part, metric, factor),
                )
            )
    return found


_OPEN = "its split, LPIPS net and SSIM window are not stated."
_TABLES: dict[str, list[Published]] = {
    "nvs": [
        *(
            Published(
                citation=f"{_DA3}, Table 5; split not published",
                note=f"{_DA3}, Table 5: {_OPEN}",
                stated={
                    "benchmark": name,
                    "poses": "gt",
                    "context_poses": "given",
                    "sizes": [[270, 480]],
                    "context": 12,
                },
                rows=_pictures(rows),
            )
            for name, rows in _TABLE5.items()
        ),
        *(
            Published(
                citation="ZipSplat paper",
                note="ZipSplat's (arXiv:2606.05102), of its authors' own measurement, DA3's too: no "
                "cameras given, target poses photometrically aligned; its frames are not ours.",
                stated={
                    "benchmark": "dl3dv_252",
                    "poses": "photometric",
                    "context_poses": "none",
                    "sizes": [[252, 252]],
                    "context": context,
                },
                rows=_pictures(rows),
            )
            for context, rows in _ZIPSPLAT.items()
        ),
    ],
    "pose": [
        Published(
            citation=f"{_DA3}, Table 2",
            note=f"{_DA3}, Table 2.",
            stated={"benchmark": name},
            rows=_poses(index),
        )
        for index, name in enumerate(_SETS)
    ],
    "reconstruction": _surfaces(),
    "mono": [
        Published(
            citation=f"{_DA3}, Table 4",
            note=f"{_DA3}, Table 4: delta1.",
            stated={"benchmark": name},
            rows=_column(_MONO, index, 0, "delta1", 0.01),
        )
        for index, name in enumerate(_MONO_SETS)
    ],
    "speed": [
        Published(
            citation=f"{_DA3}, Table 8, on an A100-80GB",
            note=f"{_DA3}, Table 8, on an A100-80GB, another machine than ours: images/s of 32 images; "
            "of the printed range of most views, its lower end.",
            stated={"image_size": [336, 504], "views": 32},
            rows={m: {"images_per_s": fps, "max_views": most} for m, (fps, most) in _SPEED.items()},
        )
    ],
}

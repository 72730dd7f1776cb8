"""Numbers that a paper printed, to stand beside a run's own; none was measured here.

Source: DA3 (arXiv:2511.10647), Table 5: 12 context views, H x W = 270 x 480, given poses. Its splits were not
published, its LPIPS net and SSIM window are not stated.
"""

PROTOCOL = {"poses": "gt", "context_poses": "given", "sizes": [[270, 480]], "context": 12}
CITATION = "DA3 paper, Table 5"

# Benchmark -> method -> PSNR, SSIM, LPIPS.
PUBLISHED = {
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

"""Golden files of utilities: geometry functions, ray pose, trajectories, preprocessing, metrics."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geometry.layers.rope import rotary_tables, rotate
from geometry.layers.uv_embed import add_uv_embedding, uv_axes
from geometry.metrics.points import point_cloud_metrics
from geometry.metrics.pose import pose_auc
from geometry.models.da3 import IMAGE_MEAN, IMAGE_STD
from geometry.ops import se3
from geometry.ops.align import align_poses, normalise_extrinsics
from geometry.ops.pinhole import pixel_grid, resize_intrinsics
from geometry.ops.pose_encoding import decode_cameras, encode_cameras
from geometry.ops.ray_pose import cameras_from_rays
from geometry.ops.rays import rays_from_cameras
from geometry.ops.rotations import matrix_from_quat_xyzw, quat_xyzw_from_matrix
from geometry.sampling.preprocess import released_resize
from geometry.views import Cameras
from nvs.cameras import RELEASED_MODES, released
from nvs.gaussians.spherical_harmonics import rotate_sh
from nvs.model.parametrisation import released_world_quats
from tests.golden.compare import EQUAL, FINITE, PIXELS, RAY_POSE, UTILITY, Report
from tests.golden.networks import read_images, variant_of
from tests.golden.released_ray_pose import released_cameras_from_rays
from tests.golden.weights import filled_network, rule_image


def check_geometry_utils(path: Path, report: Report) -> None:
    """Quaternions, poses, encodings, SH rotation, embeddings, rays and alignment."""
    g = {k: torch.from_numpy(v) if v.dtype.kind == "f" else v for k, v in np.load(path).items()}
    file = path.name
    inputs = ["quat_in_xyzw", "ext", "K", "hw", "sh_in", "sh_R", "sh3_in", "rope_tokens", "rope_pos_yx"]
    report.declare_input(file, *inputs, "align_ref", "align_est")
    ours: dict[str, object] = {}

    ours["quat_to_mat"] = matrix_from_quat_xyzw(g["quat_in_xyzw"])
    ours["mat_to_quat"] = quat_xyzw_from_matrix(g["quat_to_mat"])
    ours["affine_inverse"] = se3.invert(g["ext"])
    size = tuple(int(v) for v in g["hw"])
    encoding = encode_cameras(Cameras(extrinsics=g["ext"], intrinsics=g["K"]), size)
    decoded = decode_cameras(encoding, size)
    ours["pose_encoding_of_c2w"] = encoding
    ours["decoded_c2w34"] = se3.invert(decoded.extrinsics)[..., :3, :]
    ours["decoded_K"] = decoded.intrinsics
    count = g["ext"].shape[1]
    # Here the matrix is read as camera-to-world.
    ours["cam_quat_xyzw_to_world_quat_wxyz"] = released_world_quats(
        g["ext"][..., :3, :3], g["quat_in_xyzw"][None, :count]
    )
    ours["sh_rotated"] = rotate_sh(g["sh_in"].mT, g["sh_R"]).mT
    ours["sh3_rotated"] = rotate_sh(g["sh3_in"].mT, g["sh_R"]).mT
    for name in g:
        if name.startswith("uv_grid_"):  # uv_grid_<w>x<h>_ar<aspect>
            (w, h), aspect = map(int, name.split("_")[2].split("x")), float(name.split("_ar")[1])
            u, v = uv_axes((h, w), aspect)
            ours[name] = torch.stack((u.expand(h, w), v[:, None].expand(h, w)), dim=-1)
            for embed in (k for k in g if k.startswith("uv_embed_")):
                zeros = torch.zeros(1, int(embed.split("_")[2]), h, w)
                # Stored before the factor 0.1 with which it is added to feature maps.
                ours[embed] = 10 * add_uv_embedding(zeros, aspect)[0].movedim(0, -1)
        if name.startswith("image_grid_"):
            h, w = map(int, name.split("_")[2].split("x"))
            ours[name] = pixel_grid((1, 1), (h, w))
            normed = torch.tensor([[0.9, 0.0, 0.5], [0.0, 1.1, 0.5], [0.0, 0.0, 1.0]])
            first = Cameras(extrinsics=g["ext"][:, :1], intrinsics=normed[None, None])
            rays = rays_from_cameras(first, (1, 1), (h, w))[0, 0, ..., :3]
            ours["world_ray_dirs"] = rays / rays.norm(dim=-1, keepdim=True)
    positions = torch.from_numpy(g["rope_pos_yx"][0])
    ours["rope_out"] = rotate(g["rope_tokens"], rotary_tables(positions, g["rope_tokens"].shape[-1]))
    for name, ransac in (("plain", False), ("ransac", True)):
        fit, carried = align_poses(g["align_ref"], g["align_est"], ransac=ransac, seed=42)
        ours[f"align_{name}_r"], ours[f"align_{name}_t"] = fit.rotation, fit.translation
        ours[f"align_{name}_s"], ours[f"align_{name}_ext"] = fit.scale, carried
    ours["api_normalised_ext"] = normalise_extrinsics(g["ext"])[0]
    for name in g:
        if name in ours:
            report.compare(file, name, ours[name], g[name], UTILITY)


def check_raypose(path: Path, report: Report) -> None:
    """Cameras from ray maps: the released way against its numbers, ours against the truth."""
    golden = dict(np.load(path))
    file = path.name
    for case in sorted({name.split("/")[0] for name in golden}):
        arrays = {k.split("/")[1]: v for k, v in golden.items() if k.startswith(f"{case}/")}
        if case.startswith("model_"):
            _check_illconditioned(path, case, arrays, report)
            continue
        report.declare_input(file, f"{case}/ray", f"{case}/conf")
        rays, conf = torch.from_numpy(arrays["ray"]), torch.from_numpy(arrays["conf"])
        size = (2, 2)  # NDC: intrinsics then are (focal, principal + 1)
        table = torch.from_numpy(arrays["ransac_idx"])
        theirs = released_cameras_from_rays(rays, conf, size, indices=table)
        ours: dict[str, object] = {
            "c2w": se3.invert(theirs.cameras.extrinsics),
            "w2c": theirs.cameras.extrinsics,
            "focal_ndc": theirs.focal_ndc,
            "pp_plus1": theirs.principal_ndc + 1,
            "ransac_idx": _rank_table(rays, table.shape),
        }
        if case == "noisy":
            # The truth behind noise and outliers: what rays were made from, nobody's output.
            report.declare_input(file, *(f"{case}/{n}" for n in arrays if n.startswith("true_")))
        else:
            exact = cameras_from_rays(rays, conf, size)
            ours["true_c2w"] = se3.invert(exact.cameras.extrinsics)[0]
            ours["true_focal_ndc"], ours["true_pp_ndc"] = exact.focal_ndc[0], exact.principal_ndc[0]
        for name, reference in arrays.items():
            if name in ours:
                tolerance = EQUAL if name == "ransac_idx" else RAY_POSE
                report.compare(file, f"{case}/{name}", ours[name], reference, tolerance)


def _rank_table(rays: Tensor, shape: tuple[int, int]) -> Tensor:
    """The ranks that the released code draws after ``torch.manual_seed(0)``."""
    candidates = max(shape[1], int(0.3 * rays.shape[2] * rays.shape[3]))
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randperm(candidates, generator=generator)[: shape[1]] for _ in range(shape[0])]
    return torch.stack(draws)


def _check_illconditioned(path: Path, case: str, arrays: dict[str, np.ndarray], report: Report) -> None:
    """Random weights give rays that no camera has: only shape and finiteness can be asked for."""
    network_file = path.with_name(case.removeprefix("model_") + ".npz")
    if network_file.is_file():
        images = read_images(dict(np.load(network_file)))
    else:
        n, h, w = next(iter(arrays.values())).shape[1], *map(int, case.split("_")[-1].split("x"))
        images = rule_image(0, n, h, w)
    with torch.inference_mode():
        network = filled_network(variant_of(network_file))
        geometry = network.decode(network.encode(images))
    found = released_cameras_from_rays(geometry.rays, geometry.ray_conf, tuple(images.shape[-2:]))
    ours = {
        "extrinsics_illconditioned": found.cameras.extrinsics[..., :3, :],
        "intrinsics_illconditioned": found.cameras.intrinsics,
    }
    for name, reference in arrays.items():
        if name in ours:
            report.compare(path.name, f"{case}/{name}", ours[name], reference, FINITE)


def check_trajectories(path: Path, report: Report) -> None:
    """Every released camera path; intrinsics relative to the image size."""
    golden = dict(np.load(path))
    report.declare_input(path.name, "ext", "K")
    cameras = Cameras(extrinsics=torch.from_numpy(golden["ext"]), intrinsics=torch.from_numpy(golden["K"]))
    size = _size_of(cameras)
    for mode in RELEASED_MODES:
        if f"{mode}/w2c" not in golden:
            continue
        found = released(mode, cameras, size)
        normed = resize_intrinsics(found.intrinsics, size, (1, 1))
        report.compare(path.name, f"{mode}/w2c", found.extrinsics[0], golden[f"{mode}/w2c"], UTILITY)
        report.compare(path.name, f"{mode}/K_normed", normed[0], golden[f"{mode}/K_normed"], UTILITY)


def _size_of(cameras: Cameras) -> tuple[int, int]:
    """(H, W) of images whose principal point is central, as the stored cameras' is."""
    W, H = (2 * cameras.intrinsics[0, 0, :2, 2]).round().int().tolist()
    return H, W


def _blocks(seed: int, w: int, h: int) -> np.ndarray:
    """The test image of the preprocessing files: 12 x 16 random colours, each repeated."""
    small = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    return small[np.arange(h) * 12 // h][:, np.arange(w) * 16 // w]


def check_preprocess(path: Path, report: Report) -> None:
    """Sizes and intrinsics (table), and pixels."""
    if path.suffix == ".json":
        _check_table(path, report)
        return
    golden = dict(np.load(path))
    report.declare_input(path.name, "cv2_version")
    for name, reference in golden.items():
        if name.endswith("/slice7"):
            size, method, _ = name.split("/")
            image = _blocks(2, *map(int, size.split("x")))
            pixels = torch.from_numpy(released_resize(image, 252, method)[0]).permute(2, 0, 1) / 255
            mean, std = torch.tensor(IMAGE_MEAN)[:, None, None], torch.tensor(IMAGE_STD)[:, None, None]
            report.compare(path.name, name, ((pixels - mean) / std)[:, ::7, ::7], reference, PIXELS)


def _check_table(path: Path, report: Report) -> None:
    for index, row in enumerate(json.loads(path.read_text())):
        label = f"{index}: {row['in_wh'][0]}x{row['in_wh'][1]}/{row['res']}/{row['method']}"
        names = [f"{label}/{field}" for field in ("out_hw", "K_out")]
        report.expect(path.name, names)
        pixels, pixel_map = released_resize(_blocks(1, *row["in_wh"]), row["res"], row["method"])
        report.compare(path.name, names[0], list(pixels.shape[:2]), row["out_hw"], EQUAL)
        K = pixel_map.network_intrinsics(np.array(row["K_in"]))
        report.compare(path.name, names[1], K, np.array(row["K_out"]), UTILITY)


def check_bench_metrics(path: Path, report: Report) -> None:
    """Pose AUC and point-cloud scores (threshold 0.05, no down-sampling)."""
    golden = dict(np.load(path))
    report.declare_input(path.name, "pose_gt", "pose_pred", "pc_pred", "pc_gt")
    thresholds = {name: int(name.removeprefix("auc")) for name in golden if name.startswith("auc")}
    auc = pose_auc(
        torch.from_numpy(golden["pose_pred"]),
        torch.from_numpy(golden["pose_gt"]),
        tuple(thresholds.values()),
    )
    clouds = point_cloud_metrics(golden["pc_pred"], golden["pc_gt"], threshold=0.05)
    for name, threshold in thresholds.items():
        report.compare(path.name, name, auc[threshold], golden[name], UTILITY)
    for name in golden:
        if name.startswith("recon_"):
            report.compare(path.name, name, clouds[name.removeprefix("recon_")], golden[name], UTILITY)


# Start of the file's name -> its check.
UTILITIES: dict[str, Callable[[Path, Report], None]] = {
    "geometry_utils": check_geometry_utils,
    "raypose": check_raypose,
    "trajectories": check_trajectories,
    "preprocess": check_preprocess,
    "bench_metrics": check_bench_metrics,
}

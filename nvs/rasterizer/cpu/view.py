"""One view on the CPU: the kernels in order, forward and backward, on NumPy arrays."""

from dataclasses import dataclass

import numpy as np

from nvs.rasterizer.cpu import layout as L
from nvs.rasterizer.cpu.binning import chunk_shift, place_chunks, scatter
from nvs.rasterizer.cpu.blending import STATE, blend
from nvs.rasterizer.cpu.blending_backward import STATE as STATE_BACKWARD
from nvs.rasterizer.cpu.blending_backward import blend_backward
from nvs.rasterizer.cpu.gathering import STATE as STATE_GATHER
from nvs.rasterizer.cpu.gathering import collect, gather
from nvs.rasterizer.cpu.projection import project
from nvs.rasterizer.cpu.projection_backward import project_backward
from nvs.rasterizer.cpu.threads import run, worker_count
from nvs.rasterizer.cpu.workspace import workspace
from nvs.rasterizer.settings import Settings


@dataclass(frozen=True)
class Scene:
    """Inputs of the kernels: flat, contiguous float32."""

    means: np.ndarray  # N * 3
    quats: np.ndarray  # N * 4
    scales: np.ndarray  # N * 3
    opacities: np.ndarray  # N
    colors: np.ndarray  # N * K * 3, or N * 3 if degree is -1
    degree: int

    @property
    def count(self) -> int:
        return self.opacities.shape[0]


@dataclass(frozen=True)
class Binned:
    """What the backward pass needs of a view besides the image."""

    places: np.ndarray
    chunk_slots: np.ndarray
    records: np.ndarray
    order: np.ndarray  # entries, nearest first in each tile as far as they were used
    offsets: np.ndarray  # first entry of each tile, and their number
    used: np.ndarray  # entries used per tile


def chunk_count(scene: Scene) -> int:
    return max(1, -(-scene.count // (1 << chunk_shift(scene.count))))


def project_view(scene: Scene, camera: np.ndarray, settings: Settings) -> tuple[Binned, np.ndarray]:
    """Project and bin; returns what is known so far (``order`` not filled) and the unsorted entries."""
    H, W = settings.image_size
    tiles_x, tiles_y = -(-W // L.TILE), -(-H // L.TILE)
    shift, chunks = chunk_shift(scene.count), chunk_count(scene)
    records = workspace.take(scene.count * L.RECORD)
    places = workspace.take(scene.count * L.PLACE, np.int32)
    histogram = np.zeros((chunks, tiles_x * tiles_y), np.int64)
    chunk_entries, chunk_slots = np.empty(chunks, np.int64), np.empty(chunks, np.int64)
    offsets = np.empty(tiles_x * tiles_y + 1, np.int64)
    run(
        project,
        scene.means, scene.quats, scene.scales, scene.opacities, scene.colors, scene.degree, camera, H, W,
        np.float32(settings.near), np.float32(min(settings.far, np.finfo(np.float32).max)),  # type: ignore[arg-type]
        np.float32(settings.eps2d), settings.antialiased,
        shift, records, records.view(np.int32), places, histogram, chunk_entries,
    )  # fmt: skip
    total = place_chunks(histogram, chunk_entries, chunk_slots, offsets)
    entries, order = workspace.take(total, np.int64), workspace.take(total, np.int64)
    run(scatter, places, shift, histogram, tiles_x, entries)
    used = np.empty(tiles_x * tiles_y, np.int64)
    return Binned(places, chunk_slots, records, order, offsets, used), entries


def blend_view(
    binned: Binned,
    entries: np.ndarray,
    settings: Settings,
    rgb: np.ndarray,
    depth: np.ndarray,
    alpha: np.ndarray,
) -> None:
    """Composite into the given image planes; fills ``order`` and ``used``."""
    states = workspace.take((worker_count(), 16 * STATE))
    run(
        blend,
        *settings.image_size, binned.records, binned.records.view(np.int32), entries, binned.order,
        binned.offsets, states, rgb, depth, alpha, binned.used,
        workers=len(states),
    )  # fmt: skip


def blend_view_backward(
    binned: Binned, settings: Settings, shift: int, image: list[np.ndarray], gradients: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Sums per entry, and which of them were touched; image and gradients are (rgb, depth, alpha)."""
    total = int(binned.offsets[-1])
    states = workspace.take((worker_count(), 16 * STATE_BACKWARD))
    entry_sums, touched = workspace.take(total * L.SUMS), workspace.take(total, np.uint8)
    touched.fill(0)
    run(
        blend_backward,
        *settings.image_size, binned.records, binned.records.view(np.int32), binned.order, binned.offsets,
        binned.used, states, *image, *gradients, shift,
        binned.chunk_slots, entry_sums, touched,
        workers=len(states),
    )  # fmt: skip
    return entry_sums, touched


def project_view_backward(
    scene: Scene,
    camera: np.ndarray,
    binned: Binned,
    settings: Settings,
    entry_sums: np.ndarray,
    touched: np.ndarray,
    gradients: list[np.ndarray],
    *,
    fresh: bool,
) -> np.ndarray:
    """Write (or add) the gradients of means, quats, scales, opacities, colours; returns the camera's."""
    camera_gradient = np.empty((chunk_count(scene), L.CAMERA), np.float64)
    run(
        project_backward,
        scene.means, scene.quats, scene.scales, scene.opacities, scene.colors, scene.degree, camera,
        *settings.image_size, np.float32(settings.eps2d), settings.antialiased,
        chunk_shift(scene.count), binned.chunk_slots,
        binned.places, entry_sums, touched, fresh, *gradients, camera_gradient,
    )  # fmt: skip
    return camera_gradient.sum(axis=0)


def gather_view(
    binned: Binned,
    settings: Settings,
    rgb_gradient: np.ndarray,
    color_gradient: np.ndarray,
    *,
    fresh: bool,
) -> None:
    """Write (or add) the gradient of the colours alone; see `project_view_backward`."""
    total, count = int(binned.offsets[-1]), len(binned.places) // L.PLACE
    states, shift = workspace.take((worker_count(), 16 * STATE_GATHER)), chunk_shift(count)
    entry_sums, touched = workspace.take(total * L.SUMS), workspace.take(total, np.uint8)
    touched.fill(0)
    run(
        gather,
        *settings.image_size, binned.records, binned.records.view(np.int32), binned.order, binned.offsets,
        binned.used, states, rgb_gradient, shift, binned.chunk_slots, entry_sums, touched,
        workers=len(states),
    )  # fmt: skip
    run(
        collect,
        count, shift, binned.chunk_slots, binned.places, entry_sums, touched, fresh, color_gradient,
    )  # fmt: skip

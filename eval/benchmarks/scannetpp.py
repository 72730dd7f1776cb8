"""ScanNet++ as DA3's benchmark re-released it, in metres.

``<scene>/merge_dslr_iphone/{images, colmap/sparse_render_rgb, render_depth/<stem>.png}`` (COLMAP, OPENCV
lenses; depth in millimetres, 0 = unknown, in the photo's own geometry) and
``<scene>/scans/mesh_aligned_0.05.ply``. Only photos whose names contain "iphone" count.

The released reader shows methods the distorted photos and undistorts depth alone; here `Frame.load`
undistorts both.

Source: DA3's released reader. Not yet tested on a real scene.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from eval.benchmarks.surfaces import read_mesh
from geometry.datasets.sources import DataSet, if_there
from geometry.formats.colmap import find_model
from geometry.formats.depth_files import read_png_depth
from geometry.metrics.surface import Cloud
from geometry.scenes.colmap import read_colmap
from geometry.scenes.scene import Scene


@dataclass(eq=False, kw_only=True)
class ScanNetPPRelease(DataSet):
    """Every ``every``-th iPhone photo of each scene (the paper's 5; the released code takes all)."""

    holds = "ScanNet++ scenes with merge_dslr_iphone/colmap/sparse_render_rgb"
    every: int = 1

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        return {p.parent.name: p.parent for p in sorted(root.glob("*/merge_dslr_iphone"))}

    def _read(self, name: str, place: Path) -> Scene:
        folder = place / "merge_dslr_iphone"
        model = folder / "colmap/sparse_render_rgb"
        scene = read_colmap(find_model(model) or model, folder / "images")
        frames = [f for f in scene.frames if "iphone" in f.name][:: self.every]
        depth = [
            if_there(read_png_depth, folder / "render_depth" / f"{Path(f.name).stem}.png") for f in frames
        ]
        kept = tuple(replace(f, depth=d) if d else f for f, d in zip(frames, depth))
        return Scene(name=name, frames=kept, source=str(model), metric=True, folder=place)

    def surface(self, name: str) -> Cloud:
        return read_mesh(self._places[name] / "scans/mesh_aligned_0.05.ply")

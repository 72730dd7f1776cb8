"""Any number of photos to one world: the steps in order."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geometry.chunks.align import Link, align, joined
from geometry.chunks.cut import camera_features, cut, in_order
from geometry.chunks.graph import solve
from geometry.chunks.loops import candidates, describe, same_place
from geometry.chunks.passes import Chunk, Passes
from geometry.console import counted, say
from geometry.ops import se3
from geometry.ops.align import Similarity
from geometry.prediction import Geometry
from geometry.stored import on_disk
from geometry.views import Cameras

_LATEST = 10  # chunks whose time tells how long the others take


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """All photos' geometry in one world."""

    geometry: Geometry  # depth, confidence and sky lie on the disk
    problems: tuple[str, ...] = ()  # for which it is not to be trusted
    loops: int = 0  # places met again that were believed


def reconstruct(passes: Passes, size: int) -> Reconstruction:
    """Depth and cameras of all of ``passes.views``, ``size`` photos at a time.

    Without cameras: chunks share half of their photos, and each is told the cameras of those that the one
    before found. Links of neighbours and of places met again give every chunk its place; a photo has the
    mean of the cameras that its chunks give it, and the depth of that in which it lies farthest from the
    ends. The world is the first photo's camera, its scale the chunks' middle one. With cameras, which are
    kept, there is nothing to align, and chunks share a quarter. Memory grows with ``size``; with the photos
    only by some kilobytes of each.
    """
    views, aligned = passes.views, passes.views.cameras is None and not passes.monocular
    V = views.images.shape[1]
    order, alike = list(range(V)), None
    if views.cameras is not None:
        order = in_order(camera_features(views.cameras.arrays()[0]))
    elif aligned and size < V:
        say(f"comparing {counted(V, 'photo')}")
        alike = describe(views.images[0])
        order = in_order(alike)
    if order != list(range(V)):
        say("neighbours in the photos' order are not alike: they are taken in an order in which they are")
    runs = cut(V, size, size // 2 if aligned else 0 if passes.monocular else size // 4)
    say(f"{counted(V, 'photo')} in {counted(len(runs), 'chunk')} of {len(runs[0])}")
    work = _Work(passes, order, runs)
    links = work.chain(told=aligned)
    world, problems, loops = None, (), []
    if aligned:
        links, lost = work.mended(links)
        if alike is not None:
            loops = work.met_again(candidates(alike[order], runs, size), size)
        sizes, middles = zip(*((chunk.depth, chunk.middle) for chunk in work.each()))
        world, believed = solve(links, np.array(sizes), np.array(middles), loops)
        middle = world.scale.median()
        world = replace(world, scale=world.scale / middle, translation=world.translation / middle)
        if loops:
            say(f"places met again: {len(believed)} of {len(loops)} agree with all others")
        loops, problems = believed, _doubts(links, lost, runs)
        work.lost.extend(lost)
    return Reconstruction(geometry=work.assembled(world), problems=problems, loops=len(loops))


class _Work:
    """Chunks of photos, held one or two at a time.

    Args:
        order: of the photos.
        runs: of places in that order, one for each chunk.
    """

    def __init__(self, passes: Passes, order: Sequence[int], runs: Sequence[range]) -> None:
        self.passes, self.order, self.runs = passes, order, runs
        self.files: list[Path] = []  # of the chunks, in their order
        self.lost: list[int] = []  # chunks that fit to none of their neighbours

    def photos(self, places: Sequence[int]) -> list[int]:
        return [self.order[place] for place in places]

    def chunk(self, number: int) -> Chunk:
        return self.passes.read(self.photos(self.runs[number]), self.files[number])

    def each(self) -> Iterator[Chunk]:
        return (self.chunk(number) for number in range(len(self.runs)))

    def chain(self, *, told: bool) -> list[Link]:
        """All passes in turn, and the links of neighbours.

        Args:
            told: each is told what the one before found, where that fitted; if it does not fit to that, it is
                computed again, told nothing.
        """
        links: list[Link] = []
        before: Chunk | None = None
        seconds: list[float] = []
        for number, run in enumerate(self.runs):
            begun, photos = time.perf_counter(), self.photos(run)
            known = before if told and (not links or links[-1].believed) else None
            chunk = self.passes(photos, known)
            if told and before is not None:
                link = align(before, chunk, number - 1, number, self.passes.views)
                if not link.believed and known is not None:
                    again = self.passes(photos)
                    other = align(before, again, number - 1, number, self.passes.views)
                    if other.believed:
                        chunk, link = again, other
                links.append(link)
            self.files.append(chunk.file)
            before = chunk
            seconds = [*seconds[1 - _LATEST :], time.perf_counter() - begun]
            left = sum(seconds) / len(seconds) * (len(self.runs) - number - 1)
            say(f"chunk {number + 1} of {len(self.runs)}; {left // 60:.0f} min {left % 60:.0f} s left")
        return links

    def mended(self, links: list[Link]) -> tuple[list[Link], list[int]]:
        """The links, those that are not believed replaced where a chunk across the gap gives a better one.

        Returns:
            Links that connect all chunks, and chunks that fit to neither neighbour although these fit to
            each other.
        """
        links = [
            self.across(link.first, link.second) or link if not link.believed else link for link in links
        ]
        lost = []
        for number in range(1, len(self.runs) - 1):
            if not (links[number - 1].believed or links[number].believed):
                bridge = self.across(number - 1, number + 1)
                if bridge is not None:
                    links.append(bridge)
                    lost.append(number)
        return links, lost

    def across(self, first: int, second: int) -> Link | None:
        """The link of two chunks by a smaller one of the photos around the place where they meet."""
        a, b = self.runs[first], self.runs[second]
        size = 2 * len(a) // 3  # of the same size it would be the one that lies between them
        start = max(a.start, (a.stop + b.start - size) // 2)
        return self.through(first, second, range(start, min(b.stop, start + size)))

    def through(self, first: int, second: int, places: Sequence[int]) -> Link | None:
        """The link of two chunks by another one of some photos of both; None where that fits to neither."""
        between = self.passes(self.photos(places))
        to_first = align(self.chunk(first), between, first, -1, self.passes.views)
        to_second = align(self.chunk(second), between, second, -1, self.passes.views)
        link = joined(to_first, to_second)
        return link if link.believed else None

    def met_again(self, pairs: Sequence[tuple[int, int]], size: int) -> list[Link]:
        """Links of chunks that show one place, of pairs of places in the photos' order that look alike."""
        links, middles = [], np.array([(run.start + run.stop - 1) / 2 for run in self.runs])
        for pair in pairs:
            images = (self.passes.views.images[0, self.order[place]] for place in pair)
            if not same_place(*images):
                continue
            first, second = (int(np.abs(middles - place).argmin()) for place in pair)
            both: list[int] = []
            for place, number in zip(pair, (first, second)):
                run = self.runs[number]
                start = min(max(run.start, place - size // 4), run.stop - size // 2)
                both += range(start, start + size // 2)
            link = self.through(first, second, both)
            say(
                f"photos {pair[0] + 1} and {pair[1] + 1} of the order show one place"
                + ("" if link else "; the network does not bring them together")
            )
            links += [link] if link else []
        return links

    def assembled(self, world: Similarity | None) -> Geometry:
        """All photos' geometry, of chunks that ``world`` carries into one world; None: they are in one."""
        V = len(self.order)
        best = np.zeros(V)  # of each photo, how far it lies from the ends of its chunk
        total, centres = np.zeros(V), np.zeros((V, 3))
        turns, lenses = np.zeros((V, 3, 3)), np.zeros((V, 3, 3))
        whole: dict[str, Tensor] = {}
        metric = None
        for number, chunk in enumerate(self.each()):
            one = None if world is None else world[number]
            geometry, photos = chunk.geometry, np.array(chunk.photos)
            metric = geometry.scale_factor if metric is None else metric
            rows = np.arange(len(photos))
            inside = np.minimum(rows, rows[::-1]) + 1.0
            inside *= 1e-6 if number in self.lost else 1.0
            if one is not None:
                poses = se3.invert(one.extrinsics(geometry.cameras.extrinsics[0].double()))
                turns[photos] += inside[:, None, None] * poses[:, :3, :3].numpy()
                centres[photos] += inside[:, None] * poses[:, :3, 3].numpy()
                lenses[photos] += inside[:, None, None] * geometry.cameras.intrinsics[0].numpy()
                total[photos] += inside
            for row in np.flatnonzero(inside > best[photos]):
                best[photos[row]] = inside[row]
                for name in ("depth", "depth_conf", "sky"):
                    values = getattr(geometry, name)
                    if values is not None:
                        if name not in whole:
                            whole[name] = on_disk((1, V, *values.shape[2:]), self.passes.folder)
                        factor = float(one.scale) if name == "depth" and one is not None else 1.0
                        whole[name][0, photos[row]] = values[0, row] * factor
        cameras = self.passes.views.cameras and self.passes.views.cameras.to("cpu")
        if world is not None:
            U, _, Vt = np.linalg.svd(turns)
            U[..., 2] *= np.linalg.det(U @ Vt)[:, None]
            rotation = U @ Vt  # the nearest ones
            poses = torch.eye(4).double().repeat(V, 1, 1)
            poses[:, :3, :3] = torch.from_numpy(rotation)
            poses[:, :3, 3] = torch.from_numpy(centres / total[:, None])
            extrinsics = se3.invert(poses)
            cameras = Cameras(
                extrinsics=se3.relative(extrinsics, extrinsics[0])[None].float(),
                intrinsics=torch.from_numpy(lenses / total[:, None, None])[None].float(),
            )
        return Geometry(**whole, cameras=cameras, scale_factor=metric)  # type: ignore[arg-type]


def _doubts(links: Sequence[Link], lost: Sequence[int], runs: Sequence[range]) -> tuple[str, ...]:
    """What is wrong with the links, if anything."""
    broken = [link for link in links if not (link.believed or {link.first, link.second} & {*lost})]
    if not broken:
        return ()
    where = ", ".join(f"{runs[link.second].start + 1}" for link in broken[:4])
    return (
        f"{len(broken)} of {len(runs) - 1} chunks do not fit to the one before (at photo {where}): from "
        "there on photos may be shifted, turned, or of another size. Take photos closer together there, or "
        "use a larger model.",
    )

"""One similarity for every chunk that agrees best with all links: a pose graph of Sim(3).

Solved by SciPy's ``least_squares`` with a sparse Jacobian. SciPy is there already; a chain of a thousand
chunks with loops has 7,000 unknowns and as many residuals for each link, of which each depends on fourteen
unknowns, so finite differences take about as many evaluations as for two chunks. GTSAM, Ceres and pypose
solve graphs of a million nodes in real time, need wheels of their own, and Ceres through pycolmap has no
Sim(3).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import lil_matrix
from scipy.spatial.transform import Rotation
from torch import Tensor

from geometry.chunks.align import Link
from geometry.ops.align import Similarity

_STEPS = 100
_FINEST = 0.02  # error of a link at least, over depth, radians, log scale: what a network bends in a chunk
_DOUBTED = 1.0  # error of a link that is not believed
_BENT = 3.0  # errors up to which a link is off by drift
_CONTRADICTED = 6.0  # errors that a loop may be off: one that is further off is left out


def solve(
    links: Sequence[Link],
    sizes: Float[np.ndarray, " C"],
    middles: Float[np.ndarray, "C 3"],
    loops: Sequence[Link] = (),
) -> tuple[Similarity, list[Link]]:
    """From every chunk's world to one, which is the first chunk's; and the loops that were believed.

    Errors of turns (radians), shifts (of the chunk's middle, over its depth) and log scales count in units of
    the link's own error. Loops are tried first, with errors twice as large and a loss that grows as the
    square up to `_BENT` units and as the distance beyond, so that a wrong one gives way; the worst of those
    that are contradicted is left out, and so on. The solution is that of least squares over what is left:
    drift is spread over a loop evenly.

    Args:
        links: connecting all chunks.
        sizes: a typical depth in each chunk's world.
        middles: of its cameras there.
    """
    to_middle = [_moved(-torch.from_numpy(middle)) for middle in middles]  # which is the origin from here on

    def around_middles(link: Link) -> Link:
        second, first = to_middle[link.second], to_middle[link.first]
        return replace(link, similarity=second.inverse().then(link.similarity).then(first))

    given, links = list(loops), [around_middles(link) for link in links]
    loops = [around_middles(link) for link in loops]
    world = _along(links, len(sizes))
    own = np.array([max(link.error, _FINEST) if link.believed else _DOUBTED for link in links])
    while loops:
        errors = np.concatenate((own, [2 * max(loop.error, _FINEST) for loop in loops]))
        tried, off = _solved([*links, *loops], errors, sizes, world, loss="soft_l1")
        worst = int(np.argmax(off[len(links) :]))
        if off[len(links) + worst] <= _CONTRADICTED:
            errors = np.concatenate((own, [max(loop.error, _FINEST) for loop in loops]))
            world, _ = _solved([*links, *loops], errors, sizes, tried)
            break
        del loops[worst], given[worst]
    else:
        world = _solved(links, own, sizes, world)[0] if links else world
    scale, rotation, shift = (torch.from_numpy(part) for part in world)
    middle = torch.from_numpy(middles)
    shift = shift - scale[:, None] * (rotation @ middle[..., None])[..., 0] + middle[0]
    return Similarity(scale=scale, rotation=rotation, translation=shift), given


_World = tuple[Float[np.ndarray, " C"], Float[np.ndarray, "C 3 3"], Float[np.ndarray, "C 3"]]


def _along(links: Sequence[Link], count: int) -> _World:
    """A first solution: from the first chunk on along the best link to one that has none yet."""
    found = {0: _moved(torch.zeros(3, dtype=torch.float64))}
    while len(found) < count:
        ahead = [link for link in links if (link.first in found) != (link.second in found)]
        link = min(ahead, key=lambda link: (not link.believed, link.error))
        if link.first in found:
            found[link.second] = link.similarity.then(found[link.first])
        else:
            found[link.first] = link.similarity.inverse().then(found[link.second])
    return _arrays([found[number] for number in range(count)])


def _moved(by: Float[Tensor, " 3"]) -> Similarity:
    one = torch.eye(3, dtype=torch.float64)
    return Similarity(scale=one[0, 0], rotation=one, translation=by)


def _arrays(similarities: Sequence[Similarity]) -> _World:
    names = ("scale", "rotation", "translation")
    scale, rotation, shift = (torch.stack([getattr(s, n) for s in similarities]).numpy() for n in names)
    return scale, rotation, shift


def _solved(
    links: Sequence[Link], errors: np.ndarray, sizes: np.ndarray, world: _World, loss: str = "linear"
) -> tuple[_World, Float[np.ndarray, " L"]]:
    """The solution nearest a first one, and how many errors each link is off in it."""
    i, j = (np.array([getattr(link, end) for link in links], dtype=int) for end in ("first", "second"))
    s, R, t = _arrays([link.similarity for link in links])
    scale, rotation, shift = world

    def moved(x: Float[np.ndarray, " n"]) -> _World:
        """The first solution after a small similarity in each chunk's own world; the first chunk stays."""
        step = np.concatenate((np.zeros((1, 7)), x.reshape(-1, 7)))
        carried = np.einsum("nij,nj->ni", rotation, step[:, 4:] * sizes[:, None])
        turned = rotation @ Rotation.from_rotvec(step[:, :3]).as_matrix()
        return scale * np.exp(step[:, 3]), turned, shift + scale[:, None] * carried

    def residuals(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
        """What is left of each link after going around: second to world, to first, back to second."""
        grown, turn, centre = moved(x)
        between = np.einsum("nji,nj->ni", turn[i], centre[j] - centre[i]) / grown[i][:, None]
        back = np.einsum("nji,nj->ni", R, between - t) / s[:, None]
        around = np.swapaxes(R, 1, 2) @ np.swapaxes(turn[i], 1, 2) @ turn[j]
        parts = (
            Rotation.from_matrix(around).as_rotvec(),
            np.log(grown[j] / grown[i] / s)[:, None],
            back / sizes[j][:, None],
        )
        return (np.concatenate(parts, axis=1) / errors[:, None]).ravel()

    from scipy.optimize import least_squares  # here: its import takes .3 s, and most runs have one chunk

    x = np.zeros(7 * (len(sizes) - 1))
    pattern = _pattern(i, j, len(sizes))
    options = {"loss": loss, "f_scale": _BENT, "max_nfev": _STEPS}
    x = least_squares(residuals, x, jac_sparsity=pattern, **options).x
    return moved(x), np.linalg.norm(residuals(x).reshape(len(links), 7), axis=1)


def _pattern(i: Int[np.ndarray, " L"], j: Int[np.ndarray, " L"], count: int) -> lil_matrix:
    """Which unknowns each residual depends on."""
    pattern = lil_matrix((7 * len(i), 7 * (count - 1)), dtype=int)
    for link, ends in enumerate(zip(i, j)):
        for chunk in ends:
            if chunk > 0:
                pattern[7 * link : 7 * link + 7, 7 * (chunk - 1) : 7 * chunk] = 1
    return pattern

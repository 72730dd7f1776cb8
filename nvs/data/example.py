"""`NovelViewExample`: views that the network is given, and views that it must render."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from geometry.tensors import TensorRecord
from geometry.views import Example, Views


@dataclass(frozen=True, kw_only=True)
class NovelViewExample(TensorRecord):
    """One training sample or a batch of them; both halves live in one world, at one image size.

    ``context.views`` may lose its cameras (unposed training); ``target.truth.cameras`` says where to render
    and ``target.views.images`` what should be seen there.
    """

    context: Example
    target: Example


def split_example(example: Example, context: int) -> NovelViewExample:
    """The first ``context`` views are given, the rest are targets."""
    views = list(range(example.views.images.shape[1]))
    return NovelViewExample(
        context=take_views(example, views[:context]), target=take_views(example, views[context:])
    )


def take_views(example: Example, views: Sequence[int]) -> Example:
    """The example with these views only, in this order."""
    views = list(views)
    truth = example.truth
    cameras = example.views.cameras
    return Example(
        views=Views(
            images=example.views.images[:, views], cameras=None if cameras is None else cameras[:, views]
        ),
        truth=replace(
            truth,
            cameras=truth.cameras[:, views],
            depth=truth.depth[:, views],
            valid=truth.valid[:, views],
            sky=None if truth.sky is None else truth.sky[:, views],
            objects=None if truth.objects is None else truth.objects[:, views],
        ),
    )

"""`NovelViewExample`: views that the network is given, and views that it must render."""

from dataclasses import dataclass

from geometry.tensors import TensorRecord
from geometry.views import Example


@dataclass(frozen=True, kw_only=True)
class NovelViewExample(TensorRecord):
    """One training sample or a batch of them; both halves live in one world, at one image size.

    ``context.views`` may lose its cameras (unposed training); ``target.truth.cameras`` says where to render
    and ``target.views.images`` what should be seen there.
    """

    context: Example
    target: Example

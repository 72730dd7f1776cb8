"""What a layout tells the camera sampler."""

from typing import NamedTuple

from numpy.typing import NDArray


class Stage(NamedTuple):
    stand: NDArray  # [2, 3] low and high corner of where camera centres are drawn
    focus: NDArray  # [n, 3] points worth looking at
    near: float  # nearest distance to a surface

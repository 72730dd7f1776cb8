"""Annotated shapes and types hold at every call, in all three packages."""

import pytest
import torch
from jaxtyping import TypeCheckError

from geometry.ops import se3
from nvs.metrics import psnr
from nvs.refine.optimise import pace


@pytest.mark.parametrize("_", ["first call", "second call"])
def test_a_wrong_shape_or_type_fails_the_call(_):
    assert se3.centres(torch.eye(4)[None]).shape == (1, 3)
    with pytest.raises(TypeCheckError):
        se3.centres(torch.eye(3)[None, :2])
    with pytest.raises(TypeCheckError):  # each alone would do
        psnr(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9))
    with pytest.raises(TypeCheckError):
        pace("many")
    assert pace(96) == 0.5

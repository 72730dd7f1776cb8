"""Small scenes and cameras that every rasterizer test shares."""

from collections.abc import Callable

import pytest
import torch
from scenes import make_gaussians, turned_cameras

from geometry.views import Cameras
from nvs.gaussians import Gaussians


@pytest.fixture
def scene(generator: torch.Generator) -> Callable[..., Gaussians]:
    return lambda count, **options: make_gaussians(count, generator, **options)


@pytest.fixture
def cameras() -> Callable[..., Cameras]:
    return turned_cameras
